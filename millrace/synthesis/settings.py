"""The settings of a synthesis run; the original's config files load unchanged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from millrace.config import OPERATIONAL, Settings, configs_folder
from millrace.errors import UsageError
from millrace.llm.settings import ModelSettings
from millrace.plugins.form_fields import NameOf
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.processes.machine_load import most_workers, usable_cores
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.synthesis.sampling import Limits

ENVIRONMENTS = "millrace.synthesis.environments"
POLICIES = "millrace.synthesis.policies"
EXPORTS = "millrace.synthesis.exports"
ALIASES = {"py": "python"}
MENDED_TOOLS = {"rag_tools": "local_search"}
"""Names in the original's presets that no environment ever had → what they mean."""

log = logging.getLogger("millrace.synthesis")


class Example(Settings):
    """A few-shot example for the chat policy."""

    question: str
    """What is asked."""
    answer: str
    """The short answer."""
    reasoning: str = ""
    """How it is found, in a sentence or two."""


class ChatSettings(Settings):
    """How a chat model takes part; used when `policy` is `chat`."""

    model: ModelSettings | None = None
    """The model and its endpoints; empty: `model_name` at the URL in OPENAI_API_URL, with the key in OPENAI_API_KEY."""
    tool_calls: Literal["native", "json"] = "native"
    """How the model calls tools: by the server's own tool calls, or as JSON in its text, for servers without them."""
    judge: bool = True
    """Have `judge_model` answer each question that no program can prove; without it those items are `unverified`."""
    judge_model: ModelSettings | None = None
    """Another model than the writer; it is not shown the answer. Empty: there is no judge."""
    seeds_in_flight: PositiveInt = 8
    """Seeds of one shard worked on at the same time."""


class SynthesisConfig(Settings):
    """How seeds become question-answer pairs."""

    environment_mode: Annotated[str, NameOf("millrace.synthesis.environments")] = "web"
    """math, python (py), rag, web, or the dotted path of a module of your own with `open_environment`."""
    environment_kwargs: dict[str, Any] = {}
    """The environment's own settings."""
    available_tools: list[str] = []
    """The tools that may be used; empty: all of the environment's."""
    qa_examples: list[Example] = []
    """Few-shot examples for the chat policy."""
    sampling_tips: str = ""
    """What to look for while exploring, for the chat policy."""
    synthesis_tips: str = ""
    """What makes a good question, for the chat policy."""
    seed_description: str = ""
    """What a seed is, in a few words; goes into the records."""
    model_name: str = "gpt-4.1-2025-04-14"
    """The chat model; only called when `policy` is `chat`."""
    max_depth: PositiveInt = Field(default=5, le=50)
    """The most actions on a path."""
    branching_factor: PositiveInt = Field(default=2, le=20)
    """Children of a node above `depth_threshold`."""
    depth_threshold: NonNegativeInt = 3
    """Nodes at this depth and below get one child."""
    max_trajectories: int | None = None
    """Has no effect; accepted because the original's files hold it."""
    min_depth: PositiveInt = 2
    """Shorter paths are not selected."""
    max_selected_traj: PositiveInt = 3
    """The most questions from one seed."""
    max_retries: PositiveInt = 3
    """Attempts for each action."""
    max_workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(default=1, json_schema_extra=OPERATIONAL)
    """Worker processes, each at one seed at a time; 1 is serial; `auto`: one per core, of which as many work at once as the
    machine has room for, measured again every two seconds. The result is the same for any number."""
    number_of_seed: PositiveInt | None = None
    """Take only the first so many seeds; empty: all."""

    seeds: Path | None = None
    """A file of seeds: JSON list, JSONL or plain lines. Empty: the example seeds of the environment."""
    policy: Annotated[str, NameOf("millrace.synthesis.policies")] = "programmatic"
    """Who chooses the actions: a program (programmatic: no model, answers proven), a chat model (chat), or the dotted path of a
    module of your own with `policy_of`."""
    chat: ChatSettings = ChatSettings()
    """How a chat model takes part."""
    language: Literal["auto", "en", "zh"] = "auto"
    """The questions' language; auto: that of the seed."""
    seed: int = 0
    """Decides every random choice of the run."""
    selection: Literal["measured", "length"] = "measured"
    """How paths are ranked: by measured properties, or by the original's length score."""
    max_overlap: float = Field(default=0.7, ge=0, le=1)
    """The largest share of nodes that two selected paths of a seed have in common."""
    max_answer_share: float = Field(default=0.02, gt=0, le=1)
    """No answer is given to more than this share of the questions (one is always allowed)."""
    near_duplicate: float = Field(default=0.95, gt=0, le=1)
    """Questions at least this similar (Jaccard of word triples) count as the same; 1: only equal ones."""
    earlier_datasets: list[Path] = []
    """`qa.jsonl` files of earlier runs: their questions are not made again."""
    decontaminate: list[Path] = []
    """Text or JSONL files, benchmarks for instance: a question that shares 13 words in a row with one is dropped."""
    target_items: PositiveInt | None = None
    """End with exit code 3 when fewer verified items come out; empty: no target."""
    max_failure_rate: float = Field(default=0.2, ge=0, le=1, json_schema_extra=OPERATIONAL)
    """The run fails when a larger share of the seeds failed."""
    max_seed_chars: PositiveInt = 20_000
    """A longer seed is recorded as failed."""
    tool_timeout_s: PositiveFloat = 30.0
    """A tool that takes longer is given up; the observation says so."""
    seeds_per_shard: NonNegativeInt = Field(default=0, json_schema_extra=OPERATIONAL)
    """Seeds of one Prefect task; 0: by the number of seeds and workers."""
    exports: list[Annotated[str, NameOf("millrace.synthesis.exports")]] = ["chat", "preference", "react", "rl"]
    """Formats written into the dataset folder."""
    synthesis_date: str | None = None
    """Written into every record; empty leaves it null, so that the same config gives the same bytes."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on; `max_workers` sets its number of workers."""

    @property
    def workers(self) -> int:
        """Worker processes that a run starts."""
        return most_workers() if self.max_workers == "auto" else self.max_workers

    @property
    def workers_cluster(self) -> ClusterSettings:
        """`cluster` with `max_workers` workers: what a run asks for."""
        return self.cluster.model_copy(update={"workers": self.workers})

    @model_validator(mode="before")
    @classmethod
    def _of_a_run(cls, value: Any) -> Any:
        """A run's own `config.json` is a config too: its settings stand under the flow's name."""
        if isinstance(value, dict) and isinstance(value.get("synthesis"), dict):
            return {**value["synthesis"], **{key: other for key, other in value.items() if key != "synthesis"}}
        return value

    @field_validator("environment_mode")
    @classmethod
    def _known_environment(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must name an environment")
        if "." in value:
            return value.strip()
        known = plugin_names(ENVIRONMENTS)
        if value.strip() in known:
            return value.strip()
        name = ALIASES.get(value.strip().lower(), value.strip().lower())
        if name not in known:
            _say_unknown(ENVIRONMENTS, value.strip(), "environment")
        return name

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        if "." not in value and value not in plugin_names(POLICIES):
            _say_unknown(POLICIES, value, "policy")
        return value

    @field_validator("exports")
    @classmethod
    def _known_exports(cls, value: list[str]) -> list[str]:
        for name in value:
            if "." not in name and name not in plugin_names(EXPORTS):
                _say_unknown(EXPORTS, name, "export")
        return value

    @field_validator("available_tools")
    @classmethod
    def _mend_tools(cls, value: list[str]) -> list[str]:
        return [MENDED_TOOLS.get(name, name) for name in value]

    @model_validator(mode="after")
    def _consistent(self) -> SynthesisConfig:
        if self.min_depth > self.max_depth:
            raise ValueError(f"min_depth {self.min_depth} is larger than max_depth {self.max_depth}: no path could be selected")
        return self

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values; the original's name for `model_dump`."""
        return self.model_dump(mode="json")

    def to_json(self, path: str | Path | None = None) -> str:
        """All settings as JSON text, written to `path` where one is given."""
        text = self.model_dump_json(indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SynthesisConfig:
        """A config from what `to_dict` gave, or from a file of the original's."""
        return cls.model_validate(values)

    @classmethod
    def from_json(cls, path: str | Path) -> SynthesisConfig:
        """A config from a JSON file."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))

    @property
    def limits(self) -> Limits:
        """The tree's shape."""
        return Limits(
            max_depth=self.max_depth,
            branching_factor=self.branching_factor,
            depth_threshold=self.depth_threshold,
            min_depth=self.min_depth,
            max_retries=self.max_retries,
            tool_timeout_s=self.tool_timeout_s,
        )

    @property
    def seeds_path(self) -> Path:
        """The seeds' file: the one named, or the shipped examples of the environment.

        Raises:
            UsageError: none is named, and none is shipped.
        """
        if self.seeds is not None:
            return self.seeds
        shipped = configs_folder() / "synthesis" / "seeds" / f"{self.environment_mode.rpartition('.')[2]}.txt"
        if not shipped.is_file():
            missing = f"no seeds are shipped for the environment '{self.environment_mode}'"
            raise UsageError(f"{missing}: set seeds: FILE (lines of text, a JSON list or JSONL)")
        return shipped


def _say_unknown(package: str, name: str, kind: str) -> None:
    try:
        load_plugin(package, name, kind)
    except UsageError as error:
        raise ValueError(str(error)) from error


def warnings_about(config: SynthesisConfig, raw_tools: list[str] | None = None) -> list[str]:
    """What the user should know about a config that works, though not as its author may think."""
    found = []
    if config.max_trajectories is not None:
        found.append(
            "max_trajectories has no effect (it had none in the original either); max_selected_traj limits the questions per seed"
        )
    cores = usable_cores()
    if config.workers > 2 * cores and config.policy == "programmatic" and not config.cluster.address:
        found.append(f"max_workers is {config.workers} on {cores} cores: they will take turns; `auto` takes what is free")
    for name in raw_tools or []:
        if name in MENDED_TOOLS:
            found.append(f"available_tools: '{name}' is no tool; taken as '{MENDED_TOOLS[name]}'")
    if config.policy == "chat" and config.chat.judge and config.chat.judge_model is None:
        found.append("chat.judge_model is not set: what no program can prove stays unverified, nothing is judged")
    if config.policy == "chat":
        from millrace.synthesis.chat.judging import doubts_about

        found += [doubts_about(config)] if doubts_about(config) else []
    if config.policy == "programmatic" and (config.sampling_tips or config.synthesis_tips or config.qa_examples):
        found.append(
            "sampling_tips, synthesis_tips and qa_examples are for a chat model; policy 'programmatic' does not read them"
        )
    return found
