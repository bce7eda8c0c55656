"""A lake with failures on it, and the questions made from them: built once per test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.journal import read_jsonl, write_jsonl
from tasks.qa.balance import Plan
from tasks.qa.case import Case, read_cases
from tasks.qa.check import check_shard
from tasks.qa.settings import QaSettings
from tasks.qa.write import plan_questions, survey_shard, write_shard
from tests.qa.failures import make_selection


class Stage:
    """The question stage over one small selection, in this process."""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self._plans: dict[str, Plan] = {}
        self.lake, self.shards = make_selection(folder, images=images, per_image=4)

    def cases(self) -> list[Case]:
        return [case for shard in self.shards for case in read_cases(shard, self.lake) if isinstance(case, Case)]

    def plan(self, qa: QaSettings) -> Plan:
        key = qa.model_dump_json()
        if key not in self._plans:
            self._plans[key] = plan_questions([survey_shard(shard, self.lake, qa) for shard in self.shards], qa)
        return self._plans[key]

    def run(
        self,
        name: str,
        qa: QaSettings,
        asked: Callable[[dict[str, Any]], list[str]] | None = None,
        shards: int | None = None,
    ) -> list[Path]:
        """Write and check the first `shards` shards (None: all); gives the accepted ones, in `folder/name/checked`."""
        plan = self.plan(qa)
        out = self.folder / name
        for shard in self.shards[:shards]:
            written, answers = out / "written" / shard.name, out / "asked" / shard.name
            write_shard(shard, written, self.lake, qa, plan)
            if asked is not None:
                write_jsonl(answers, ({"id": item["id"], "answers": asked(item)} for item in read_jsonl(written)))
            heard = answers if asked is not None else None
            check_shard(written, heard, out / "checked" / shard.name, out / "rejected" / shard.name, self.lake, qa)
        return [out / "checked" / shard.name for shard in self.shards[:shards]]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("questions"), images=110)


@pytest.fixture(scope="session")
def accepted(stage: Stage) -> list[Path]:
    return stage.run("default", QaSettings())


@pytest.fixture(scope="session")
def items(accepted: list[Path]) -> list[dict[str, Any]]:
    return [item for shard in accepted for item in read_jsonl(shard)]
