"""Signals during a submission: heard at its end, once, also where an exception inside it would be lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pydantic
import pytest
from pydantic_core import PydanticSerializationError

from millrace.processes.held_signals import HELD, signals_held


class Told(BaseException):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Every held signal raises `Told`, as Prefect's and our own handlers do."""

    def tell(number: int, frame: FrameType | None) -> None:
        raise Told(number)

    before = {number: signal.signal(number, tell) for number in HELD}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Serialized(pydantic.BaseModel):
    """A model in whose serializer a signal comes."""

    @pydantic.model_serializer
    def _dump(self) -> dict[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        return {}


def in_a_block(*numbers: int) -> list[str]:
    """Raise these signals in a block; returns how far the block came."""
    done = ["nothing"]
    with pytest.raises(Told) as told, signals_held():
        _raise(numbers, done)
    assert told.value.args == (numbers[0],)
    return done


def _raise(numbers: tuple[int, ...], done: list[str]) -> None:
    for number in numbers:
        signal.raise_signal(number)
    done[0] = "all"


@pytest.mark.parametrize("number", HELD)
def test_a_signal_in_the_block_is_handled_after_all_of_it(number: signal.Signals) -> None:
    assert in_a_block(number) == ["all"]


def test_the_same_one_again_is_handled_at_once() -> None:
    assert in_a_block(signal.SIGTERM, signal.SIGTERM) == ["nothing"]


def test_one_in_a_serializer_is_not_lost() -> None:
    with pytest.raises(PydanticSerializationError):  # what happens without
        Serialized().model_dump()
    with pytest.raises(Told), signals_held():
        Serialized().model_dump()


def test_handlers_are_as_before_and_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    before = [signal.getsignal(number) for number in HELD]
    with signals_held():
        signal.raise_signal(signal.SIGUSR1)
    assert [signal.getsignal(number) for number in HELD] == before


def test_in_another_thread_nothing_is_held() -> None:
    seen: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with signals_held():
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
