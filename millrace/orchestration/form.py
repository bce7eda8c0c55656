"""A flow's parameters as Prefect's run form shows them: ready settings by name, the few that people change, everything else.

`config` opens on a drop-down of the flow's config files; its other tabs take a file of the user's, or every setting in a form.
`settings` holds the few; empty ones stay as the config has them. `advanced` is any part of a config file. Later ones win.
Callers in Python and schedules give what they like of these: `config` takes a name, a mapping or the settings themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, GetJsonSchemaHandler, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from millrace.config import Settings, find_config, load_config, merged, parse_config, shipped_configs

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

DEFAULTS = "default"
"""What the drop-down calls the settings' own defaults; a flow's `default.yaml` says the same in full."""


def config_type(flow: str, model: type[BaseModel]) -> Any:
    """The type of a flow's parameter `config`: `model`, read also from the name of a config or from a file."""
    return Annotated[model, BeforeValidator(lambda given: read_config(flow, model, given)), _Tabs(flow)]


def read_config(flow: str, model: type[BaseModel], given: Any) -> Any:
    """`given` as settings where it names a config; anything else as it is, for `model` to check.

    Raises:
        UsageError: there is no such config, or it is none of this flow's.
    """
    if not isinstance(given, str | Path):
        return given
    is_code = str(given) == DEFAULTS and DEFAULTS not in shipped_configs(flow)
    return load_config(model, None if is_code else find_config(flow, Path(given)))


@dataclass(frozen=True)
class _Tabs:
    """How the form shows `config`. A form opens on the first alternative."""

    flow: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A drop-down of names, a file, and the whole."""
        names = [DEFAULTS, *(name for name in shipped_configs(self.flow) if name != DEFAULTS)]
        whole = {**handler.resolve_ref_schema(handler(core)), "title": "every setting"}
        return {
            "anyOf": [
                {"title": "ready settings", "type": "string", "enum": names},
                {"title": "a file of yours", "type": "string", "description": "Its path on the machine that runs the flow."},
                whole,
            ]
        }


def settings_type(flow: str, model: type[BaseModel], often: Sequence[str]) -> type[Settings]:
    """The settings `often`, dotted as for `--set`, in one level; each may be left empty.

    Raises:
        TypeError: `model` has no such setting.
    """
    fields: dict[str, Any] = {}
    for dotted in often:
        field = _field_at(model, dotted.split("."))
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        described = Field(default=None, title=dotted, description=field.description)
        fields[dotted.replace(".", LEVEL)] = (kind | None, described)
    return create_model(f"{flow.title()}RunSettings", __base__=_Few, __doc__=None, **fields)


LEVEL = "__"
"""Stands for the dot of `--set` in a field's name: the form takes a dot for a level of its own."""


def _field_at(model: type[BaseModel], path: Sequence[str]) -> FieldInfo:
    field = model.model_fields.get(path[0])
    if field is None:
        raise TypeError(f"{model.__name__} has no setting {'.'.join(path)}")
    if len(path) == 1:
        return field
    parts = (field.annotation, *get_args(field.annotation))
    inner = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
    if inner is None:
        raise TypeError(f"{path[0]} of {model.__name__} has no settings in it")
    return _field_at(inner, path[1:])


class _Few(Settings):
    """Settings that may each be left empty. What is empty is left out of what the form submits: it shows no tab for null.

    A switch keeps its tab, to be told from off.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema without null, where that can be."""
        reference = handler(core)
        for field in handler.resolve_ref_schema(reference)["properties"].values():
            kinds = [kind for kind in field.get("anyOf", []) if kind.get("type") != "null"]
            if len(kinds) == 1 and kinds[0].get("type") in ("string", "integer", "number"):
                del field["anyOf"], field["default"]
                field.update(kinds[0])
        return reference


def settled(
    flow: str, model: type[BaseModel], config: Any, settings: BaseModel | Mapping[str, Any] | None, advanced: Mapping[str, Any]
) -> BaseModel:
    """The settings of a run: `config` with what `settings` and then `advanced` change.

    Args:
        flow: its name.
        model: its settings.
        config: the settings, or what `config_type` takes for them: Prefect does not convert the default of a parameter.
        settings: of `settings_type`, or none.
        advanced: a part of a config file.

    Raises:
        UsageError: there is no such config; what they change is none of this flow's settings, or may not have that value.
    """
    config = read_config(flow, model, config)
    if not isinstance(config, model):
        config = parse_config(model, config, where="the form")
    given = settings.model_dump(mode="json", exclude_none=True) if isinstance(settings, BaseModel) else dict(settings or {})
    changes = [_nested(name.split(LEVEL), value) for name, value in given.items()] + [dict(advanced)]
    if not any(changes):
        return config
    data: dict[str, Any] = config.model_dump(mode="json", exclude_unset=True)
    for change in changes:
        data = merged(model, data, change)
    return parse_config(model, data, where="the form")


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if len(path) > 1 else value}
