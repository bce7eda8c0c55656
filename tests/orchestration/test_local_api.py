"""What a run's own Prefect API is started with."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from millrace.orchestration.local_api import one_authority


def test_clients_of_an_api_on_loopback_read_one_authority_and_not_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    path = one_authority()
    assert ssl.create_default_context(cafile=str(path)).cert_store_stats()["x509"] == 1
    made = path.stat().st_mtime_ns
    assert one_authority() == path
    assert path.stat().st_mtime_ns == made
    assert list(path.parent.iterdir()) == [path]
