"""The notebook in examples/ does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.notebooks import code_cells, run_cell

NOTEBOOK = Path(__file__).parents[1] / "examples" / "main_job.ipynb"


def test_the_notebook_is_short_and_of_a_format_that_jupyter_reads() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert sum(1 for cell in code_cells(NOTEBOOK) for line in cell.splitlines() if line.strip()) <= 18


@pytest.mark.slow
def test_the_notebook_finds_failures_and_shows_pictures_with_their_questions(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = [run_cell(cell, names) for cell in code_cells(NOTEBOOK)]
    printed = capsys.readouterr().out
    assert set(names["run"].states.values()) == {"finished"}
    for row in names["run"].rates().to_pylist():
        assert f"{row['failures']} of {row['n']}" in printed
    assert len(names["rows"]) == 4
    for row in names["rows"]:
        assert row["full_question"] in printed
        assert row["verification"]["status"] == "verified"
    picture = shown[-1]
    assert isinstance(picture, Image.Image)
    assert picture.width == 4 * picture.height
    assert len(picture.getcolors(maxcolors=1 << 24) or []) > 100
