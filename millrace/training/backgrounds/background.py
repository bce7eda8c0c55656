"""One background training: kept running, watched, paused, restarted or given up."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import threading
import time
from pathlib import Path

from msgspec import to_builtins

from millrace.errors import ItemFailed, RunFailed
from millrace.processes.supervised import SupervisedProcess, supervised
from millrace.records.training.backgrounds import BackgroundReport
from millrace.records.training.events import State, StateChange, TrainingEvent
from millrace.run import clock
from millrace.training.backgrounds.background_record import BackgroundRecord
from millrace.training.backgrounds.restarts import RestartPolicy
from millrace.training.judgement import HOPELESS, judge
from millrace.training.launch import check_free_memory, containment_of, environment_for, keep_command, limits_for
from millrace.training.observation import Observation
from millrace.training.parameters import Value
from millrace.training.programs import Program, build_command
from millrace.training.settings import Background

CHECK_EVERY_S = 0.2


class BackgroundLoop:
    """Runs one background in a thread of its own until `stop`. Everything may be called from any thread.

    Covers: crashes (back-off, then `fatal`), hangs, a program that never gets ready, memory over its limit, pauses.
    Does not cover: work that the program had not saved when it was stopped.
    """

    def __init__(self, settings: Background, program: Program, folder: Path, *, seed: int = 0, data: Path | None = None) -> None:
        assert settings.id is not None
        self.id, self.settings, self.program, self.folder = settings.id, settings, program, folder
        self._data = data
        self._policy = RestartPolicy(settings.restart, random.Random(f"{seed} {settings.id}"))
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopping = self._paused = False
        self._process: SupervisedProcess | None = None
        self._seen: Observation | None = None
        self.record = BackgroundRecord(settings)
        """What it has done; the lock is held around every call."""
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"background {self.id}")

    def start(self) -> None:
        """Begin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record.begin()
        self._thread.start()

    def pause(self) -> None:
        """Stop its clocks; it keeps its memory. Does nothing when it is paused."""
        with self._lock:
            if self._paused or self._stopping:
                return
            self._paused = True
            if self._process is not None:
                self._process.pause()
            if self.state == "training":
                self._enter("paused")

    def resume(self) -> None:
        """Let it go on."""
        with self._lock:
            if not self._paused:
                return
            self._paused = False
            if self._seen is not None:
                self._seen.last_sign_at = time.monotonic()
            if self._process is not None:
                self._process.resume()
            if self.state == "paused":
                self.record.go_on()
                self._enter("training")
        self._wake.set()

    def stop(self, why: str = "") -> None:
        """End it for good: TERM, grace time, KILL. Returns when nothing of it is left."""
        with self._lock:
            self._stopping = True
            self.record.detail = self.record.detail or why
            process = self._process
        self._wake.set()
        if process is not None:
            process.stop(self.settings.grace_s)
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def state(self) -> State:
        """What it is doing."""
        return self.record.state

    @property
    def lost(self) -> bool:
        """Given up."""
        return self.state == "fatal"

    def overlap_s(self, start: float, end: float) -> float:
        """Seconds between two times (since the epoch) in which it was really training."""
        with self._lock:
            return self.record.spans.overlap(start, end)

    def samples_between(self, start: float, end: float) -> float | None:
        """Samples it trained on between two times (seconds since the epoch), by interpolation; None: it never says."""
        with self._lock:
            return self.record.samples_between(start, end)

    def cpu_s(self) -> float:
        """CPU time of all its processes up to now."""
        with self._lock:
            process, spent = self._process, self.record.cpu_s
        return spent + (process.usage().cpu_s if process is not None else 0.0)

    def _run(self) -> None:
        if self._wait(self.settings.start_after_s):
            while not self._stopping:
                trained_s, failed = self._once()
                if self._stopping:
                    break
                if self.record.ends[-1].cause in HOPELESS:
                    self._enter("fatal")
                    return
                wait = self._policy.after_exit(time.monotonic(), failed=failed, trained_s=trained_s)
                if wait is None:
                    self._enter("fatal" if self._policy.fatal else "finished")
                    return
                if wait:
                    self._enter("backing_off")
                if not self._wait(wait):
                    break
        self._enter("stopped")

    def _once(self) -> tuple[float, bool]:
        """One process from start to end: how long it trained, and whether it failed."""
        job = self.settings
        out = self.folder / "out"
        repeat = self.program.external is None and job.restart.policy == "always"
        values = self.program.complete(job.hyperparameters, where=f"background {self.id}")
        command = build_command(self.program, job, values, out, data=self._data, repeat=repeat)
        cwd = self.program.external.cwd if self.program.external and self.program.external.cwd else self.folder
        env = environment_for(job, self.program)
        seen = Observation(self.program, self.folder / "events.jsonl", self._on_event)
        self._enter("starting")
        began = clock.now()
        try:
            check_free_memory(job)
            keep_command(self.folder / "command.sh", command, cwd, env, self.folder)
            with supervised(
                command,
                log=self.folder / "output.log",
                grace_s=job.grace_s,
                env=env,
                cwd=cwd,
                on_line=seen.take_line,
                line_delay_s=seen.line_delay_s,
                max_log_bytes=int(job.max_log_mb * (1 << 20)),
                limits=limits_for(job),
            ) as process:
                with self._lock:
                    self._process, self._seen = process, seen
                    if self._paused:
                        process.pause()
                    self.record.containment = containment_of(process, job, self.program)
                cause = self._watch(process, seen)
            return self._account(process, seen, began, cause, values)
        except ItemFailed as reason:
            cause, detail = reason.reason, reason.detail
        except (OSError, RunFailed) as error:
            cause, detail = _why_not_started(error), str(error)
        finally:
            with self._lock:
                self._process = None
            seen.close()
        with self._lock:
            self.record.detail = detail
            self.record.add_failed_start(cause)
        return 0.0, True

    def _watch(self, process: SupervisedProcess, seen: Observation) -> str:
        """Until it ends or has to be ended; why, or an empty string when it ended by itself."""
        external = self.program.external
        assumed_s = external.ready_after_s if external is not None else None
        began = time.monotonic()
        deadline = began + self.settings.ready_timeout_s
        while process.wait(CHECK_EVERY_S) is None:
            if self._stopping:
                return "stopped"
            if self._paused:
                deadline += CHECK_EVERY_S
                continue
            if assumed_s is not None and seen.ready_at is None and time.monotonic() - began >= assumed_s:
                seen.begin()
            if seen.ready_at is None and time.monotonic() > deadline:
                return "not_ready"
            silent = self.settings.silent_timeout_s
            if silent is not None and time.monotonic() - seen.last_sign_at > silent:
                return "hung"
        return "stopped" if self._stopping else ""

    def _account(
        self, process: SupervisedProcess, seen: Observation, began: float, cause: str, values: dict[str, Value]
    ) -> tuple[float, bool]:
        ending = process.ending
        assert ending is not None
        trained_s = clock.now() - seen.ready_at if seen.ready_at is not None else 0.0
        detail = ""
        if not cause:
            verdict = judge(
                self.program,
                values,
                ending.returncode,
                seen,
                tail=seen.tail(),
                oom_kills=ending.oom_kills or 0,
                guard_lost=ending.guard_lost,
            )
            cause = "completed" if ending.returncode == 0 else (verdict.failure or "exit_code")
            if cause == "out_of_memory" and self.settings.resources.memory_limit_mb:
                cause = "memory_limit"
            detail = verdict.detail if ending.returncode else ""
            lasted_s = clock.now() - seen.began_at
            if cause == "completed" and self._did_nothing(seen, lasted_s):
                cause, detail = "ended_at_once", _why_at_once(lasted_s, ending.outlived)
        with self._lock:
            self._process = None
            self.record.detail = detail or self.record.detail
            self.record.add_end(seen, ending, cause=cause, began=began, trained_s=trained_s)
        return trained_s, cause not in {"completed", "stopped"}

    def _did_nothing(self, seen: Observation, lasted_s: float) -> bool:
        """Whether a process ended well before it could load the machine: counted as a failure, so that restarts have an end."""
        restart = self.settings.restart
        trained = seen.epochs or seen.samples_total or seen.metrics
        return restart.policy == "always" and lasted_s < restart.shortest_s and not trained

    def _on_event(self, event: TrainingEvent) -> None:
        with self._lock:
            self.record.take(event)
            if event.event in {"ready", "epoch"} and self.state == "starting":
                self._enter("paused" if self._paused else "training")
        self._wake.set()

    def _enter(self, state: State) -> None:
        with self._lock:
            if state == self.state:
                return
            now = self.record.enter(state)
            change = StateChange(t=now, background=self.id, state=state, detail=self.record.detail)
        # Apart from the state itself: on a full disk the load goes on, and the report has it all.
        with contextlib.suppress(OSError), (self.folder / "states.jsonl").open("a") as file:
            file.write(json.dumps(to_builtins(change)) + "\n")
        self._wake.set()

    def _wait(self, seconds: float) -> bool:
        """False when it was stopped meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
        return not self._stopping

    def report(self, start: float, end: float) -> BackgroundReport:
        """Everything counted; overlap is with the foreground's time from `start` to `end` (seconds since the epoch)."""
        with self._lock:
            return self.record.report(self._seen if self._process is not None else None, self.cpu_s(), start, end)


def _why_not_started(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "disk_full"
    return "command_missing" if isinstance(error, FileNotFoundError) else "start_failed"


def _why_at_once(lasted_s: float, outlived: int) -> str:
    if outlived:
        return (
            f"it ended after {lasted_s:.2f} s and left {outlived} process{'es' * (outlived > 1)} behind, ended too: it puts "
            "itself into the background; start it so that it stays (no --daemon, no & at the end)"
        )
    why = f"it ended well after {lasted_s:.2f} s without an epoch, so it loads nothing"
    return f"{why}; give it more to do, or set restart.shortest_s to 0"
