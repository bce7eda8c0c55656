"""Every page of docs/extending, followed word for word in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace.plugins.loading import plugin_names
from tests.extending.following import ROOT, blocks_of, reading_in

FOLDER = ROOT / "docs" / "extending"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


@pytest.fixture(scope="module")
def probings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probings")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_followed_word_for_word_gives_what_it_promises(page: Path, tmp_path: Path, probings: Path) -> None:
    with reading_in(tmp_path, probings) as reader:
        assert reader.follow(page) >= 2


def test_there_is_a_page_for_every_kind_that_the_contract_tests_know() -> None:
    index = (FOLDER / "README.md").read_text()
    for page in PAGES:
        assert f"({page.name})" in index
    for kind in plugin_names("millrace.testing.kinds"):
        assert f"`{kind}`" in index, f"the index does not say where a reader finds the kind {kind}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_file_the_config_the_check_the_run_and_what_comes_out(page: Path) -> None:
    blocks = blocks_of(page)
    assert any(block.path and block.path.endswith(".py") for block in blocks)
    assert any(block.path and block.path.endswith(".yaml") for block in blocks)
    commands = "\n".join(block.text for block in blocks if block.language == "bash")
    assert re.search(r"^python -m millrace\.testing mine\.", commands, re.MULTILINE)
    assert re.search(r"^millrace \w+ --config mine/\w+\.yaml --run-dir runs/\w+", commands, re.MULTILINE)
    assert any(block.language == "text" for block in blocks)
