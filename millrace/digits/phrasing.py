"""Words for digits and for questions about them, from the YAML files in wordings/: one for each kind of claim."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

from millrace.config import parse_yaml
from millrace.plugins.loading import plugin_files
from millrace.qa.writing.wordings import Selector, Wordings


class Phrasing(Wordings, frozen=True, forbid_unknown_fields=True):
    """One language's words; what is said about subjects stands in `wordings/_subjects.yaml`."""

    colours: dict[str, str]
    subject: dict[str, list[str]]
    bare: dict[str, str]
    kind: dict[str, list[str]]
    feature: dict[str, str]

    def words(self, selectors: Mapping[str, Selector], rng: Random) -> dict[str, str]:
        """What to put for {a}, {b}, {kind}, {feature} and {bare}, from a claim's selectors."""
        said: dict[str, str] = {}
        for slot, selector in selectors.items():
            if slot in ("OBJECT_TYPE", "OBJECT_CATEGORY"):
                said["kind"] = self._filled(rng.choice(self.kind[form_of(selector)]), selector)
            elif slot == "DISTINCTIVE_FEATURE":
                said["feature"] = self._filled(self.feature[_feature_of(selector)], selector)
            elif form_of(selector) != "all":
                key = "b" if slot == "OBJECT_B" else "a"
                said[key] = self._filled(rng.choice(self.subject[form_of(selector)]), selector)
                said.setdefault("bare", self._filled(self.bare[form_of(selector)], selector))
        return said

    def _filled(self, template: str, selector: Selector) -> str:
        return template.format(label=selector.get("label", ""), colour=self.colours.get(str(selector.get("colour", "")), ""))


def form_of(selector: Selector) -> str:
    """How a selector means its digits: `label`, `colour`, `both`, `all`."""
    if "label" in selector and "colour" in selector:
        return "both"
    return "label" if "label" in selector else "colour" if "colour" in selector else "all"


def _feature_of(selector: Selector) -> str:
    return str(selector.get("extreme") or ("upside_down" if "turn" in selector else form_of(selector)))


@lru_cache(maxsize=4)
def load_phrasing(language: str) -> Phrasing | None:
    """The words of `language`, put together from all files in wordings/; None when they do not have it."""
    whole: dict[str, Any] = {}
    for file in plugin_files("millrace.digits.wordings", "yaml").values():
        for field, words in parse_yaml(file.read_text(encoding="utf-8")).get(language, {}).items():
            whole.setdefault(field, {}).update(words)
    return msgspec.convert(whole, Phrasing) if whole else None


def own_pipelines() -> Mapping[str, Mapping[str, Any]]:
    """The question pipelines that kinds of claims bring along, under `pipelines` in their wordings."""
    found: dict[str, Mapping[str, Any]] = {}
    for file in plugin_files("millrace.digits.wordings", "yaml").values():
        found |= parse_yaml(file.read_text(encoding="utf-8")).get("pipelines", {})
    return found
