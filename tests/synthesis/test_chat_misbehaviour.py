"""However a chat model, its judge or their servers behave: a record per seed with its class, nothing unproven is `verified`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.errors import ItemFailed, UsageError
from millrace.llm import Reply, Request, ToolCall, Usage
from millrace.llm.failures import CallFailed, CutOff, Filtered, ReplyInvalid
from millrace.llm.run_chats import chat_folder
from millrace.run.journal import read_json, read_jsonl
from millrace.synthesis import work_shard
from millrace.synthesis.chat.judging import ITSELF
from millrace.synthesis.policies.chat import ChatPolicy, judge_settings
from millrace.synthesis.runs.stage import Synthesis
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig, warnings_about

SPENT = Usage(input_tokens=10, output_tokens=1)


def words(text: str = "", **more: Any) -> Callable[[int], Reply]:
    return lambda number: Reply(text=text, usage=SPENT, **more)


def call(name: str, arguments: Callable[[int], dict[str, Any]], invalid: str | None = None) -> Callable[[int], Reply]:
    def reply(number: int) -> Reply:
        asked = ToolCall(id="1", name=name, arguments=arguments(number), invalid=invalid)
        return Reply(text="", tool_calls=(asked,), finish="tool_calls", usage=SPENT)

    return reply


def failing(error: ItemFailed) -> Callable[[int], Reply]:
    def reply(number: int) -> Reply:
        raise error

    return reply


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"arguments": inner}
    return inner


def counting_primes(upto: Callable[[int], Any]) -> Callable[[int], Reply]:
    return call("cas", lambda number: {"operation": "prime_count", "arguments": {"n": upto(number)}})


good = call("calculator", lambda n: {"expressions": [f"{n + 1000} * 111"]})
EXPLORING: dict[str, tuple[Callable[[int], Reply], str]] = {
    "refusing": (words("I cannot help with that.", finish="refusal"), "refused"),
    "filtered by its server": (words("", finish="refusal", filtered=True), "filtered"),
    "empty": (words(""), "empty_reply"),
    "blank": (words(" \n "), "empty_reply"),
    "talking": (words("I would multiply them."), "no_call"),
    "broken off": (words('{"action": {"tool_name": "calc', finish="length"), "cut_off"),
    "writing half of JSON": (words('{"action": ' * 3_000), "no_call"),
    "writing a number without end": (words('{"action": {"tool_name": "cas", "parameters": {"n": ' + "9" * 5_000), "no_call"),
    "writing another form": (words('{"action": {"tool_name": 5, "parameters": []}}'), "no_call"),
    "looping": (call("calculator", lambda n: {"expressions": ["1 + 1"]}), "only_repeats"),
    "calling what there is not": (call("search_the_web", lambda n: {"query": str(n)}), "unknown_tool"),
    "calling by half a name": (call("\ud800calculator", lambda n: {"expressions": [str(n)]}), "unknown_tool"),
    "calling the wrong tool": (call("cas", lambda n: {"expressions": [f"{n} * 2"]}), "bad_arguments"),
    "calling with broken JSON": (call("calculator", lambda n: {}, invalid='{"expressions": ["1'), "bad_arguments"),
    "calling with half a character": (call("calculator", lambda n: {"expressions": [f"\ud800{n}"]}), "bad_arguments"),
    "calling with a huge number": (counting_primes(lambda n: 10**30 + n), "bad_arguments"),
    "calling with no number": (counting_primes(lambda n: float("nan")), "bad_arguments"),
    "calling deep down": (call("cas", lambda n: nested(3_000)), "bad_arguments"),
    "calling for what has no value": (call("calculator", lambda n: {"expressions": [f"{n} / 0"]}), "bad_arguments"),
    "never answering": (failing(CallFailed("timeout", "no complete answer in time")), "timeout"),
    "behind a broken server": (failing(CallFailed("server", "500")), "server"),
    "cut off by its client": (failing(CutOff()), "cut_off"),
    "filtered by its client": (failing(Filtered("policy")), "filtered"),
}  # fmt: skip


def written(question: str, answer: str) -> Callable[[str], Any]:
    return lambda asked: {"question": question, "answer": answer}


def last_value(asked: str) -> tuple[str, str]:
    expression, _, rest = asked.rpartition(" = ")
    return expression.splitlines()[-1], rest.split()[0]


def raising(error: ItemFailed) -> Callable[[str], Any]:
    def write(asked: str) -> Any:
        raise error

    return write


def answered(question: str, change: Callable[[str], str] = str) -> Callable[[str], Any]:
    """A question of its own about the last value: `{what}` is its calculation, `{value}` itself."""

    def write(asked: str) -> Any:
        what, value = last_value(asked)
        return {"question": question.format(what=what, value=value), "answer": change(value)}

    return write


WRITING: dict[str, tuple[Callable[[str], Any], str]] = {
    "refusing to write": (lambda asked: Reply(text="No.", finish="refusal"), "refused"),
    "filtered in writing": (lambda asked: Reply(text="", finish="refusal", filtered=True), "filtered"),
    "writing nothing": (lambda asked: None, "no_json"),
    "writing a list": (lambda asked: [1, 2], "schema_violation"),
    "writing numbers": (lambda asked: {"question": "What is it?", "answer": 5}, "schema_violation"),
    "writing what breaks off": (raising(CutOff()), "cut_off"),
    "writing no JSON": (raising(ReplyInvalid("no_json", "the answer holds no JSON")), "no_json"),
    "writing behind a broken server": (raising(CallFailed("server", "500")), "server"),
    "writing an empty question": (written("", "111"), "schema"),
    "writing a blank answer": (written("What is it?", " "), "schema"),
    "writing a treatise": (written("What is it?", "x" * 5_000), "schema"),
    "writing the answer into the question": (answered("Is {value} what it gives?"), "no_leak"),
    "inventing": (written("Who is it?", "Napoleon"), "grounded"),
    "answering a letter": (written("Which is it?", "e"), "grounded"),
    "answering with a factor": (written("What does the last calculation give?", "111"), "grounded"),
    "answering with half of the digits": (answered("What does the last one give?", lambda value: value[1:]), "grounded"),
    "answering with the other sign": (answered("What does the last one give?", lambda value: f"-{value}"), "grounded"),
    "answering another question": (answered("What does 12 * 12 give?"), "exact_tool"),
    "half a character in the question": (answered("\ud800 What is the last one?"), "judged"),
    "provable": (answered("What does {what} give?"), "verified"),
    "not provable": (answered("What does the last calculation give?"), "judged"),
}  # fmt: skip


def observed(asked: str) -> str:
    """The last value that a judge is shown."""
    return last_value(asked.partition("Question:")[0])[1]


JUDGING: dict[str, tuple[Callable[[str], Any], str]] = {
    "a judge that says otherwise": (lambda asked: {"answer": "Napoleon", "quote": "Napoleon"}, "entailed"),
    "a judge that quotes nothing": (lambda asked: {"answer": observed(asked), "quote": ""}, "entailed"),
    "a judge that reads a factor": (lambda asked: {"answer": "111", "quote": "* 111"}, "judge"),
    "a judge that gives in": (lambda asked: {"answer": "", "quote": " = "}, "entailed"),
    "a judge that refuses": (lambda asked: Reply(text="No.", finish="refusal"), "refused"),
    "a judge that breaks off": (raising(CutOff()), "cut_off"),
    "a judge behind a broken server": (raising(CallFailed("server", "500")), "server"),
    "a judge that writes a list": (lambda asked: [1], "schema_violation"),
}  # fmt: skip

EXPECTED = {name: reason for kinds in (EXPLORING, WRITING, JUDGING) for name, (_, reason) in kinds.items()}
INFRASTRUCTURE = {"timeout", "server"}


class Misbehaving:
    """Explores and writes as the seed says, or, where the seed is of the judge, well."""

    name = "writer"

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        text = request.messages[-1 if request.stage == "write" else 1].text
        found = re.search(r"^Seed: (.*)$", text, re.MULTILINE)
        assert found is not None
        kind = found[1]
        if request.stage == "explore":
            return EXPLORING[kind][0](self.asked) if kind in EXPLORING else good(self.asked)
        assert request.stage == "write"
        if kind in WRITING:
            return replied(WRITING[kind][0](request.messages[-1].text))
        answer = last_value(request.messages[-1].text)[1]
        return replied({"question": f"What does the last calculation ({kind}) give?", "answer": answer})

    async def close(self) -> None:
        return


class Judging:
    """Judges as the question says, or well; it must not have been shown the answer."""

    name = "judge"

    async def complete(self, request: Request) -> Reply:
        assert request.stage == "judge"
        text = request.messages[-1].text
        found = re.search(r"Question: .*\((.*)\)", text)
        if found is not None:
            return replied(JUDGING[found[1]][0](text))
        answer = observed(text)
        return replied({"answer": answer, "quote": f" = {answer}"})

    async def close(self) -> None:
        return


def replied(value: Any) -> Reply:
    return value if isinstance(value, Reply) else Reply(text="", value=value, usage=SPENT)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, SynthesisConfig, Misbehaving]]:
    """A run with a seed for each kind of misbehaviour."""
    folder = tmp_path_factory.mktemp("misbehaviour")
    (folder / "seeds.txt").write_text("\n".join(EXPECTED) + "\n")
    config = SynthesisConfig(
        environment_mode="math", policy="chat", seeds=folder / "seeds.txt", max_depth=3, depth_threshold=1, max_selected_traj=1,
        max_failure_rate=1, near_duplicate=1, max_answer_share=1, max_retries=2,
    )  # fmt: skip
    model = Misbehaving()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work_shard, "policy_of", lambda config, *where: ChatPolicy(model, config, Judging()))
        run_serially(config, folder)
        yield folder, config, model


def outcomes(folder: Path) -> dict[str, set[str]]:
    """Seed → what its records say."""
    found: dict[str, set[str]] = {}
    kinds = {item["source_id"]: item["seed_data"] for item in read_jsonl(folder / "trees.jsonl")}
    for name, status in {"qa": "verified", "judged": "judged", "unverified": "unverified"}.items():
        path = folder / f"{name}.jsonl"
        for item in read_jsonl(path) if path.exists() else ():
            assert item["verification"]["status"] == status
            found.setdefault(item["metadata"]["seed_data"], set()).add(status)
    for name in ("rejected", "failures"):
        for record in read_jsonl(folder / f"{name}.jsonl"):
            kind = kinds.get(record["source_id"]) or record["seed_data"]
            found.setdefault(kind, set()).add(record["reason"])
    return found


def test_every_seed_has_one_class_and_it_is_what_happened(run: tuple[Path, SynthesisConfig, Misbehaving]) -> None:
    assert outcomes(run[0]) == {name: {reason} for name, reason in EXPECTED.items()}
    assert len(EXPECTED) > 45


def test_every_seed_has_exactly_one_line_in_the_journal_and_one_record_in_the_files(
    run: tuple[Path, SynthesisConfig, Misbehaving],
) -> None:
    journal = [record["id"] for shard in (run[0] / "shards").glob("*.jsonl") for record in read_jsonl(shard)]
    assert len(journal) == len(set(journal)) == len(EXPECTED)
    files = ("qa", "judged", "unverified", "rejected", "failures")
    records = [r for name in files if (path := run[0] / f"{name}.jsonl").exists() for r in read_jsonl(path)]
    assert Counter(record["source_id"] for record in records) == Counter(journal)


def test_only_what_a_program_has_proven_is_verified(run: tuple[Path, SynthesisConfig, Misbehaving]) -> None:
    items = list(read_jsonl(run[0] / "qa.jsonl"))
    assert [item["metadata"]["seed_data"] for item in items] == ["provable"]
    expression = re.fullmatch(r"What does (\d+) \* (\d+) give\?", items[0]["question"])
    assert expression is not None
    assert int(items[0]["answer"]) == int(expression[1]) * int(expression[2])


def test_a_servers_fault_keeps_its_class_and_a_paid_question_that_no_judge_answered_keeps_its_words(
    run: tuple[Path, SynthesisConfig, Misbehaving],
) -> None:
    said = outcomes(run[0])
    servers = {"never answering", "behind a broken server", "writing behind a broken server", "a judge behind a broken server"}
    assert {name for name, reasons in said.items() if reasons & INFRASTRUCTURE} == servers
    unjudged = [r for r in read_jsonl(run[0] / "rejected.jsonl") if "a judge behind" in r.get("question", "")]
    assert [record["reason"] for record in unjudged] == ["server"]
    assert unjudged[0]["answer"]


def test_all_calls_are_in_the_run_s_cost_those_of_seeds_that_failed_too(
    run: tuple[Path, SynthesisConfig, Misbehaving],
) -> None:
    statistics = read_json(run[0] / "statistics.json")
    answered = statistics["cost"]["llm_calls"]
    kept = sum(r.get("spent", {}).get("llm_calls", 0) for shard in (run[0] / "shards").glob("*.jsonl") for r in read_jsonl(shard))
    assert answered == kept > len(EXPECTED)


def test_a_finished_run_asks_no_model_again(run: tuple[Path, SynthesisConfig, Misbehaving]) -> None:
    folder, config, model = run
    asked, before = model.asked, outcomes(folder)
    run_serially(config, folder)
    assert model.asked == asked
    assert outcomes(folder) == before
    assert not chat_folder(folder / "shards").exists(), "scripted models keep no journal"


def named(writer: str, judge: str, *, judging: bool = True) -> SynthesisConfig:
    models = [{"model": name, "endpoints": [{"base_url": "http://127.0.0.1:9"}]} for name in (writer, judge)]
    chat = {"model": models[0], "judge_model": models[1], "judge": judging}
    return SynthesisConfig(environment_mode="math", policy="chat", chat=chat)


@pytest.mark.parametrize("judge", ["one", "ONE", "maker/one"])
def test_a_judge_that_is_the_writer_is_refused_by_the_check_before_the_run(judge: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be another model"):
        Synthesis(named("one", judge)).check(tmp_path, [])
    Synthesis(named("one", judge, judging=False)).check(tmp_path, [])


def test_a_judge_that_may_be_the_writer_is_said_before_the_run_and_another_one_is_not() -> None:
    notes = warnings_about(named("gpt-4o", "gpt-4o-2024-08-06"))
    assert any(ITSELF in note and "gpt-4o-2024-08-06" in note for note in notes)
    assert judge_settings(named("gpt-4o", "gpt-4o-2024-08-06")) is not None
    assert not any(ITSELF in note for note in warnings_about(named("gpt-4o", "gemini-3")))


def test_a_judge_whose_server_calls_it_as_the_writers_does_is_said_in_the_record_and_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Named:
        def __init__(self, inner: Any, served: str) -> None:
            self.inner, self.served, self.name = inner, served, inner.name

        async def complete(self, request: Request) -> Reply:
            reply: Reply = await self.inner.complete(request)
            return msgspec.structs.replace(reply, model=self.served)

        async def close(self) -> None:
            return

    (tmp_path / "seeds.txt").write_text("not provable\nprovable\n")
    for served, said in (("llama", True), ("gemma", False)):
        folder = tmp_path / served
        changed = {"seeds": tmp_path / "seeds.txt", "max_depth": 2, "max_selected_traj": 1}
        config = named("writer", "judge").model_copy(update=changed)
        judge = Named(Judging(), served)
        policy = ChatPolicy(Named(Misbehaving(), "llama"), config, judge)  # type: ignore[arg-type]
        monkeypatch.setattr(work_shard, "policy_of", lambda config, *where, policy=policy: policy)
        run_serially(config, folder)
        item = next(read_jsonl(folder / "judged.jsonl"))
        assert (ITSELF in item["verification"]["checks"][-1]["detail"]) is said
        card = (folder / "dataset" / "README.md").read_text()
        assert ("may be the model that wrote them" in card) is said
        assert "math/exact-tool@1 1" in card
        assert "sympy" in card, "the card names the versions that the answers depend on"
        assert "tz database" not in card
        assert "CPython" not in card


@pytest.mark.parametrize("name", ["chat", "react", "rl"])
def test_the_dataset_holds_judged_items_with_their_status_and_its_loader_reads_all_of_it(
    name: str, run: tuple[Path, SynthesisConfig, Misbehaving], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    folder = run[0] / "dataset"
    rows = list(read_jsonl(folder / "judged" / f"{name}.jsonl"))
    assert [row["status"] for row in rows] == ["judged"] * 2
    assert all("status" not in row for row in read_jsonl(folder / f"{name}.jsonl"))

    def loaded(*what: str, **files: str) -> Any:
        return datasets.load_dataset(*what, split="train", cache_dir=str(tmp_path), **files)

    assert loaded("json", data_files=str(folder / "judged" / f"{name}.jsonl"))["status"] == ["judged"] * 2
    assert loaded("json", data_files=str(folder / f"{name}.jsonl")).num_rows == 1
    assert set(loaded(str(folder), "judged")["status"]) == {"judged"}
    assert set(loaded(str(folder), "verified")["status"]) == {"verified"}
