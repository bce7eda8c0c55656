"""Drawing hyperparameters: exact, reproducible, all different, exhausted where finite."""

from __future__ import annotations

import json
import random
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.errors import UsageError
from millrace.training.mutation import choose_names, draw_one, key_of, mutate
from millrace.training.parameters import Parameter, arguments, spell, typed

LR = Parameter(default=0.1, range=(0.05, 0.15), distribution="log_uniform")
EPOCHS = Parameter(type="int", default=10, range=(5, 15))
DECAY = Parameter(default=0.0, range=(1e-5, 1e-3), distribution="log_uniform", zero_probability=0.3)
OPTIMIZER = Parameter(type="str", default="sgd", choices=["sgd", "adam"], distribution="choice")
MOMENTUM = Parameter(default=0.9, range=(0.5, 0.99), only_if={"optimizer": ["sgd"]})
ALL = {"lr": LR, "epochs": EPOCHS, "decay": DECAY, "optimizer": OPTIMIZER, "momentum": MOMENTUM}


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_back_from_the_command_line_bit_for_bit(value):
    assert bits(Parameter().convert(spell(value))) == bits(value)
    assert bits(json.loads(json.dumps(value))) == bits(value)


@given(st.integers(-(10**12), 10**12))
def test_an_int_comes_back_from_the_command_line_as_an_int(value):
    again = Parameter(type="int").convert(spell(value))
    assert again == value
    assert type(again) is int


def test_the_same_seed_draws_the_same_sets_and_another_seed_others():
    first = mutate(ALL, sorted(ALL), 20, random.Random(1)).sets
    assert first == mutate(ALL, sorted(ALL), 20, random.Random(1)).sets
    assert first != mutate(ALL, sorted(ALL), 20, random.Random(2)).sets


def test_asking_for_more_runs_keeps_the_first_ones():
    assert mutate(ALL, sorted(ALL), 50, random.Random(1)).sets[:20] == mutate(ALL, sorted(ALL), 20, random.Random(1)).sets


def test_all_sets_differ_and_none_is_the_defaults():
    sets = mutate({"lr": LR, "epochs": EPOCHS}, ["epochs", "lr"], 500, random.Random(3)).sets
    keys = {key_of(values) for values in sets}
    assert len(keys) == 500
    assert key_of({"lr": 0.1, "epochs": 10}) not in keys


def test_drawn_values_keep_to_their_ranges_and_types():
    for _ in range(2000):
        generator = random.Random(_)
        assert 0.05 <= draw_one(LR, generator) <= 0.15
        epochs = draw_one(EPOCHS, generator)
        assert 5 <= epochs <= 15
        assert type(epochs) is int
        decay = draw_one(DECAY, generator)
        assert decay == 0.0 or 1e-5 <= decay <= 1e-3


def test_log_uniform_puts_as_many_values_below_the_geometric_mean_as_above():
    wide = Parameter(range=(1e-6, 1e-2), distribution="log_uniform")
    generator = random.Random(0)
    below = sum(draw_one(wide, generator) < 1e-4 for _ in range(4000))
    assert 1850 < below < 2150


def test_zero_comes_as_often_as_its_probability_says():
    generator = random.Random(0)
    zeros = sum(draw_one(DECAY, generator) == 0 for _ in range(4000))
    assert 1080 < zeros < 1320


def test_a_conditional_parameter_is_only_passed_where_its_condition_holds():
    sets = mutate(ALL, sorted(ALL), 100, random.Random(5)).sets
    assert {("momentum" in values) == (values["optimizer"] == "sgd") for values in sets} == {True}
    assert {values["optimizer"] for values in sets} == {"sgd", "adam"}


def test_a_condition_may_look_at_a_fixed_value():
    sets = mutate(ALL, ["momentum"], 5, random.Random(5), fixed={"optimizer": "sgd"}).sets
    assert all("momentum" in values for values in sets)


def test_conditions_in_a_circle_are_refused():
    circle = {
        "a": Parameter(type="int", range=(0, 9), only_if={"b": [1]}),
        "b": Parameter(type="int", range=(0, 9), only_if={"a": [1]}),
    }
    with pytest.raises(UsageError, match="circle"):
        mutate(circle, ["a", "b"], 3, random.Random(0))


def test_a_finite_space_is_exhausted_without_repetition_and_says_so():
    found = mutate({"epochs": EPOCHS, "optimizer": OPTIMIZER}, ["epochs", "optimizer"], 100, random.Random(0))
    assert found.exhausted
    assert len(found.sets) == 11 * 2 - 1  # the defaults are left out
    assert len({key_of(values) for values in found.sets}) == 21


def test_a_finite_space_asked_for_exactly_is_not_exhausted():
    found = mutate({"epochs": EPOCHS}, ["epochs"], 10, random.Random(0))
    assert not found.exhausted
    assert sorted(values["epochs"] for values in found.sets) == [5, 6, 7, 8, 9, 11, 12, 13, 14, 15]


def test_sets_known_from_earlier_do_not_come_again():
    known = {key_of({"epochs": 5}), key_of({"epochs": 6})}
    found = mutate({"epochs": EPOCHS}, ["epochs"], 100, random.Random(0), known=known)
    assert len(found.sets) == 8


def test_the_narrow_float_range_of_the_original_has_more_than_fifteen_values():
    alpha = Parameter(default=1e-5, range=(5e-6, 2e-5), distribution="log_uniform")
    assert len(mutate({"alpha": alpha}, ["alpha"], 40, random.Random(0)).sets) == 40


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"range": (2.0, 1.0)}, "upside down"),
        ({"range": (0.0, 1.0), "distribution": "log_uniform"}, "above 0"),
        ({"range": (-1.0, 1.0), "distribution": "log_uniform"}, "above 0"),
        ({"range": (0.1, 0.9), "type": "int"}, "no whole number"),
        ({"distribution": "choice"}, "choices"),
        ({"choices": [1, 1], "type": "int"}, "differ"),
        ({"range": (0.0, float("inf"))}, "finite"),
        ({"zero_probability": 1.5}, "less than or equal"),
        ({"distribution": "normal"}, "uniform"),
    ],
)
def test_a_parameter_that_cannot_be_drawn_from_is_refused(spec, message):
    with pytest.raises(ValidationError, match=message):
        Parameter(**spec)


def test_an_unknown_parameter_to_mutate_is_named_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'epochs'"):
        choose_names(ALL, ["epoch"], where="experiments.0")


def test_a_parameter_without_a_range_cannot_be_mutated():
    with pytest.raises(UsageError, match="neither a range nor choices"):
        choose_names({"x": Parameter(default=1.0)}, ["x"], where="experiments.0")


def test_values_of_different_types_are_different_keys():
    assert len({typed(value) for value in (1, 1.0, True, "1")}) == 4


def test_arguments_use_the_parameters_own_flags():
    parameters = {"weight_decay": Parameter(), "lr": Parameter(flag="-l"), "nesterov": Parameter(type="bool")}
    assert arguments(parameters, {"weight_decay": 1e-5, "lr": 0.1, "nesterov": True}) == [
        "-l", "0.1", "--nesterov", "true", "--weight-decay", "1e-05",
    ]  # fmt: skip


def test_a_hundred_thousand_sets_are_drawn_without_getting_slower_with_their_number():
    began = time.process_time()
    small = mutate({"lr": LR, "decay": DECAY}, ["decay", "lr"], 5_000, random.Random(0))
    middle = time.process_time()
    large = mutate({"lr": LR, "decay": DECAY}, ["decay", "lr"], 50_000, random.Random(0))
    ended = time.process_time()
    assert (len(small.sets), len(large.sets)) == (5_000, 50_000)
    assert ended - middle < 40 * (middle - began)  # linear would be 10
