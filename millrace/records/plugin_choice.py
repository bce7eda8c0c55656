"""How a record names a plug-in and its settings."""

from __future__ import annotations

from typing import Any

PluginChoice = dict[str, Any]
"""A plug-in's `name`, or its dotted path, and its settings: `{"name": "huggingface", "model": "/models/one"}`.

The one shape that no record can give fields to: which there are is known to the plug-in alone, whose settings class checks them
when it is loaded. Source: a config, or the plug-in that trained a model.
"""
