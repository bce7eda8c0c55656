"""What all tests of this room share: a cache folder of their own, and indexes that are kept for small checkpoints too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from millrace.checkpoint.direct import state_load


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(state_load, "LEAST_NAMES", 1)
        yield
