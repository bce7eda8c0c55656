"""Configs: one pydantic model is the YAML schema, the command line and the Prefect form.

Strict and frozen; the string under a field is its help text everywhere. Loading says in one sentence what is wrong and where.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from millrace.errors import UsageError, did_you_mean

UNITS = {"s": "s", "mb": "MiB", "gb": "GB", "usd": "USD", "c": "°C"}
"""What a field's name may end with, and how the form says it."""


def field_title(name: str, _: object = None) -> str:
    """A field's name as a form's label: `timeout_s` as `Timeout (s)`."""
    *words, last = name.split("_")
    unit = UNITS.get(last) if words else None
    text = " ".join(words if unit else [*words, last])
    return f"{text[:1].upper()}{text[1:]}" + (f" ({unit})" if unit else "")


class Settings(BaseModel):
    """Base of every config: unknown keys are refused, values don't change, docstrings under fields are help texts."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        field_title_generator=field_title,
    )

    shorthands: ClassVar[dict[str, dict[str, Any]]] = {}
    """Words that may stand for the whole of these settings, and what each stands for."""

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, value: Any) -> Any:
        return cls.shorthands.get(value, value) if isinstance(value, str) else value


OPERATIONAL: JsonDict = {"operational": True}
"""Marks a field (`Field(json_schema_extra=OPERATIONAL)`) that changes how a run is done and not what comes out of it.

A run may be resumed with another value of it.
"""


def fingerprint_of(settings: BaseModel) -> dict[str, Any]:
    """The JSON form of `settings` without its operational fields: what makes two runs the same run."""
    whole = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if extra.get("operational"):
            del whole[name]
            continue
        value = getattr(settings, name)
        if isinstance(reader := extra.get("plugin"), str):
            value = _plugin_settings(reader, value)
        if isinstance(value, BaseModel):
            whole[name] = fingerprint_of(value)
        elif isinstance(value, tuple) and any(isinstance(part, BaseModel) for part in value):
            whole[name] = [fingerprint_of(part) if isinstance(part, BaseModel) else part for part in value]
    return whole


def plugin_field(reader: str) -> JsonDict:
    """Marks a field that holds a plug-in's settings as a mapping: `Field(json_schema_extra=plugin_field("module:function"))`.

    The function makes settings of the mapping, and with them known which of the plug-in's fields are operational.
    """
    return {"plugin": reader}


def _plugin_settings(reader: str, value: Any) -> Any:
    module, _, function = reader.partition(":")
    return getattr(importlib.import_module(module), function)(value)


S = TypeVar("S", bound=BaseModel)


def load_config(model: type[S], path: Path | None, overrides: Sequence[str] = (), *, base: Mapping[str, Any] | None = None) -> S:
    """Read a YAML or JSON file into `model`, with `overrides` of the form `dotted.key=value` on top.

    Args:
        model: the config's class.
        path: the file; None means all defaults.
        overrides: values are YAML, so `x=3`, `x=true`, `x=[a, b]`, `x=null` and `x=text` all do what they look like.
        base: values under those of the file.

    Raises:
        UsageError: naming the file or the option, the key, what is wrong and what would be right.
    """
    data = dict(base or {})
    where = "the defaults"
    if path is not None:
        where = str(path)
        data = _merged(data, _spelt_out(model, read_mapping(path)))
    for override in overrides:
        data = _merged(data, _spelt_out(model, parse_override(override)))
        where = f"{where} with --set" if "--set" not in where else where
    return parse_config(model, data, where=where)


def configs_folder() -> Path:
    """The shipped settings: in the library's folder once installed, at the top of a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.exists() else Path(__file__).parents[1] / "configs"


def _shipped(path: Path | None) -> Path | None:
    """A path that begins with `configs/` and is not there leads into the shipped folder, wherever that was installed."""
    if path is None or path.exists() or path.is_absolute() or path.parts[:1] != ("configs",):
        return path
    inside = configs_folder().joinpath(*path.parts[1:])
    return inside if inside.exists() else path


ShippedPath = Annotated[Path | None, AfterValidator(_shipped)]
"""A path that shipped settings may give as `configs/…`."""


def own_configs_folder() -> Path | None:
    """A folder of the user's beside the shipped one, with a folder for each flow: `$MILLRACE_CONFIGS`."""
    named = os.environ.get("MILLRACE_CONFIGS")
    return Path(named) if named else None


def shipped_configs(flow: str) -> list[str]:
    """The names of a flow's settings that `--config` takes: those that are shipped, and those in the user's folder."""
    return sorted({path.stem for folder in _folders() for path in (folder / flow).glob("*.yaml")})


def _folders() -> list[Path]:
    """Where configs are found by name; the user's own go before."""
    own = own_configs_folder()
    return [own, configs_folder()] if own is not None else [configs_folder()]


def find_config(flow: str, given: Path) -> Path:
    """The file that `--config` names: a path, or else the name of shipped settings of this flow.

    Raises:
        UsageError: it is neither.
    """
    if given.exists() or len(given.parts) != 1 or given.suffix:
        return given
    for folder in _folders():
        if (found := folder / flow / f"{given}.yaml").exists():
            return found
    names = shipped_configs(flow)
    raise UsageError(f"there is no config file {given}, and none of that name is shipped{did_you_mean(str(given), names)}")


def schema_text(model: type[BaseModel]) -> str:
    """The JSON Schema of a config, with which an editor completes and checks a YAML file: what `configs/schemas/` holds."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None and issubclass(inner, Settings) and inner.shorthands:
            of_field = schema["properties"][name]
            of_field["anyOf"] = [{"enum": sorted(inner.shorthands)}, {"$ref": of_field.pop("$ref")}]
    return json.dumps(schema, indent=1, ensure_ascii=False)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, read by libyaml where PyYAML has it: a set of claims in 5 ms instead of 50.

    Raises:
        yaml.YAMLError: it is not YAML; said by PyYAML's own parser, which shows the place.
    """
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError:
        return yaml.safe_load(text)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        UsageError: there is no such file, it can't be read, or it holds something else.
    """
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no config file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the config file {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path} must hold a mapping of settings, not a {type(value).__name__}")
    return value


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=3` as `{"a": {"b": 3}}`."""
    key, sign, raw = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"--set takes dotted.key=value, not '{text}'")
    try:
        value = parse_yaml(raw)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {key}: '{raw}' is not a YAML value") from error
    *parents, last = key.strip().split(".")
    nested = {last: value}
    for part in reversed(parents):
        nested = {part: nested}
    return nested


def parse_config(model: type[S], data: Mapping[str, Any], *, where: str) -> S:
    """Check `data` against `model`; `where` is the place named in the message."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_sentence(model, detail) for detail in error.errors()]
        raise UsageError(f"in {where}: " + "; ".join(problems)) from None


def merged(model: type[BaseModel], under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with the values of `over` on top, by key, at every depth; words that stand for settings are spelt out."""
    return _merged(_spelt_out(model, dict(under)), _spelt_out(model, dict(over)))


def cache_folder() -> Path:
    """Where things live that all runs share (the default lake, trained baselines): `$MILLRACE_CACHE` or `~/.cache/millrace`."""
    named = os.environ.get("MILLRACE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"


def _spelt_out(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """`data` with words that stand for settings spelt out, so that single settings can be merged with them."""

    def spelt_out(key: str, value: Any) -> Any:
        inner = _model_in(model.model_fields[key].annotation) if isinstance(value, str) and key in model.model_fields else None
        return inner.shorthands.get(value, value) if inner is not None and issubclass(inner, Settings) else value

    return {key: spelt_out(key, value) for key, value in data.items()}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        wrong = str(detail["loc"][-1])
        return f"unknown key '{key}'{did_you_mean(wrong, _fields_at(model, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"'{key}' is missing"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    shown = repr(detail["input"])
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return f"'{key}': {message}, not {shown}" if key else message


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The field names of the sub-model at `location`, as far as types tell."""
    current: Any = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = getattr(current, "model_fields", {}).get(part)
        if field is not None:
            current = _model_in(field.annotation)
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
