"""For `python -m millrace.testing my_package.my_module`: one test for each promise of the plug-in's kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from millrace.errors import UsageError
from millrace.testing.plugin_under_test import Promise, plugin_under_test


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each promise; for a plug-in that cannot be told the kind of, one that says why."""
    given = metafunc.config.getoption("--plugin")
    if not given:
        raise pytest.UsageError("name the plug-in to check: --plugin my_package.my_module")
    try:
        under_test = plugin_under_test(given, metafunc.config.getoption("--plugin-settings"))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    promises = under_test.promises
    ids = [promise.__name__ for promise in promises]
    metafunc.parametrize("subject", [under_test], ids=[under_test.kind], indirect=True, scope="module")
    metafunc.parametrize("promise", promises, ids=ids)


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The plug-in, opened."""
    try:
        with request.param.opened() as opened:
            yield opened
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)


def test_the_plug_in_keeps_its_promise(promise: Promise, subject: Any) -> None:
    """See the promise's own docstring."""
    promise(subject)
