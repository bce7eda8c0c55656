"""Where a run's log lines go."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from millrace.orchestration.flow_log import also_to_file


class Kept(logging.Handler):
    """Keeps what it is given, as Prefect's handlers for its API do."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def apart() -> logging.Logger:
    """A logger as Prefect's for flow runs: with a handler of its own, telling its parents nothing."""
    logger = logging.getLogger("tests.flow_runs")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [Kept()]
    return logger


def test_a_run_under_a_worker_logs_each_line_once_into_its_folder_and_still_to_where_it_went(
    apart: logging.Logger, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "flow.log"
    with also_to_file(path):
        apart.info("from Prefect")
        logging.getLogger("millrace.qa").info("from a stage")
    apart.info("after the run")
    logging.getLogger("millrace.qa").warning("after the run")
    lines = path.read_text().splitlines()
    assert [line.rpartition(" - ")[2] for line in lines] == ["from Prefect", "from a stage"]
    assert not [handler for handler in apart.handlers if isinstance(handler, logging.FileHandler)]
    kept = next(handler for handler in apart.handlers if isinstance(handler, Kept))
    assert kept.lines == ["from Prefect", "after the run"]
