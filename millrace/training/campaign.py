"""All runs of one config, one after the other: baselines, attempts, retries, cool-down, results. The flow's pure core."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import structs

from millrace.errors import RunFailed
from millrace.processes import janitor
from millrace.records.training.attempt import AttemptRecord, known
from millrace.records.training.machine import IdleBaseline, Setting
from millrace.records.training.report import TrainingSummary
from millrace.run.folder import versions
from millrace.run.journal import read_record, write_json
from millrace.training.experiments import Plan, PlannedRun, plan_runs
from millrace.training.foreground import run_attempt
from millrace.training.judgement import RESUMABLE
from millrace.training.machine import cool_down, describe, governor, load_now, load_of_others
from millrace.training.meter import EnergyMeter
from millrace.training.results.attempt_files import all_attempts, attempts_of, final_attempts, save_attempt
from millrace.training.results.colocation_card import colocation_cards
from millrace.training.results.earlier_results import earlier_sets
from millrace.training.results.table_files import write_tables
from millrace.training.results.tables import figure, seconds
from millrace.training.settings import TrainingConfig


def plan_for(config: TrainingConfig) -> Plan:
    """Every run of `config`, without those that earlier results have."""
    return plan_runs(config, earlier_sets(config.earlier_results) if config.deduplicate else None)


class Campaign:
    """The runs of one run folder, with what they share: the energy meter, the idle baseline, the governor."""

    def __init__(self, config: TrainingConfig, plan: Plan, folder: Path, meter: EnergyMeter, setting: Setting) -> None:
        self.config, self.plan, self.folder, self.meter = config, plan, folder, meter
        self.setting = setting
        """The machine, versions, governor, idle baseline: the same for all runs."""
        self._measured = False

    def pending(self) -> list[PlannedRun]:
        """The runs that are still to be done: those without a success and with attempts left."""
        return [run for run in self.plan.runs if not self._settled(run)]

    def _settled(self, run: PlannedRun) -> bool:
        attempts = attempts_of(self.folder, run.id)
        if not attempts:
            return False
        last = attempts[-1]
        return last.ok or last.final

    def run_one(self, run: PlannedRun, say: Callable[[str], None] = lambda _: None) -> AttemptRecord:
        """Attempt `run` until it succeeds, fails for good, or has no attempts left; the last attempt's record.

        An attempt that was cut off by a crash of ours left no record: its folder is moved aside and its number used again. Where
        there are checkpoints, the next attempt goes on from the newest one, unless what failed is the load that is measured.
        """
        calm = cool_down(self.config.cool_down) if self._measured else None
        self._measured = True
        while True:
            number = len(attempts_of(self.folder, run.id)) + 1
            place = self.folder / run.id / f"attempt-{number}"
            resumed = self._take_checkpoint(run, number, place)
            say(f"{run.short_title}: {'training' if number == 1 else f'attempt {number}'}{', from its checkpoint' * resumed}")
            attempt = run_attempt(run, number, self.config, place, self.meter, self.setting.idle_w)
            again = attempt.verdict.worth_retrying and number <= self.config.max_retries
            found = structs.replace(attempt.record, cool_down=calm, final=not again, resumed=resumed)
            record = save_attempt(self.folder, found)
            if attempt.verdict.ok:
                say(f"{run.short_title}: done in {seconds(known(record.duration_s))}{_metrics(record)}")
                return record
            say(f"{run.short_title}: {attempt.verdict.failure} ({attempt.verdict.detail}){'; trying again' if again else ''}")
            if not again:
                return record
            time.sleep(self.config.retry_wait_s)

    def _take_checkpoint(self, run: PlannedRun, number: int, place: Path) -> bool:
        """Clear `place` of a cut-off attempt, and put the checkpoint into it that this attempt is to go on from, if any."""
        earlier: list[Path] = []
        if place.exists():
            aside = place.with_name(f"cut-off-{number}")
            shutil.rmtree(aside, ignore_errors=True)
            place.rename(aside)
            earlier.append(aside)
        for record in reversed(attempts_of(self.folder, run.id)):
            if record.failure not in RESUMABLE:
                break
            earlier.append(place.with_name(f"attempt-{record.attempt}"))
        names = ("checkpoint", "checkpoint.old")
        wanted = earlier if run.job.checkpoint_every and run.program.external is None else []
        found = next((one for one in wanted if any((one / name / ".metadata").exists() for name in names)), None)
        for name in names if found is not None else ():
            if found is not None and (found / name).exists():
                shutil.copytree(found / name, place / name)
        return found is not None

    def summary(self) -> TrainingSummary:
        """Write the tables, and say how the runs ended.

        Raises:
            RunFailed: more of them failed than `max_failure_rate` allows.
        """
        attempts = all_attempts(self.folder)
        planned = {run.id for run in self.plan.runs}
        final = [record for record in final_attempts(attempts) if record.id in planned]
        write_tables(self.folder, attempts, original=self.config.original_columns)
        failed = [record for record in final if not record.ok]
        summary = TrainingSummary(
            runs=len(planned),
            ok=len(final) - len(failed),
            failed=len(failed),
            attempts=len(attempts),
            failures=dict(Counter(str(record.failure) for record in failed)),
            notes=self.plan.notes,
            colocation=colocation_cards(final),
        )
        if len(failed) > self.config.max_failure_rate * len(planned):
            first = failed[0]
            raise RunFailed(
                f"{len(failed)} of {len(planned)} trainings failed, the first with {first.failure}: "
                f"{first.failure_detail}; see {self.folder / first.id}"
            )
        return summary


def _metrics(record: AttemptRecord) -> str:
    """An attempt's metrics, for a log line."""
    return "".join(f", {name} {figure(value)}" for name, value in sorted((record.metrics or {}).items()))


def run_experiment(campaign: Campaign, run: PlannedRun, say: Callable[[str], None]) -> AttemptRecord:
    """`Campaign.run_one`, as the one step of a run."""
    return campaign.run_one(run, say)


@contextlib.contextmanager
def open_campaign(config: TrainingConfig, folder: Path, plan: Plan | None = None) -> Iterator[Campaign]:
    """Clean up after earlier crashes, start measuring, take the idle baseline; for the block's time the governor is as asked."""
    folder.mkdir(parents=True, exist_ok=True)
    swept = janitor.sweep()
    plan = plan or plan_for(config)
    with governor(config.energy.governor) as found, EnergyMeter(config.energy) as meter:
        kept = folder / "setting.json"
        idle = measure_idle(meter, config.energy.idle_s)
        setting = Setting(
            machine=describe(),
            versions=versions(),
            governor=found,
            energy_sources=meter.domains,
            energy_unavailable=meter.unavailable,
            idle=idle,
            idle_w=idle.watts,
            swept_pids=swept,
            sessions=(read_record(kept, Setting).sessions if kept.exists() else 0) + 1,
        )
        write_json(kept, setting)
        yield Campaign(config, plan, folder, meter, setting)


def measure_idle(meter: EnergyMeter, seconds: float) -> IdleBaseline:
    """Watts by domain with nothing of ours running, and what other processes did meanwhile. None where unknown or not taken."""
    if not seconds:
        return IdleBaseline(seconds=0.0, watts={}, host=None)
    before, load = meter.snapshot(), load_now()
    time.sleep(seconds)
    readings = meter.between(before, meter.snapshot())
    watts = {reading.domain: reading.joules / reading.window_s for reading in readings if reading.joules is not None}
    return IdleBaseline(seconds=seconds, watts=watts, host=load_of_others(load, load_now(), 0.0))
