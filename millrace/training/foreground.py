"""One attempt at one run: the foreground trained and measured, alone or beside its backgrounds."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, UnsetType, structs

from millrace.errors import ItemFailed, RunFailed
from millrace.processes.supervised import SupervisedProcess, supervised
from millrace.records.training.attempt import AttemptRecord, ClockSteps
from millrace.records.training.backgrounds import BackgroundsAlone
from millrace.records.training.comparison import Comparison
from millrace.records.training.events import TrainingEvent
from millrace.records.training.machine import ForegroundLoad
from millrace.run import clock
from millrace.training.backgrounds.background_group import Backgrounds
from millrace.training.backgrounds.colocation import adjusted, compare
from millrace.training.backgrounds.windows import Windows
from millrace.training.experiments import PlannedRun
from millrace.training.judgement import Verdict, judge
from millrace.training.launch import check_free_memory, containment_of, environment_for, keep_command, limits_for
from millrace.training.machine import free_memory_bytes, load_now, load_of_others, run_delay_s
from millrace.training.meter import EnergyMeter, Snapshot, attribute, estimate, total
from millrace.training.observation import Observation
from millrace.training.programs import build_command
from millrace.training.results.attempt_files import new_record
from millrace.training.settings import TrainingConfig

CHECK_EVERY_S = 0.5


@dataclass
class Attempt:
    """What came of one attempt, and its record, which is written when it is known whether another one follows."""

    verdict: Verdict
    record: AttemptRecord


def run_attempt(
    run: PlannedRun, number: int, config: TrainingConfig, folder: Path, meter: EnergyMeter, idle_w: Mapping[str, float | None]
) -> Attempt:
    """Train `run` once, in `folder`. Never raises for a failed training: its failure is the attempt's verdict.

    Args:
        run: what to train.
        number: of the attempt, from 1.
        config: limits and measuring.
        folder: empty; gets commands, logs, events.
        meter: a running energy meter.
        idle_w: the idle baseline in watts, by energy domain.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen = Observation(run.program, folder / "events.jsonl")
    record = new_record(run, number)
    verdict = Verdict("start_failed")
    began, stepped = clock.now(), clock.stepped_s()
    with Backgrounds(run.backgrounds, config, folder / "backgrounds") as beside:
        try:
            alone = _measure_alone(beside, config, meter) if beside.loops else None
            check_free_memory(run.job)
            verdict, record = _train(run, record, config, folder, meter, seen, beside, idle_w)
            record = structs.replace(record, background_alone=alone)
        except ItemFailed as reason:
            verdict = Verdict(reason.reason, reason.detail)
        except FileNotFoundError as error:
            verdict = Verdict("command_missing", str(error))
        except (OSError, RunFailed) as error:
            verdict = Verdict("start_failed", str(error))
        finally:
            seen.close()
        ended = clock.now()
        start = seen.ready_at or began
        beside.stop()
        steps = ClockSteps(machine_s=clock.stepped_s(stepped), program_s=round(seen.clock.step_s, 3))
        record = structs.replace(
            record,
            ok=verdict.ok,
            failure=verdict.failure,
            failure_detail=verdict.detail,
            backgrounds=beside.report(start, ended if isinstance(record.ended, UnsetType) else record.ended),
            stop_backgrounds_s=beside.stop_s,
            duration_s=ended - began if isinstance(record.duration_s, UnsetType) else record.duration_s,
            clock_steps=steps if steps.machine_s or steps.program_s else UNSET,
        )
    return Attempt(verdict, structs.replace(record, comparison=_comparison(record, config) if run.backgrounds else UNSET))


def _comparison(record: AttemptRecord, config: TrainingConfig) -> Comparison | UnsetType:
    """What the epochs say about the load; unset where none was seen."""
    if not record.epochs:
        return UNSET
    found = compare(record.epochs, record.background_alone or None, config.seed)
    limit = config.colocation.max_foreground_slowdown
    return found if limit is None else structs.replace(found, adjusted=adjusted(record.epochs, limit))


def _measure_alone(beside: Backgrounds, config: TrainingConfig, meter: EnergyMeter) -> BackgroundsAlone | None:
    """The backgrounds by themselves, before the foreground is there."""
    beside.wait_until_training()
    seconds = config.colocation.background_alone_s
    if not seconds:
        return None
    began, cpu, seen = clock.now(), beside.cpu_s(), [meter.snapshot()]
    for _ in range(ALONE_PARTS):
        time.sleep(seconds / ALONE_PARTS)
        seen.append(meter.snapshot())
    beside.check()
    window = clock.now() - began
    samples = beside.samples_between(began, began + window)
    joules = total(meter.between(seen[0], seen[-1])).get("measured")
    watts = [_watts(meter, *ends) for ends in itertools.pairwise(seen)]
    whole = [watt for watt in watts if watt is not None]
    return BackgroundsAlone(
        window_s=window,
        samples_per_s=samples / window if samples is not None else None,
        samples_per_s_parts=_parts(beside, began, window),
        cpu_per_s=(beside.cpu_s() - cpu) / window,
        watts=joules / window if joules is not None else None,
        watts_parts=whole if len(whole) == len(watts) else None,
    )


def _watts(meter: EnergyMeter, start: Snapshot, end: Snapshot) -> float | None:
    """Of all measured domains together between two snapshots; None: unknown."""
    joules = total(meter.between(start, end)).get("measured")
    return joules / (end.at - start.at) if joules is not None and end.at > start.at else None


ALONE_PARTS = 5
"""Into how many parts the backgrounds' time alone is cut, to see how steady they are."""


def _parts(beside: Backgrounds, began: float, window: float) -> list[float] | None:
    """Their samples per second in each part of the window; None: one of them does not say."""
    length = window / ALONE_PARTS
    starts = [began + number * length for number in range(ALONE_PARTS)]
    found = [beside.samples_between(start, start + length) for start in starts]
    known = [samples / length for samples in found if samples is not None]
    return known if len(known) == ALONE_PARTS else None


def _train(
    run: PlannedRun,
    record: AttemptRecord,
    config: TrainingConfig,
    folder: Path,
    meter: EnergyMeter,
    seen: Observation,
    beside: Backgrounds,
    idle_w: Mapping[str, float | None],
) -> tuple[Verdict, AttemptRecord]:
    command = build_command(run.program, run.job, run.hyperparameters, folder, data=config.data)
    cwd = run.program.external.cwd if run.program.external and run.program.external.cwd else folder
    env = environment_for(run.job, run.program)
    keep_command(folder / "command.sh", command, cwd, env, folder)
    events: queue.SimpleQueue[TrainingEvent | None] = queue.SimpleQueue()
    seen.on_event = events.put
    before, load_before = meter.snapshot(), load_now()
    with supervised(
        command,
        log=folder / "output.log",
        grace_s=config.grace_s,
        env=env,
        cwd=cwd,
        on_line=seen.take_line,
        line_delay_s=seen.line_delay_s,
        max_log_bytes=int(config.max_log_mb * (1 << 20)),
        limits=limits_for(run.job),
    ) as process:
        began = clock.now()
        windows = Windows(run, config, meter, process, beside)
        threading.Thread(target=_announce_end, args=(process, events), daemon=True, name="foreground end").start()
        cut = _follow(config, process, seen, beside, windows, events)
        delay_s = windows.run_delay_s
    after, load_after, ended = meter.snapshot(), load_now(), clock.now()
    ending = process.ending
    assert ending is not None
    verdict = cut or judge(
        run.program,
        run.hyperparameters,
        ending.returncode,
        seen,
        tail=seen.tail(),
        oom_kills=ending.oom_kills or 0,
        guard_lost=ending.guard_lost,
    )
    if not verdict.ok and cut is None and ending.returncode == 0 and ending.outlived:
        behind = (
            f"it ended and left {ending.outlived} processes behind, which were ended: start it so that it stays in the foreground"
        )
        verdict = Verdict(verdict.failure, f"{verdict.detail}; {behind}")
    if windows.lost is not None and verdict.ok:
        verdict = windows.lost
    background_cpu = beside.cpu_s() - windows.background_cpu_before
    host = load_of_others(load_before, load_after, None if ending.cpu_s is None else ending.cpu_s + background_cpu)
    all_cpu = None if load_before.busy_s is None or load_after.busy_s is None else load_after.busy_s - load_before.busy_s
    share = min(1.0, ending.cpu_s / all_cpu) if ending.cpu_s is not None and all_cpu else None
    readings = meter.between(before, after)
    readings += attribute(readings, share=share, idle_w=idle_w)
    guess = estimate(ending.cpu_s, config.energy.watts_per_core, ended - began)
    return verdict, structs.replace(
        record,
        began=began,
        ended=ended,
        duration_s=ended - began,
        ready_after_s=seen.ready_at - began if seen.ready_at is not None else None,
        returncode=ending.returncode,
        hyperparameters_echoed=seen.echoed,
        metrics=dict(seen.metrics),
        epochs=windows.epochs,
        cpu_s=ending.cpu_s,
        peak_bytes=ending.peak_bytes,
        log_bytes=ending.log_bytes,
        log_bytes_lost=ending.log_bytes_lost,
        energy=readings + ([guess] if guess else []),
        energy_j=total(readings),
        host=ForegroundLoad(**structs.asdict(host), run_delay_s=delay_s),
        containment=containment_of(process, run.job, run.program),
        leftover=ending.leftover,
        load_changes=windows.changes,
    )


def _announce_end(process: SupervisedProcess, events: queue.SimpleQueue[TrainingEvent | None]) -> None:
    process.wait()
    events.put(None)


def _follow(
    config: TrainingConfig,
    process: SupervisedProcess,
    seen: Observation,
    beside: Backgrounds,
    windows: Windows,
    events: queue.SimpleQueue[TrainingEvent | None],
) -> Verdict | None:
    """Serve the foreground's events until it ends; a verdict if it had to be cut short."""
    began, checked = time.monotonic(), 0.0
    while True:
        try:
            event = events.get(timeout=CHECK_EVERY_S)
        except queue.Empty:
            event = TrainingEvent(event="")
        if event is None:
            return None
        if event.event == "ready":
            windows.begin()
        elif event.event == "epoch":
            windows.close(event)
        now = time.monotonic()
        if now - checked < CHECK_EVERY_S:
            continue
        checked = now
        windows.run_delay_s = run_delay_s(process.pid) or windows.run_delay_s
        if config.timeout_s is not None and now - began > config.timeout_s:
            process.stop()
            return Verdict("timeout", f"it took longer than {config.timeout_s:g} s")
        if config.silent_timeout_s is not None and now - seen.last_sign_at > config.silent_timeout_s:
            process.stop()
            return Verdict("hung", f"it printed nothing for {config.silent_timeout_s:g} s")
        if beside.loops and windows.lost is None:
            windows.lost = _loss(config, beside)
            if windows.lost is not None and config.colocation.on_lost_background == "abort":
                process.stop()
                return windows.lost


def _loss(config: TrainingConfig, beside: Backgrounds) -> Verdict | None:
    try:
        beside.check()
    except ItemFailed as reason:
        return Verdict(reason.reason, reason.detail)
    least, free = config.colocation.min_free_memory_mb << 20, free_memory_bytes()
    if least and free is not None and free < least:
        beside.stop("stopped to leave the foreground its memory")
        return Verdict(
            "memory_pressure", f"{free >> 20} MiB were free: the backgrounds were stopped before the foreground suffered"
        )
    return None
