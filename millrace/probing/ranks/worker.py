"""What torchrun runs in every rank: `torchrun … -m millrace.probing.ranks.worker WORKER.json`.

Takes units from the shared counter until the run has what it wants, writes a journal for each, and never talks to Prefect.
The ranks share torchrun's store and nothing else: they exchange no tensors, so no process group is formed that one dead rank
could hang.
Exit codes: 0 done, otherwise the error's own (torchrun then starts the ranks again, up to `max_restarts`).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from millrace.errors import MillraceError, RunFailed, ShortOfTarget
from millrace.llm.run_chats import chats_of_run
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.probing.device import device_of
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.ranks.handout import Handout
from millrace.probing.ranks.probe_unit import Probe, probe_unit
from millrace.probing.ranks.settlement import open_unit
from millrace.probing.ranks.units import plan_of
from millrace.probing.settings import ProbingConfig
from millrace.run.journal import read_json, write_atomic, write_json

REPORT_EVERY_S = 0.5

STOPPED = "stopped.json"
"""In the work folder: a rank failed for a reason that a restart does not remove (no endpoint answers, the budget is spent)."""


def open_probe(config: ProbingConfig, lake: Path, device: str) -> Probe:
    """Load the model under test, the claims and the judge."""
    return Probe(
        claims=config.claim_set(),
        baseline=open_baseline(baseline_settings(config.baseline), device=device),
        judge=open_judge(judge_settings(config.judge)),
        lake=lake,
        seed=config.seed,
        unanswerable_share=config.unanswerable_share,
        annotation=config.lake.annotation,
    )


class Report:
    """This rank's progress, in a small file that the flow reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = {"images": 0, "failures": 0, "units": 0}
        self._written = 0.0

    def add(self, *, images: int = 0, failures: int = 0, units: int = 0) -> None:
        """Count, and write it down when the last time is half a second ago."""
        for name, by in (("images", images), ("failures", failures), ("units", units)):
            self.counts[name] += by
        if time.monotonic() - self._written > REPORT_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write it down now."""
        self._written = time.monotonic()
        write_atomic(self.path, "{" + ", ".join(f'"{name}": {count}' for name, count in self.counts.items()) + "}")


def work(spec_path: Path) -> None:
    """Take and probe units until the run has reached its stop."""
    import torch
    from torch.distributed.rendezvous import rendezvous

    torch.set_num_threads(1)
    spec = read_json(spec_path)
    config = ProbingConfig.model_validate(spec["config"])
    lake, folder = Path(spec["lake"]), Path(spec["work"])
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    store, _, world_size = next(rendezvous("env://"))
    with chats_of_run(folder):
        probe = open_probe(config, lake, device_of(config.torchrun.device, local_rank))
    plan = plan_of(config, lake)
    report = Report(folder / f"progress-{rank}.json")
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    handout = Handout(store, f"probing/{attempt}", target=config.target_failure_count, max_empty=config.max_empty_batches)
    while (index := handout.take()) is not None and (unit := plan[index]) is not None:
        with open_unit(folder, index) as journal:
            resumed = journal.done
            failures = probe_unit(probe, unit, journal, lambda failed: report.add(images=1, failures=failed))
        if resumed:
            report.add(images=unit.images, failures=failures)
        handout.report(index, failures)
        report.add(units=1)
    report.write()
    handout.leave(world_size)


def main() -> int:
    """Run the rank; returns its exit code."""
    try:
        work(Path(sys.argv[1]))
    except (RunFailed, ShortOfTarget) as error:  # the ranks would fail again after a restart
        note = {"error": "ShortOfTarget" if isinstance(error, ShortOfTarget) else "RunFailed", "message": str(error)}
        write_json(Path(sys.argv[1]).with_name(STOPPED), note)
        return error.exit_code
    except MillraceError as error:
        print(f"rank {os.environ.get('RANK')}: {error}", file=sys.stderr)  # noqa: T201 - the rank's log
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
