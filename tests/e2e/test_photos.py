"""Photographs in one command: a folder is imported, and the shipped config leads from it to a dataset."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import millrace
from millrace.cli import main
from millrace.lake.parquet import LakeRow, lake_files, stream_rows
from millrace.probing.claims import load_claims
from millrace.testing.rehearsal import everyone
from tests.llm.servers import served

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = sorted((ROOT / "configs" / "full" / "photographs").glob("*.jpg"))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped photographs, each also at half its size."""
    folder = tmp_path_factory.mktemp("photos")
    for photograph in PHOTOGRAPHS:
        (folder / photograph.name).write_bytes(photograph.read_bytes())
        with Image.open(photograph) as image:
            small = io.BytesIO()
            image.convert("RGB").resize((image.width // 2, image.height // 2)).save(small, "PNG")
        (folder / f"{photograph.stem}-small.png").write_bytes(small.getvalue())
    out = folder.parent / "lake"
    assert main(["lake", "import", str(folder), "--out", str(out)]) == 0
    return out


def test_the_shipped_config_leads_from_a_folder_to_a_dataset(lake: Path, tmp_path: Path) -> None:
    with served(everyone()) as (server, url):
        text = (ROOT / "configs" / "full" / "photos.yaml").read_text(encoding="utf-8")
        assert len(re.findall(r"http://[\d.]+:4000/v1", text)) == 1, "all roles share one block of endpoints"
        config = yaml.safe_load(text.replace("http://127.0.0.1:4000/v1", url))
        assert "digit" not in "".join(claim.claim_template for claim in load_claims(config["probing"]["claims"]).claims)
        config["probing"]["target_failure_count"] = None
        config["qa"]["writer"]["blind_tries"] = 1  # another order of the options is by chance the same: the server can't tell
        config["qa"]["dataset"] = {"heldout_share": 0.5}  # of seven photographs, so that both splits have some
        millrace.find_failures(tmp_path / "run", images=lake, probing=config["probing"], qa=config["qa"])
        assert server.statistics()["answered_twice"] == 0
    groups = {
        row.ref.sha256: row.copy_group for file in lake_files(lake) for row in stream_rows(file) if isinstance(row, LakeRow)
    }
    assert None not in groups.values()
    splits = defaultdict(set)
    files = sorted((tmp_path / "run" / "dataset" / "judged").glob("*.parquet"))
    assert files, "no question was judged"
    assert [path.name for path in (tmp_path / "run" / "dataset").iterdir() if path.is_dir()] == ["judged"]
    for file in files:
        for lineage in pq.read_table(file, columns=["lineage"]).column("lineage").to_pylist():
            splits[groups[lineage["image"]["sha256"]]].add(file.name.partition("-")[0])
    assert len(splits) > 3
    assert all(len(of_group) == 1 for of_group in splits.values()), "copies of one picture lie in two splits"
    assert set.union(*splits.values()) == {"train", "heldout"}
