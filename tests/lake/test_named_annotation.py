"""The kind of annotation that a config names is the one that is looked for, whether it is registered or a module of one's own."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.errors import UsageError
from millrace.filtering.settings import FilteringSettings
from millrace.filtering.stage import Filtering
from millrace.lake import annotations
from millrace.lake.annotations import added_pipelines, annotation_kinds, factor_words, understood_by
from millrace.lake.parquet import stream_rows
from millrace.lake.reader import LakeReader
from millrace.lake.rows import LakeRow
from millrace.qa.writing.pipelines import load_pipelines

KIND = """
from millrace.lake.annotations import Annotation, AnnotationKind

def read(cells):
    return Annotation("as_it_likes", cells["boxes"].encode()) if cells["boxes"] else None

def pipelines():
    return {"harbour": {"intent": "harbour", "description": "", "answer_type": "label", "slots": {"SHIP": "ship"}}}

KIND = AnnotationKind(("boxes",), read, claims="harbour_kinds.rules", pipelines=pipelines, factors={"fog": "a picture in fog"})
"""
OWN = "harbour_kinds.kind"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lake with boxes, and beside it a kind of the user's that keeps something in the same column."""
    (tmp_path / "harbour_kinds").mkdir()
    (tmp_path / "harbour_kinds" / "kind.py").write_text(KIND)
    (tmp_path / "harbour_kinds" / "rules.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "PNG")
    boxes = json.dumps([{"label": "ship", "box": [1, 1, 9, 9]}])
    path = tmp_path / "part.parquet"
    pq.write_table(pa.Table.from_pylist([{"image_id": "a", "jpg": out.getvalue(), "boxes": boxes}]), path)
    yield path
    for remembered in (annotation_kinds, annotations.annotation_columns, added_pipelines, load_pipelines):
        remembered.cache_clear()
    for name in [name for name in sys.modules if name.startswith("harbour_kinds")]:
        del sys.modules[name]


def only_row(file: Path, annotation: str) -> LakeRow:
    (row,) = stream_rows(file, annotation=annotation)
    assert isinstance(row, LakeRow)
    assert LakeReader(file.parent, annotation).read(row.ref) == row
    return row


def test_a_row_is_read_as_the_kind_that_is_named(file: Path) -> None:
    for name in ("any", "boxes"):
        found = only_row(file, name).annotation
        assert found is not None
        assert found.kind == "boxes"
    found = only_row(file, OWN).annotation
    assert found is not None
    assert (found.kind, found.data[:2]) == (OWN, b"[{")
    rules = understood_by(found, "claims")
    assert rules is not None
    assert rules.__name__ == "harbour_kinds.rules"
    unread = only_row(file, "digit_scene")
    assert unread.annotation is None
    assert "boxes" in unread.metadata
    assert "boxes" not in only_row(file, OWN).metadata


def test_a_kind_that_is_not_there_is_said_with_those_that_are(file: Path) -> None:
    with pytest.raises(UsageError, match="no annotation kind named 'boxs'; did you mean 'boxes'"):
        only_row(file, "boxs")


def test_what_a_named_kind_adds_is_known_beside_what_registered_kinds_add(file: Path) -> None:
    assert set(added_pipelines(OWN)) == {*added_pipelines(), "harbour"}
    assert set(load_pipelines(OWN)) == {*load_pipelines(), "harbour"}
    assert (factor_words("fog", OWN), factor_words("fog")) == ("a picture in fog", "fog")
    assert factor_words("many_things", OWN) == factor_words("many_things")


def test_a_selection_alone_knows_the_kind_that_the_probing_of_its_folder_read(file: Path, tmp_path: Path) -> None:
    routes = tmp_path / "routes.json"
    routes.write_text(json.dumps({"pipelines": [{"failure_id": "FR_FOG", "pipeline_type": "harbour"}]}))
    stage = Filtering(FilteringSettings(routes=str(routes)))
    with pytest.raises(UsageError, match="no question pipeline named 'harbour'"):
        stage.check(tmp_path, ["probing"])
    (tmp_path / "config.json").write_text(json.dumps({"probing": {"lake": {"path": None, "annotation": OWN}}}))
    stage.check(tmp_path, ["probing"])
