"""Configs: what is refused, and what the sentence says."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, PositiveInt

from millrace import errors
from millrace.config import OPERATIONAL, Settings, fingerprint_of, load_config
from millrace.errors import ItemFailed, MillraceError, UsageError, did_you_mean
from millrace.probing.settings import ProbingConfig


class Inner(Settings):
    """An inner config."""

    workers: PositiveInt = 1
    """How many."""
    mode: Literal["fast", "slow"] = "fast"


class Outer(Settings):
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    host: str = Field(default="here", json_schema_extra=OPERATIONAL)


def test_a_file_and_overrides_are_merged_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("inner: {workers: 3}\nnames: [a]\n")
    config = load_config(Outer, file, ["inner.mode=slow", "names=[b, c]"])
    assert config == Outer(inner=Inner(workers=3, mode="slow"), names=("b", "c"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("inner.worker=2", "unknown key 'inner.worker'; did you mean 'workers'? known: mode, workers"),
        ("iner.workers=2", "unknown key 'iner'; did you mean 'inner'?"),
        ("inner.workers=0", "'inner.workers': input should be greater than 0, not 0"),
        ("inner.mode=quick", "'inner.mode': input should be 'fast' or 'slow', not 'quick'"),
        ("inner", "--set takes dotted.key=value"),
        ("inner.workers=[", "is not a YAML value"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_right_one(override: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(Outer, None, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("- a\n", "mapping"), ("a: [\n", "not YAML"), ("\x00", "not YAML")])
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        load_config(Outer, file)
    assert str(file) in str(caught.value)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no config file"):
        load_config(Outer, tmp_path / "none.yaml")


def test_operational_fields_do_not_count_for_the_fingerprint() -> None:
    assert fingerprint_of(Outer(host="there")) == fingerprint_of(Outer(host="here"))
    assert fingerprint_of(Outer(names=("x",))) != fingerprint_of(Outer())


def test_a_plug_ins_operational_settings_do_not_make_another_run() -> None:
    def config(**chat: object) -> ProbingConfig:
        endpoint = {"base_url": "http://127.0.0.1:8000/v1"}
        return ProbingConfig(baseline={"name": "endpoint", "chat": {"model": "m", "endpoints": [endpoint], **chat}})

    assert fingerprint_of(config(max_in_flight=3, max_cost_usd=5)) == fingerprint_of(config())
    assert fingerprint_of(config(model="n")) != fingerprint_of(config())


def test_help_texts_come_from_the_string_under_the_field() -> None:
    assert Inner.model_fields["workers"].description == "How many."


def test_every_error_survives_pickling() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MillraceError)]
    assert len(kinds) > 5
    for kind in kinds:
        error = ItemFailed("reason", "detail") if kind is ItemFailed else kind("message")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.args == error.args


def test_did_you_mean_lists_what_is_known() -> None:
    assert did_you_mean("wbe", ["web", "math"]) == "; did you mean 'web'? known: math, web"
