"""Photographs in one command: a folder is imported, and the shipped config leads from it to a dataset."""

from __future__ import annotations

import io
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from msgspec.structs import replace
from PIL import Image

import millrace
from millrace.cli import main
from millrace.lake.parquet import LakeRow, lake_files, stream_rows
from millrace.llm import Reply, Request
from millrace.probing.claims import load_claims
from millrace.run.journal import read_json
from millrace.testing.rehearsal import everyone
from tests.e2e.records import records
from tests.llm.servers import served

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = sorted((ROOT / "configs" / "full" / "photographs").glob("*.jpg"))
SCHEMA_IN_WORDS = "\n\nAnswer with one JSON value and nothing else. It must satisfy this JSON schema:\n"
"""How the client says a schema in words."""


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


def probed_and_asked(lake: Path, folder: Path, url: str, **qa: float) -> None:
    """A run of the shipped config, with other settings of `qa` where they are given, whose models are all at `url`."""
    text = (ROOT / "configs" / "full" / "photos.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"http://[\d.]+:4000/v1", text)) == 1, "all roles share one block of endpoints"
    config = yaml.safe_load(text.replace("http://127.0.0.1:4000/v1", url))
    assert "digit" not in "".join(claim.claim_template for claim in load_claims(config["probing"]["claims"]).claims)
    config["probing"]["target_failure_count"] = None
    config["qa"]["writer"]["blind_tries"] = 1  # another order of the options is by chance the same: the server can't tell
    config["qa"] |= qa
    config["qa"]["dataset"] = {"heldout_share": 0.5}  # of seven photographs, so that both splits have some
    millrace.find_failures(folder, images=lake, probing=config["probing"], qa=config["qa"])


@pytest.fixture(scope="module")
def finished(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose server does nothing wrong."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with served(everyone()) as (server, url):
        probed_and_asked(lake, folder, url)
        assert server.statistics()["answered_twice"] == 0
    return folder


class Awkward:
    """The same model, which thinks past small limits, behind a server that takes schemas and ignores them."""

    name = "awkward"

    def __init__(self) -> None:
        self.inner = everyone()
        self.seen: Counter[str] = Counter()

    async def complete(self, request: Request) -> Reply:
        """An answer in the form that was asked for in words; prose where the schema was only attached."""
        messages = request.messages
        said, mark, schema = messages[-1].text.rpartition(SCHEMA_IN_WORDS)
        if not mark:
            said, mark, schema = messages[-1].text.rpartition("The schema:\n")
            messages = messages[:-2] if mark else messages
        else:
            parts = tuple(part for part in messages[-1].parts if not isinstance(part, str))
            messages = (*messages[:-1], replace(messages[-1], parts=(*parts, said)))
        if not mark and request.schema is None:
            return await self.inner.complete(request)
        if not mark:
            self.seen["ignored"] += 1
            return Reply(text="I see a picture, and it is a nice one.")
        if request.max_tokens is not None and request.max_tokens < 2000:
            self.seen["cut_off"] += 1
            return Reply(text="<think>Let me look at it again and again", finish="length")
        self.seen["answered"] += 1
        reply = await self.inner.complete(replace(request, messages=messages, schema=json.loads(schema)))
        return replace(reply, text=f'<think>A draft: {{"answer": "Z", "applies": false}}. No.</think>\n{reply.text}')

    async def close(self) -> None:
        """Nothing to let go of."""


def test_nothing_counts_as_the_models_failure_where_a_server_ignores_schemas_and_a_model_thinks_past_its_limits(
    lake: Path, finished: Path, tmp_path: Path
) -> None:
    model, folder = Awkward(), tmp_path / "run"
    with served(model) as (_, url):
        # a scripted model is right by chance more often when it is asked in other words: more questions are dropped as blind
        probed_and_asked(lake, folder, url, max_failure_rate=1.0)
    assert min(model.seen["ignored"], model.seen["cut_off"], model.seen["answered"]) > 0
    plain, awkward = (
        Counter(one["outcome"] for one in records(run)["probing"] if one["kind"] == "outcome") for run in (finished, folder)
    )
    assert awkward.total() == plain.total() == 84
    assert not awkward.keys() & {"format_error", "infra_error", "cut_off", "judge_uncertain", "filtered"}
    assert set() < reasons(folder) <= reasons(finished)  # nothing was dropped for what the server did


def reasons(folder: Path) -> set[str]:
    """Why anything was dropped, in any stage."""
    stages = read_json(folder / "summary.json")["stages"].values()
    return {reason for stage in stages for reason, count in stage["dropped"].items() if count}


def test_the_shipped_config_leads_from_a_folder_to_a_dataset(lake: Path, finished: Path) -> None:
    groups = {
        row.ref.sha256: row.copy_group for file in lake_files(lake) for row in stream_rows(file) if isinstance(row, LakeRow)
    }
    assert None not in groups.values()
    splits = defaultdict(set)
    files = sorted((finished / "dataset" / "judged").glob("*.parquet"))
    assert files, "no question was judged"
    assert [path.name for path in (finished / "dataset").iterdir() if path.is_dir()] == ["judged"]
    for file in files:
        for lineage in pq.read_table(file, columns=["lineage"]).column("lineage").to_pylist():
            splits[groups[lineage["image"]["sha256"]]].add(file.name.partition("-")[0])
    assert len(splits) > 3
    assert all(len(of_group) == 1 for of_group in splits.values()), "copies of one picture lie in two splits"
    assert set.union(*splits.values()) == {"train", "heldout"}
