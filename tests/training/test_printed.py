"""What foreign trainings print is found by looking: the line that ends an epoch, and the metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from millrace.config import parse_config
from millrace.training.measuring.printed import Printed, find
from millrace.training.observation import Observation, shown_lines
from millrace.training.programs import load_program
from millrace.training.settings import TrainingConfig

EPOCHS = 5
Lines = Iterator[tuple[float, str]]


def plain() -> Lines:
    for n in range(1, EPOCHS + 1):
        yield n, f"Epoch {n}/{EPOCHS} - loss: {1 / n:.4f} - acc: {1 - 1 / (n + 1):.3f} - 1.2s"


def from_zero_with_a_clock() -> Lines:
    for n in range(EPOCHS):
        yield n + 1, f"2026-03-01 12:00:0{n},123 INFO trainer: epoch {n} finished: loss={1 / (n + 1):.4f} lr=0.01"


def batches_then_a_test() -> Lines:
    for n in range(1, EPOCHS + 1):
        for batch in range(0, 60000, 6400):
            yield n - 1 + batch / 60000, f"Train Epoch: {n} [{batch}/60000 ({batch / 600:.0f}%)]\tLoss: {2 / n - batch / 1e6:.6f}"
        yield n, ""
        yield n, f"Test set: Average loss: {1 / n:.4f}, Accuracy: {9000 + n}/10000 ({90 + n / 100:.0f}%)"


def header_then_metrics() -> Lines:
    for n in range(1, EPOCHS + 1):
        yield n - 1, f"Epoch {n}/{EPOCHS}"
        yield n, f"391/391 - 12s - loss: {1 / n:.4f} - accuracy: 0.9{n} - val_loss: {1.5 / n:.4f} - 31ms/step"


def batches_with_a_counter() -> Lines:
    for n in range(EPOCHS):
        for batch in (0, 130, 260, 390):
            yield (
                n + batch / 390,
                f"Epoch: [{n}][{batch:3d}/391]\tTime  0.04 ( 0.05)\tLoss {2.3 - n / 9:.4e} (2.3e+00)\tAcc@1 {10 + n}.00 (11.00)",
            )


def progress_bar() -> Lines:
    for n in range(EPOCHS):
        for batch in (1, 5, 10):
            bar = "█" * batch
            yield (
                n + batch / 10,
                f"Epoch {n}: {batch * 10:3d}%|{bar:<10}| {batch}/10 [00:0{n}<00:00, 9.91it/s, v_num=0, train_loss=0.{9 - n}00]",
            )


def both_splits() -> Lines:
    for n in range(1, EPOCHS + 1):
        yield n - 0.2, f"[train] epoch {n} loss 0.{9 - n} acc 0.{n}"
        yield n, f"[valid] epoch {n} loss 0.{8 - n} acc 0.{n}"


def json_lines() -> Lines:
    for n in range(1, EPOCHS + 1):
        yield n, f'{{"epoch": {n}, "train_loss": {1 / n}, "val_accuracy": 0.{n}}}'


def begins_only() -> Lines:
    yield 0, "loading"
    for n in range(1, EPOCHS + 1):
        yield n - 0.95, f"=== Epoch {n} ==="


def dictionaries() -> Lines:
    for n in range(1, 4 * EPOCHS + 1):
        yield n / 4, f"{{'loss': {2 / n:.4f}, 'grad_norm': 1.{n}, 'learning_rate': 5e-05, 'epoch': {n / 4}}}"


def steps() -> Lines:
    for n in range(0, 1000, 50):
        if n % 250 == 0:
            yield n / 200, f"step {n}: train loss {4.2 - n / 1000:.4f}, val loss {4.3 - n / 1000:.4f}"
        yield n / 200, f"iter {n}: loss {4.2 - n / 1000:.4f}, time 12.33ms, mfu 8.50%"


def boosting() -> Lines:
    for n in range(20):
        yield n / 4, f"[{n}]\ttrain-logloss:{0.6 - n / 50:.5f}\teval-logloss:{0.62 - n / 60:.5f}"


FORMS: list[tuple[Callable[[], Lines], str, int, set[str]]] = [
    (plain, "epoch", EPOCHS, {"loss", "acc"}),
    (from_zero_with_a_clock, "epoch", EPOCHS, {"loss"}),
    (batches_then_a_test, "epoch", EPOCHS, {"loss", "accuracy"}),
    (header_then_metrics, "epoch", EPOCHS, {"loss", "accuracy", "val_loss"}),
    (batches_with_a_counter, "epoch", EPOCHS, {"loss", "acc@1"}),
    (progress_bar, "epoch", EPOCHS, {"train_loss"}),
    (both_splits, "epoch", EPOCHS, {"loss", "acc"}),
    (json_lines, "epoch", EPOCHS, {"train_loss", "val_accuracy"}),
    (begins_only, "epoch", EPOCHS - 1, set()),
    (dictionaries, "line", 4 * EPOCHS, {"loss", "grad_norm"}),
    (steps, "line", 20, {"loss", "train_loss", "val_loss"}),
    (boosting, "line", 20, {"train-logloss", "eval-logloss"}),
]


def observed(found: Printed, lines: Lines) -> Observation:
    """What the product reads with the patterns that were found."""
    external = {"command": [sys.executable], "epoch": found.epoch, "ready": found.ready, "metrics": found.metrics}
    config = parse_config(TrainingConfig, {"external": {"mine": external}}, where="the test")
    seen = Observation(load_program("mine", config))
    for _, line in lines:
        for part in shown_lines(line):
            seen.take_line(part)
    return seen


@pytest.mark.parametrize(("program", "unit", "count", "metrics"), FORMS, ids=[form[0].__name__ for form in FORMS])
def test_the_line_that_ends_an_epoch_and_the_metrics_are_found(program, unit, count, metrics):
    """And after three epochs the same is found as after all of them, so that the look can be short."""
    lines = list(program())
    for cut in (len(lines), max(1, round(len(lines) * 3.2 / EPOCHS))):
        found = find(lines[:cut])
        assert found.unit == unit, found
        assert metrics <= set(found.metrics), found
        seen = observed(found, iter(lines))
        assert len(seen.epochs) == count, (found, [epoch.n for epoch in seen.epochs])
        assert metrics <= set(seen.metrics)
        assert {name: seen.metrics[name] for name in metrics} == {name: find(lines).values[name] for name in metrics}


def test_the_batches_epochs_are_as_long_as_they_were():
    lines = list(batches_with_a_counter())
    assert find(lines).every_s == pytest.approx(1, rel=0.01)
    assert find(list(plain())).of == EPOCHS


@pytest.mark.parametrize(
    "lines",
    [[], [(0.0, "hello")], [(float(n), f"downloaded {n} of 90 files") for n in range(9)], [(0.0, "Epoch 1: loss 0.5")]],
    ids=["nothing", "one line", "no metrics", "one epoch"],
)
def test_lines_that_end_no_epoch_are_not_taken_for_some(lines):
    assert find(lines).unit == "nothing"


def test_a_metric_of_another_split_is_not_the_metric():
    found = find([(n, f"epoch {n}: val loss 0.{n}, loss 0.9{n}, learning_rate 0.1, time: 0.25") for n in range(1, 4)])
    assert found.values == {"val_loss": 0.3, "loss": 0.93}
    seen = observed(found, iter([(1.0, "epoch 1: val loss 0.5")]))
    assert seen.metrics == {"val_loss": 0.5}
