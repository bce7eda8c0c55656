"""How a plug-in is chosen in a form: a drop-down of what its folder holds, or a field for something of the user's own.

    environment_mode: Annotated[str, NameOf("millrace.synthesis.environments")] = "web"
    baseline: Annotated[PluginChoice, SettingsOf("millrace.probing.baselines", "baseline", "embedded")] = …

These change a field's JSON schema, which Prefect's form is drawn from, and nothing about what is valid: the config checks that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from millrace.errors import UsageError
from millrace.plugins.loading import load_plugin, plugin_files, plugin_names, settings_class

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

log = logging.getLogger("millrace.plugins")


@dataclass(frozen=True)
class NameOf:
    """The name of a plug-in.

    Args:
        package: its folder, as a dotted path.
        own: what the user may give instead.
        instead: a word that stands for no single plug-in; empty: there is none.
    """

    package: str
    own: str = "dotted path of your own"
    instead: str = ""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A drop-down, or a text."""
        del core, handler
        names = sorted({*plugin_names(self.package), *plugin_files(self.package, "yaml")})
        names = [self.instead, *names] if self.instead else names
        return {"anyOf": [{"title": "shipped", "type": "string", "enum": names}, {"title": self.own, "type": "string"}]}


@dataclass(frozen=True)
class SettingsOf:
    """The settings of a plug-in with its name among them: one form for each, and a free one for the user's own.

    Args:
        package: its folder, as a dotted path.
        kind: what its settings class is called after: `BaselineSettings` for a baseline.
        default: the plug-in of the field's default value. A form opens on the first alternative whatever the value is, so this
            one comes first.
        none: what no plug-in at all is called, which then comes first and is an empty mapping; empty: there must be one.
    """

    package: str
    kind: str
    default: str
    none: str = ""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One alternative for each plug-in, and one for a mapping with a dotted path as its name."""
        del core
        forms: list[JsonSchemaValue] = []
        for name in sorted(plugin_names(self.package), key=lambda name: (name != self.default, name)):
            what = f"the {self.kind} '{name}'"
            try:
                model = settings_class(load_plugin(self.package, name, self.kind), self.kind, what)
            except (
                UsageError
            ) as problem:  # of another package: the form must open without it; a config that names it is refused with the reason
                log.warning("left out of the form: %s", problem)
                continue
            reference = handler(model.__pydantic_core_schema__)
            form = handler.resolve_ref_schema(reference)
            form["title"] = name
            form["properties"]["name"] |= {"enum": [name], "default": name}
            _fill_in(form, model)
            forms.append(dict(reference))
        own = {"title": "your own", "type": "object", "additionalProperties": True, "required": ["name"]}
        own["properties"] = {"name": {"type": "string", "pattern": r"\.", "title": "Name", "description": "Its dotted path."}}
        without = [{"title": self.none, "type": "object", "properties": {}, "additionalProperties": False}] if self.none else []
        return {"anyOf": [*without, *forms, own]}


def _fill_in(form: JsonSchemaValue, model: type[BaseModel]) -> None:
    """Begin each list that must not be empty with one entry of defaults, so that the form can be submitted as it opens.

    What is missing in it (a model's name) is then said by the flow's own check, in a sentence instead of a schema's.
    """
    for name in list(form.get("required", ())):
        entry = next((part for part in get_args(model.model_fields[name].annotation) if isinstance(part, type)), None)
        if form["properties"][name].get("type") == "array" and entry is not None and issubclass(entry, BaseModel):
            form["properties"][name]["default"] = [entry.model_construct().model_dump(mode="json")]
            form["required"].remove(name)
