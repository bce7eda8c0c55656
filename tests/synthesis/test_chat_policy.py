"""A chat model as policy, over the protocol: native calls, plain JSON, errors fed back, proven by program or judged."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.errors import ItemFailed, ShortOfTarget, UsageError
from millrace.llm import Message, Reply, Request, ToolCall, Usage, assistant
from millrace.llm.store.segments import line_of
from millrace.records.llm import LedgerRow
from millrace.records.trajectories import Seed
from millrace.run.journal import read_jsonl, write_atomic
from millrace.synthesis.chat_proof import prove_written
from millrace.synthesis.environments import Environment
from millrace.synthesis.policies.chat import NOT_TAKEN, ChatPolicy, policy_of
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import synthesise_seed
from tests.llm.servers import served
from tests.synthesis.served_model import native_model

SEED = {"source_id": "src_x", "content": "prime numbers", "problem": ""}


class Scripted:
    """A chat model that explores with a counter and writes what a function says."""

    name = "scripted"

    def __init__(self, write: Callable[[Request], Any], *, native: bool = True) -> None:
        self.write, self.native = write, native
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        usage = Usage(input_tokens=100, output_tokens=10)
        assert request.stage != "judge", "no model judges itself"
        if request.stage == "write":
            return Reply(text="", value=self.write(request), usage=usage)
        expressions = [f"{len(self.requests)} * 111", f"{len(self.requests)} * 113"]
        if self.native:
            calls = tuple(
                ToolCall(id=str(n), name="calculator", arguments={"expressions": [text]}) for n, text in enumerate(expressions)
            )
            return Reply(text="multiply", tool_calls=calls, usage=usage)
        actions = [
            {"intent": "multiply", "action": {"tool_name": "calculator", "parameters": {"expressions": [text]}}}
            for text in expressions
        ]
        return Reply(text=f"I would do this: {json.dumps(actions[0])} and {json.dumps(actions[1])}", usage=usage)

    async def close(self) -> None:
        return


class Judge:
    """Answers as a function says, and remembers what it was shown."""

    name = "judge"

    def __init__(self, answer: Callable[[Request], str], quote: str = " = ") -> None:
        self.answer, self.quote = answer, quote
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        said = self.answer(request)
        value = {"answer": said, "quote": f"{self.quote}{said}"}
        return Reply(text="", value=value, usage=Usage(input_tokens=100, output_tokens=10))

    async def close(self) -> None:
        return


def last_seen(request: Request) -> str:
    return request.messages[-1].text.split(" = ")[-1].split()[0]


def last_value(request: Request) -> dict[str, str]:
    return {
        "question": "What does the last calculation give, in digits?",
        "answer": request.messages[-1].text.split(" = ")[-1].split()[0],
    }


def synthesised(model: Any, environment: Environment, judge: Any = None, **settings: Any) -> dict[str, Any]:
    config = SynthesisConfig(
        environment_mode="math", policy="chat", max_depth=3, depth_threshold=1, max_selected_traj=2, **settings
    )
    seed = msgspec.convert(SEED, Seed)
    record = asyncio.run(synthesise_seed(config, environment, ChatPolicy(model, config, judge), seed))
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain


@pytest.mark.parametrize("native", [True, False], ids=["native calls", "plain JSON"])
def test_what_no_program_can_prove_is_judged_by_another_model_that_is_not_shown_the_answer(
    native: bool, opened: Callable[..., Environment]
) -> None:
    model = Scripted(last_value, native=native)
    judge = Judge(last_seen)
    record = synthesised(model, opened("math"), judge)
    assert all("Proposed" not in request.messages[-1].text and "agrees" not in str(request.schema) for request in judge.requests)
    assert [item["verification"]["status"] for item in record["items"]] == ["judged", "judged"]
    assert len(record["tree"]["nodes"]) == 1 + 2 * 3
    calls = len(model.requests) + len(judge.requests)
    assert sum(item["cost"]["llm_calls"] for item in record["items"]) == calls
    assert sum(item["cost"]["tokens_in"] for item in record["items"]) == 100 * calls


def test_without_a_judge_they_are_unverified(opened: Callable[..., Environment]) -> None:
    record = synthesised(Scripted(last_value), opened("math"))
    assert {item["verification"]["status"] for item in record["items"]} == {"unverified"}


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (Judge(lambda request: "another"), "entailed"),
        (Judge(lambda request: ""), "entailed"),
        (Judge(lambda request: "111", quote=""), "judge"),
        (Judge(last_seen, quote="nowhere "), "entailed"),
    ],
    ids=["another answer", "no answer", "another answer with its evidence", "no evidence"],
)
def test_what_the_judge_answers_otherwise_or_without_evidence_is_rejected(
    judge: Judge, reason: str, opened: Callable[..., Environment]
) -> None:
    record = synthesised(Scripted(last_value), opened("math"), judge)
    assert record["items"] == []
    assert {rejected["reason"] for rejected in record["rejected"]} == {reason}


def asking(wrong: int = 0, words: str = "What does {} give?") -> Callable[[Request], dict[str, str]]:
    def write(request: Request) -> dict[str, str]:
        expression, _, value = request.messages[-1].text.rpartition(" = ")
        return {"question": words.format(expression.splitlines()[-1]), "answer": str(int(value.split()[0]) + wrong)}

    return write


@pytest.mark.parametrize(
    "words", ["What does {} give?", "Compute {}.", "What is the exact value of {}?", "计算 {} 的值。", "{} 等于多少？"]
)
def test_what_a_program_can_prove_becomes_verified_without_a_judge(words: str, opened: Callable[..., Environment]) -> None:
    record = synthesised(Scripted(asking(words=words)), opened("math"))
    assert [item["verification"]["status"] for item in record["items"]] == ["verified", "verified"]
    assert record["items"][0]["verifier"]["name"] == "math/exact-tool@1"


def test_a_wrong_answer_to_what_a_program_can_prove_is_rejected(opened: Callable[..., Environment]) -> None:
    record = synthesised(Scripted(lambda request: {"question": "What does 12 * 12 give?", "answer": "111"}), opened("math"))
    assert record["items"] == []
    assert {rejected["reason"] for rejected in record["rejected"]} <= {"exact_tool", "grounded"}


@pytest.mark.parametrize(
    "question",
    [
        "How many digits does 12 * 34 have?", "What is the last digit of 12 * 34?", "What is 12 * 34 rounded to tens?",
        "What is twice 12 * 34?", "Is 12 * 34 even?", "What is 12 * 34 or 5 + 6?", "What is not 12 * 34?", "What is 12 * 34 cm?",
        "12 * 34 的各位数字之和是多少？", "What is the number of digits of 12 * 34?",
        "What is `12 * 34` in binary?", "What is √(12 * 34)?",
    ],
)  # fmt: skip
def test_a_question_that_is_not_understood_completely_is_not_proven(question: str, opened: Callable[..., Environment]) -> None:
    assert prove_written(opened("math"), question, "408") is None


def test_python_in_backticks_is_proven_by_the_interpreter(opened: Callable[..., Environment]) -> None:
    environment = opened("python")
    right = prove_written(environment, "What does the Python expression `sorted('banana')[-1] * 3` return?", "nnn")
    assert right is not None
    assert right.passed
    wrong = prove_written(environment, "What does the Python expression `'aBc'.swapcase()` return?", "abC")
    assert wrong is not None
    assert not wrong.passed


class Misbehaved(Scripted):
    """Explores in a way of its own."""

    def __init__(self, reply: Callable[[int], Reply]) -> None:
        super().__init__(last_value)
        self.reply = reply

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        if request.stage == "explore":
            return self.reply(len(self.requests))
        return await super().complete(request)


def calling(name: str, arguments: dict[str, Any], invalid: str | None = None) -> Reply:
    return Reply(text="", tool_calls=(ToolCall(id="1", name=name, arguments=arguments, invalid=invalid),))


@pytest.mark.parametrize(
    "reply",
    [
        lambda n: Reply(text="I cannot help with that."),
        lambda n: Reply(text=""),
        lambda n: Reply(text="{" * 1000),
        lambda n: Reply(text='{"action": {"tool_name": 5, "parameters": []}}'),
        lambda n: Reply(text='[{"intent": "x"}]'),
        lambda n: calling("calculator", {"expressions": ["1 + 1"]}),
        lambda n: calling("no_such_tool", {"n": n}),
        lambda n: calling("calculator", {"expression": f"{n}"}),
        lambda n: calling("calculator", {}, invalid="{expressions:"),
        lambda n: calling("calculator", {"expressions": [f"1 / (0 * {n})"]}),
        lambda n: calling("calculator", {"expressions": [f"9 ** 9 ** 9 ** {n}"]}),
        lambda n: calling("calculator", {"expressions": [[n]]}),
        lambda n: calling("calculator", {"expressions": ["x" * 5000 + str(n)]}),
        lambda n: calling("cas", {"operation": "prime_count", "arguments": {"n": -n}}),
        lambda n: calling("CALCULATOR ", {"expressions": [f"{n} + 1"]}),
    ],
)
def test_however_a_model_misbehaves_its_seed_leaves_a_record(
    reply: Callable[[int], Reply], opened: Callable[..., Environment]
) -> None:
    record = synthesised(Misbehaved(reply), opened("math"))
    assert record["items"] or record["rejected"] or record["failure"]
    assert all(item["verification"]["status"] != "verified" for item in record["items"])
    for rejected in record["rejected"]:
        assert rejected["source_id"] == "src_x"
        assert rejected["reason"]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"question": "", "answer": "5"}, "schema"),
        ({"question": "What is it?", "answer": ""}, "schema"),
        ({"question": "Is 111 the value 111?", "answer": "111"}, "no_leak"),
        ({"question": "Which is it?", "answer": "a thing never seen"}, "grounded"),
        ({"question": "Which is it?", "answer": "e"}, "grounded"),
    ],
)
def test_an_empty_leaking_or_ungrounded_question_is_tried_again_and_then_rejected(
    written: dict[str, str], reason: str, opened: Callable[..., Environment]
) -> None:
    model = Scripted(lambda request: written)
    record = synthesised(model, opened("math"))
    assert record["items"] == []
    assert {rejected["reason"] for rejected in record["rejected"]} == {reason}
    writes = [request for request in model.requests if request.stage == "write"]
    assert len(writes) == 2 * 3
    assert "Your last attempt was refused" in writes[1].messages[-1].text


def test_a_tools_error_reaches_the_model_at_the_next_attempt(opened: Callable[..., Environment]) -> None:
    class Clumsy(Scripted):
        async def complete(self, request: Request) -> Reply:
            self.requests.append(request)
            if len(self.requests) == 1:
                return Reply(text="", tool_calls=(ToolCall(id="1", name="calculator", arguments={}, invalid="{expressions:"),))
            raise ItemFailed("call_failed", "no more")

    model = Clumsy(last_value)
    record = synthesised(model, opened("math"))
    assert record["failure"]["reason"] == "call_failed"
    assert "not_json" in model.requests[1].messages[1].text
    assert "expressions" in model.requests[1].messages[1].text


def test_a_spent_budget_leaves_what_there_is_and_a_larger_one_goes_on_without_paying_twice(tmp_path: Path) -> None:
    with served(native_model()) as (server, url):

        def config(most: float | None) -> SynthesisConfig:
            model = {
                "model": "explorer",
                "endpoints": [{"base_url": url}],
                "price": {"input_usd": 1, "output_usd": 2},
                "max_cost_usd": most,
            }
            return SynthesisConfig(
                environment_mode="math", policy="chat", number_of_seed=8, seeds_per_shard=4, max_depth=3, depth_threshold=1,
                max_selected_traj=2, near_duplicate=1, chat={"model": model, "seeds_in_flight": 2},
            )  # fmt: skip

        with pytest.raises(ShortOfTarget):
            run_serially(config(0.012), tmp_path)
        some = len(list(read_jsonl(tmp_path / "qa.jsonl")))
        assert 0 < some < 16
        assert not (tmp_path / "shards" / "shard-00001.jsonl").exists()
        assert run_serially(config(None), tmp_path).items.verified == 16
        assert server.statistics()["answered_twice"] == 0


def test_a_chat_policy_without_an_endpoint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_URL"):
        policy_of(SynthesisConfig(policy="chat"))


def test_a_chat_policy_is_opened_from_the_config(tmp_path: Path) -> None:
    model = {"model": "some-model", "endpoints": [{"base_url": "http://127.0.0.1:9/v1"}]}
    policy = policy_of(SynthesisConfig(policy="chat", chat={"model": model}), tmp_path, "shard-00000")
    assert policy.name == "chat/some-model@1"


def test_the_card_says_what_this_run_did_and_judged_items_are_exported_beside_the_proven(
    opened: Callable[..., Environment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace.synthesis import work_shard

    def policy_of(config: SynthesisConfig, *where: object) -> ChatPolicy:
        return ChatPolicy(Scripted(last_value), config, Judge(last_seen))

    monkeypatch.setattr(work_shard, "policy_of", policy_of)
    models = {name: {"model": name, "endpoints": [{"base_url": "http://127.0.0.1:9"}]} for name in ("the-writer", "the-judge")}
    config = SynthesisConfig(
        environment_mode="math",
        policy="chat",
        number_of_seed=2,
        max_depth=3,
        depth_threshold=1,
        chat={"model": models["the-writer"], "judge_model": models["the-judge"]},
    )
    run_serially(config, tmp_path)
    judged = list(read_jsonl(tmp_path / "judged.jsonl"))
    assert judged
    card = (tmp_path / "dataset" / "README.md").read_text()
    assert "the-writer" in card
    assert "the-judge" in card
    assert "gpt-4.1" not in card
    assert "templates" not in card
    assert "Verified means" not in card
    for name in ("chat", "react", "rl"):
        assert len(list(read_jsonl(tmp_path / "dataset" / "judged" / f"{name}.jsonl"))) == len(judged)
    assert (tmp_path / "dataset" / "judged.parquet").exists()


def test_a_judge_that_is_the_writer_is_refused() -> None:
    model = {"model": "one", "endpoints": [{"base_url": "http://127.0.0.1:9"}]}
    config = SynthesisConfig(environment_mode="math", policy="chat", chat={"model": model, "judge_model": model})
    with pytest.raises(UsageError, match="must be another model"):
        policy_of(config)


REQUIRED = {
    "thoughts": {"reasoning_content": "multiply them"},
    "signature": {"extra_content": {"google": {"thought_signature": "s="}}},
}


class Demanding(Scripted):
    """Attaches something to each of its turns and refuses any conversation in which a turn does not come back as it was."""

    def __init__(self, kind: str) -> None:
        super().__init__(asking())
        self.kind = kind
        self.given: list[Message] = []

    async def complete(self, request: Request) -> Reply:
        turns = [message for message in request.messages if message.role == "assistant"]
        assert all(turn in self.given for turn in turns), "a turn that this model never said"
        for turn in turns:
            answered = [message.tool_call_id for message in request.messages if message.role == "tool"]
            assert {call.id for call in turn.tool_calls} <= set(answered), "a call without a result"
        reply = await super().complete(request)
        if not reply.tool_calls:
            return reply
        number = len(self.requests)
        calls = [msgspec.structs.replace(call, id=f"call_{number}_{call.id}") for call in reply.tool_calls]
        if self.kind == "signature":
            calls[0] = msgspec.structs.replace(calls[0], attached=REQUIRED["signature"])
        if self.kind == "id":
            calls[0] = msgspec.structs.replace(calls[0], id=f"{calls[0].id}__thought__{'s' * 80}")
        attached = REQUIRED["thoughts"] if self.kind == "thoughts" else {}
        reply = msgspec.structs.replace(reply, tool_calls=tuple(calls), attached=attached)
        self.given.append(assistant(reply.text, tool_calls=reply.tool_calls, attached=attached))
        return reply


@pytest.mark.parametrize("kind", ["thoughts", "signature", "id"])
def test_a_turn_to_which_the_server_attached_something_goes_back_as_it_came(
    kind: str, opened: Callable[..., Environment]
) -> None:
    model = Demanding(kind)
    record = synthesised(model, opened("math"))
    assert record["failure"] is None
    assert [item["verification"]["status"] for item in record["items"]] == ["verified", "verified"]
    deepest = max(model.requests, key=lambda request: len(request.messages))
    assert sum(message.role == "assistant" for message in deepest.messages) == 2
    others = [message.text for message in deepest.messages if message.role == "tool"]
    assert others.count(NOT_TAKEN) == 2, "a branch does not see what another branch of the same turn found"


def test_a_turn_without_attachments_is_asked_about_as_it_always_was(opened: Callable[..., Environment]) -> None:
    model = Scripted(asking())
    synthesised(model, opened("math"))
    calls = [call for request in model.requests for message in request.messages for call in message.tool_calls]
    assert {call.id for call in calls} == {"call_1", "call_2"}
    assert NOT_TAKEN not in {message.text for request in model.requests for message in request.messages}


def test_a_dry_run_tells_the_cost_of_the_writer_and_the_judge_and_takes_it_from_the_answers_of_a_run_that_has_begun(
    tmp_path: Path,
) -> None:
    definition = importlib.import_module("flows.synthesis").synthesis.definition
    place = [{"base_url": "https://api.openai.com/v1"}]
    chat = {"model": {"model": "gpt-4o", "endpoints": place}, "judge_model": {"model": "gpt-4o-mini", "endpoints": place}}
    config = SynthesisConfig(environment_mode="math", policy="chat", chat=chat)
    before = definition.plan(config, tmp_path)
    assert any(line.startswith("explore: at most") and "calls of gpt-4o" in line and "about $" in line for line in before)
    assert any(line.startswith("judge: at most") and "calls of gpt-4o-mini" in line for line in before)
    for folder, stage, model in (("chat", "explore", "gpt-4o"), ("judge", "judge", "gpt-4o-mini")):
        row = LedgerRow(day="d", stage=stage, model=model, calls=100, input_tokens=700_000, output_tokens=100, cost_usd=1.0)
        write_atomic(tmp_path / folder / "ledger" / "ledger-1-a.log", line_of(msgspec.json.encode(row)))
    after = definition.plan(config, tmp_path)
    assert "measured on this run's answers (100 of explore, 100 of judge)" in after[-2]
    assert "not asked again: $2.0000 for 200 model calls" in after[-1], "the judge's part too"
