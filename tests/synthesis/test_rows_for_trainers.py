"""The rows for training in the forms that trainers read: the documented form always, the real loader where it is installed.

`datasets` is part of the tests' environment; `trl`, `verifiers` and `llamafactory` are not: without them their tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from millrace.run.journal import read_jsonl
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.scoring.reward import close_worlds, reward_of
from millrace.synthesis.scoring.trainer_rewards import compute_score, grpo_reward
from millrace.synthesis.settings import SynthesisConfig

FORMATS = ["trl", "trl_preference", "sharegpt", "verl", "grpo", "nemo_gym", "rl"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "seeds.txt").write_text("circle area vs square\n斐波那契数列\nprime numbers\ngenerators\ndivisors\n")
    config = SynthesisConfig(environment_mode="math", seeds=folder / "seeds.txt", max_depth=3, min_depth=2, exports=FORMATS)
    run_serially(config, folder / "run")
    yield folder / "run" / "dataset"
    close_worlds()


def rows_of(made: Path, name: str) -> list[dict[str, Any]]:
    return [dict(row) for row in read_jsonl(made / f"{name}.jsonl")]


@pytest.mark.parametrize("name", FORMATS)
def test_load_dataset_gives_back_every_row_as_it_was_written(made: Path, name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("json", data_files=str(made / f"{name}.jsonl"), split="train", cache_dir=str(tmp_path))
    written = rows_of(made, name)
    assert loaded.num_rows == len(written) > 1
    if name != "rl":  # whose arguments are an object, which differs from row to row
        assert [without_nulls(row) for row in loaded] == [without_nulls(row) for row in written]


def without_nulls(value: Any) -> Any:
    """What a table adds where a message of its column has a key that another lacks."""
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def test_conversations_alternate_as_documented_and_each_call_fits_its_tools_schema(made: Path) -> None:
    for row in rows_of(made, "trl"):
        tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in json.loads(row["tools"])}
        roles = [message["role"] for message in row["messages"]]
        assert roles[:2] == ["system", "user"]
        assert roles[-1] == "assistant"
        assert roles[2:-1] == ["assistant", "tool"] * ((len(roles) - 3) // 2)
        for message in row["messages"]:
            for call in message.get("tool_calls", ()):
                jsonschema.validate(json.loads(call["function"]["arguments"]), tools[call["function"]["name"]])
                assert message["content"], "a call without a reason"
    for row in rows_of(made, "sharegpt"):
        spoken = [turn["from"] for turn in row["conversations"]]
        assert set(spoken[0::2]) <= {"human", "observation"}
        assert set(spoken[1::2]) <= {"gpt", "function_call"}
        assert len(spoken) % 2 == 0
        names = {tool["name"] for tool in json.loads(row["tools"])}
        assert all(json.loads(turn["value"])["name"] in names for turn in row["conversations"] if turn["from"] == "function_call")


def test_reasoning_says_the_part_of_the_question_that_a_call_answers_in_its_language(made: Path) -> None:
    for row in rows_of(made, "trl"):
        question = row["messages"][1]["content"]
        whys = [message["content"] for message in row["messages"] if "tool_calls" in message]
        assert all(
            why.split("is ", 1)[-1].split(". ", 1)[-1] in question or why.split("。", 1)[-1] in question for why in whys
        ), whys
        chinese = any("\u4e00" <= letter <= "\u9fff" for letter in question)
        assert all(any("\u4e00" <= letter <= "\u9fff" for letter in why) == chinese for why in whys)


def test_both_sides_of_a_preference_pair_are_calls_and_differ_in_the_call_alone(made: Path) -> None:
    for row in rows_of(made, "trl_preference"):
        (chosen,), (rejected,) = row["chosen"], row["rejected"]
        assert row["prompt"][0]["role"] == "system"
        assert chosen["content"] == rejected["content"]
        assert chosen["tool_calls"] != rejected["tool_calls"]


def test_every_reinforcement_row_pays_the_oracle_and_nothing_else(made: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("json", data_files=str(made / "grpo.jsonl"), split="train", cache_dir=str(tmp_path))
    right = [[{"role": "assistant", "content": f"So \\boxed{{{answer}}}"}] for answer in loaded["answer"]]
    wrong = [f"Final answer: {int(answer) + 1}" if answer.lstrip("-").isdigit() else "" for answer in loaded["answer"]]
    arguments = list(loaded["verifier_args"])
    assert grpo_reward(right, arguments, answer=loaded["answer"]) == [1.0] * len(right)
    assert grpo_reward(wrong, arguments) == [0.0] * len(wrong)
    for row in rows_of(made, "verl"):
        assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
        truth = row["reward_model"]["ground_truth"]
        assert compute_score(row["data_source"], f"Final answer: {truth}", truth, row["extra_info"]) == 1
        assert compute_score(row["data_source"], "", truth, row["extra_info"]) == 0
    with pytest.raises(ValueError, match="export `verl`"):
        compute_score("millrace/math", "1", "1", {})
    for row in rows_of(made, "nemo_gym"):
        assert [message["role"] for message in row["responses_create_params"]["input"]] == ["user"]
        assert reward_of(row["verifier_args"], row["expected_answer"]) == 1


def test_trl_renders_the_conversations_with_their_tools(made: Path, tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    datasets = pytest.importorskip("datasets")
    tokenizer = plain_tokenizer()
    loaded = datasets.load_dataset("json", data_files=str(made / "trl.jsonl"), split="train", cache_dir=str(tmp_path))
    assert all(data_utils.is_conversational(row) for row in loaded)
    row = loaded[0]
    text = data_utils.apply_chat_template({"messages": row["messages"]}, tokenizer, tools=json.loads(row["tools"]))["text"]
    assert row["messages"][1]["content"] in text
    assert row["messages"][2]["tool_calls"][0]["function"]["arguments"] in text
    pairs = datasets.load_dataset("json", data_files=str(made / "trl_preference.jsonl"), split="train", cache_dir=str(tmp_path))
    said = data_utils.apply_chat_template(
        {key: pairs[0][key] for key in ("prompt", "chosen", "rejected")}, tokenizer, tools=json.loads(pairs[0]["tools"])
    )
    assert said["chosen"] != said["rejected"]
    prompts = datasets.load_dataset("json", data_files=str(made / "grpo.jsonl"), split="train", cache_dir=str(tmp_path))
    assert data_utils.is_conversational(prompts[0])


def plain_tokenizer() -> Any:
    """A tokenizer with a chat template that shows tools and calls; it needs no download."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
    tokenizer.chat_template = (
        "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% if m.tool_calls %}{% for c in m.tool_calls %}<call>{{ c.function.name }}{{ c.function.arguments }}</call>"
        "{% endfor %}{% endif %}</{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    return tokenizer


def test_verifiers_loads_the_rows_as_a_taskset_by_name_and_pays_the_right_reply(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("verifiers.v1")
    from verifiers.v1.utils.loaders import taskset_class

    lines = "from millrace.synthesis.scoring.verifiers_taskset import *\n__all__ = ['MillraceTaskset']\n"
    (tmp_path / "my_rows_taskset.py").write_text(lines)
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = taskset_class("my-rows-taskset")
    from millrace.synthesis.scoring.verifiers_taskset import MillraceTasksetConfig

    tasks = list(kind(MillraceTasksetConfig(id="my-rows-taskset", rows=made / "rl.jsonl")))
    written = rows_of(made, "rl")
    assert [task.data.prompt for task in tasks] == [row["prompt"] for row in written]

    class Replied:
        def __init__(self, last_reply: str) -> None:
            self.last_reply = last_reply

    for task in tasks:
        assert asyncio.run(task.right_answer(Replied(f"Final answer: {task.data.answer}"))) == 1
        assert asyncio.run(task.right_answer(Replied(""))) == 0


def test_verifiers_reads_the_nemo_gym_rows(made: Path) -> None:
    pytest.importorskip("verifiers.v1")
    from verifiers.v1.tasksets.nemo_gym import NeMoGymConfig, NeMoGymTaskset

    tasks = list(NeMoGymTaskset(NeMoGymConfig(dataset=made / "nemo_gym.jsonl")))
    assert [task.data.row for task in tasks] == rows_of(made, "nemo_gym")


def test_llama_factory_converts_every_conversation(made: Path) -> None:
    converter = pytest.importorskip("llamafactory.data.converter")
    from llamafactory.data.parser import DatasetAttr

    attr = DatasetAttr("file", dataset_name="rows", formatting="sharegpt")
    attr.join({"columns": {"messages": "conversations", "system": "system", "tools": "tools"}})
    convert = converter.SharegptDatasetConverter(dataset_attr=attr, data_args=None)
    for row in rows_of(made, "sharegpt"):
        aligned = convert(row)
        assert [turn["role"] for turn in aligned["_prompt"]][:2] == ["user", "function"]
        assert aligned["_response"] == [{"role": "assistant", "content": row["conversations"][-1]["value"]}]
        assert aligned["_tools"] == row["tools"]
