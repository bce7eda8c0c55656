"""Ends a run that was cancelled in Prefect, also when nobody else does.

A worker enforces a cancel: SIGTERM to the flow's process, SIGKILL after 30 s. A worker that was killed enforces nothing, and a
run that was started by `python -m` never had one. So the flow looks at its own flow run every few seconds and ends itself.

Covers: cancel from UI or API with a living worker (its SIGTERM comes first, and the watch stays out of the way), with a worker
that is draining or dead, with a server that was restarted meanwhile, without any worker; a flow that does not react (killed, its
state set before); a worker that dies without a cancel: the flow goes on, although nobody reads what it prints any more.
Does not cover: a cancel that the server never hears of; a deleted flow run (it goes on to its end).
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from millrace.errors import Interrupted
from millrace.orchestration.final_state import FinalStateReporter

EVERY_S = 5.0
"""How often the flow asks for its own state: one request of some 5 ms."""

WORKER_FIRST_S = 8.0
"""How long a living worker may take to enforce a cancel; it hears of one at once, or within 10 s when it has to poll."""

KILL_AFTER_S = 30.0
"""How long the flow may take to end itself: what a worker gives it too."""

OF_HTTPX = {"accept", "accept-encoding", "connection", "content-type", "host", "user-agent"}
"""Headers of Prefect's client that are httpx's own; the others are the login and are passed on."""

CANCELLED = {"CANCELLING", "CANCELLED"}

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def obeying_cancel(output: Path) -> Iterator[None]:
    """End the flow run around the block when it is cancelled in Prefect; its state is then true.

    Outside of a flow run, and off the main thread (where nothing can be interrupted), the block just runs.

    Args:
        output: where the flow's output goes when whoever read it (its worker) is gone.
    """
    from prefect.context import FlowRunContext
    from prefect.exceptions import Pause

    context = FlowRunContext.get()
    if context is None or context.flow_run is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = CancelWatch(context.flow_run.id, output)
    reporter = _reporter(context.flow_run.id) if has_worker() else None
    watch.start()
    try:
        yield
    except Pause:
        _report_suspended(context.flow_run)
        raise
    finally:
        watch.close()
        if reporter:
            reporter.not_needed()


@contextlib.contextmanager
def called_by_hand() -> Iterator[None]:
    """Around a call of a flow by the command line: a cancel in Prefect's UI is an interruption like Ctrl-C.

    Raises:
        Interrupted: the flow run was cancelled.
    """
    from prefect.exceptions import TerminationSignal

    try:
        yield
    except TerminationSignal as signal_of_prefect:
        raise Interrupted("the run was cancelled in Prefect; run the same command again to go on") from signal_of_prefect


def has_worker() -> bool:
    """Whether a worker (Prefect: a runner) started this process; it then answers for the state of a cancelled run."""
    return os.environ.get("PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS", "true").lower() == "false"


def _report_suspended(flow_run: Any) -> None:
    """Tell the automation for lost runs (deployments/automations.yaml) that a process ends because its run is suspended.

    It may have been suspended from the UI a while ago; the heartbeats that came since would make the silence look like a loss.
    """
    from prefect.events import emit_event

    deployment = f"prefect.deployment.{flow_run.deployment_id}"
    related = {"prefect.resource.id": deployment, "prefect.resource.role": "deployment"}
    emit_event(
        event="millrace.flow-run.suspended",
        resource={"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.name": flow_run.name or ""},
        related=[related] if flow_run.deployment_id else [],
    )


def _reporter(flow_run: UUID) -> FinalStateReporter | None:
    from prefect.client.orchestration import get_client

    with contextlib.suppress(Exception), get_client(sync_client=True) as client:
        headers = {name: value for name, value in client._client.headers.items() if name.lower() not in OF_HTTPX}
        return FinalStateReporter(str(client.api_url), headers, str(flow_run))
    return None


class CancelWatch:
    """A thread that watches one flow run. Made by `obeying_cancel`."""

    def __init__(self, flow_run: UUID, output: Path) -> None:
        self.flow_run = flow_run
        self.output = output
        self.acted = False
        """Whether the watch, and not a worker, ended the run."""
        self._over, self._over_in = os.pipe()
        self._api: Any = None
        run = contextvars.copy_context().run  # the settings of Prefect that hold here
        self._thread = threading.Thread(target=run, args=(self._watch,), name="cancel-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """The run has cleaned up: stop watching, and set its state to Cancelled if the watch ended it and no worker will."""
        os.close(self._over_in)
        self._thread.join(timeout=1.0)
        if self.acted and has_worker():
            self._call_cancelled()

    def _watch(self) -> None:
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), contextlib.ExitStack() as self._client:
            self._watch_until_over()

    def _watch_until_over(self) -> None:
        readers = _Readers(self.output)
        seen_at: float | None = None
        wait_s = 0.0
        while not self._sleep(readers, wait_s):
            wait_s = EVERY_S
            if not self._is_cancelled():
                seen_at = None
                continue
            now = time.monotonic()
            seen_at = seen_at or now
            asked = _asked_by_worker()  # then its SIGTERM is on the way or has come
            if has_worker() and not readers.gone and not asked and now < seen_at + WORKER_FIRST_S:
                wait_s = 1.0
                continue
            if not asked:
                _logger.warning("the flow run was cancelled and no worker has ended it: it ends itself")
                self.acted = True
                _interrupt()
            if not self._sleep(readers, KILL_AFTER_S + (WORKER_FIRST_S if asked else 0.0)):
                self._call_cancelled()
                os.kill(os.getpid(), signal.SIGKILL)  # what the run started ends with it (millrace/processes/supervised.py)
            return

    def _sleep(self, readers: _Readers, seconds: float) -> bool:
        """True: the run is over. Output that nobody reads any more is noticed meanwhile."""
        until = time.monotonic() + seconds
        while True:
            poll = select.poll()
            poll.register(self._over, 0)
            readers.register(poll)
            ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
            if self._over in ready:
                os.close(self._over)
                return True
            if ready:
                readers.leave()
            elif time.monotonic() >= until:
                return False

    def _is_cancelled(self) -> bool:
        try:
            if self._api is None:
                from prefect.client.orchestration import get_client

                self._api = self._client.enter_context(get_client(sync_client=True))
            state = self._api.read_flow_run(self.flow_run).state
        except Exception:  # noqa: BLE001 - a server that does not answer says nothing about the run
            return False
        return state is not None and state.type.value in CANCELLED

    def _call_cancelled(self) -> None:
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelled

        with contextlib.suppress(Exception), get_client(sync_client=True) as client:
            client.set_flow_run_state(self.flow_run, Cancelled(message="The run ended itself: no worker did."), force=True)


class _Readers:
    """Who reads our output. A worker that dies leaves pipes without a reader: writing to them ends the process."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.gone = False
        self.ends = [end for end in (1, 2) if has_worker() and not os.isatty(end)]

    def register(self, poll: select.poll) -> None:
        for end in self.ends:
            poll.register(end, 0)  # POLLERR, of a pipe without a reader, is reported without being asked for

    def leave(self) -> None:
        self.gone, self.ends = True, []
        self.output.parent.mkdir(parents=True, exist_ok=True)
        end = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for standard in (1, 2):
            os.dup2(end, standard)
        os.close(end)
        _logger.warning("the worker of this run is gone; the run goes on, its output is in %s", self.output)


def _asked_by_worker() -> bool:
    """Whether a worker has announced that it ends this process; it then sends SIGTERM, and SIGKILL after 30 s."""
    listener = _control_listener()
    return listener is not None and listener.get_intent() is not None


def _interrupt() -> None:
    """End the flow in the main thread as a worker's cancel does: every `finally` runs."""
    listener = _control_listener()
    if listener is not None:
        listener._set_intent("cancel")  # else Prefect sets the state to Crashed after SIGTERM, and alerts are sent
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # to this very thread: else a lock it waits for is not interrupted


def _control_listener() -> Any:
    """Prefect's module that keeps why a process is being ended; private to Prefect, so it may be missing in other versions."""
    try:
        from prefect._internal import control_listener
    except ImportError:
        return None
    return control_listener
