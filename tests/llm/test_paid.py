"""The journal of paid replies, its table and the ledger."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import RunFailed
from millrace.llm import ImagePart, Reply, Request, ToolCall, Usage, system, tool, user
from millrace.llm.prices import cost_usd
from millrace.llm.settings import Price
from millrace.llm.store.ledger import Ledger, read_ledger
from millrace.llm.store.locations import Locations
from millrace.llm.store.reply_journal import PaidReplies, content_key
from millrace.llm.store.segments import SegmentWriter, line_of, read_segment
from tests.llm.servers import run


def key_of(number: int) -> bytes:
    return content_key(("p", "m"), Request(messages=(user(str(number)),)), ())


def written(folder: Path, count: int) -> Path:
    async def main() -> Path:
        paid = PaidReplies(folder)
        await asyncio.gather(
            *(paid.add(key_of(n), Reply(text=f"answer {n}\nwith a line", usage=Usage(input_tokens=n))) for n in range(count))
        )
        paid.close()
        return paid._writer.path

    return run(main())


def test_replies_are_found_again_by_another_process(tmp_path: Path) -> None:
    written(tmp_path, 50)
    paid = PaidReplies(tmp_path)
    assert len(paid) == 50
    found = paid.find(key_of(7))
    assert found is not None
    assert (found.text, found.usage.input_tokens) == ("answer 7\nwith a line", 7)
    assert paid.find(key_of(50)) is None


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 4000), damage=st.one_of(st.none(), st.integers(0, 3000)))
def test_a_torn_or_damaged_file_loses_only_the_lines_it_hit(
    tmp_path_factory: pytest.TempPathFactory, cut: int, damage: int | None
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    path = written(folder, 10)
    whole = path.read_bytes()
    data = bytearray(whole[: min(cut, len(whole))])
    if damage is not None and damage < len(data):
        data[damage] ^= 0x5A
    path.write_bytes(bytes(data))
    intact = {line for line in whole.splitlines(keepends=True) if line in bytes(data).splitlines(keepends=True)}
    paid = PaidReplies(folder)
    found = [n for n in range(10) if paid.find(key_of(n)) is not None]
    assert len(found) == len(intact)
    for number in found:
        reply = paid.find(key_of(number))
        assert reply is not None
        assert reply.text == f"answer {number}\nwith a line"


def test_a_refresh_takes_in_what_another_process_wrote_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = PaidReplies(tmp_path), PaidReplies(tmp_path)
        await first.add(key_of(1), Reply(text="one"))
        assert second.find(key_of(1)) is None
        second.refresh()
        assert second.find(key_of(1)) is not None
        await first.add(key_of(2), Reply(text="two"))
        second.refresh()
        assert second.find(key_of(2)) is not None
        first.close()
        second.close()

    run(main())


def test_a_full_disk_ends_the_run_and_nothing_is_written_after_half_a_line(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SegmentWriter(tmp_path, "x")
        _, turn = writer.append(b"first")
        await turn
        assert writer._handle is not None
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._handle)
        for _ in range(2):
            _, turn = writer.append(b"second")
            with pytest.raises(RunFailed, match="No space left"):
                await turn
        os.close(full)

    run(main())


def test_everything_asked_decides_the_key_and_nothing_else() -> None:
    base = Request(messages=(user("a"),), temperature=0.1)
    keys = {
        content_key(("p", "m"), base, ()),
        content_key(("p", "n"), base, ()),
        content_key(("p", "m"), Request(messages=(user("b"),), temperature=0.1), ()),
        content_key(("p", "m"), Request(messages=(system("a"),), temperature=0.1), ()),
        content_key(("p", "m"), Request(messages=(user("a"),), temperature=0.2), ()),
        content_key(("p", "m"), Request(messages=(user("a"),), temperature=0.1, sample=1), ()),
        content_key(("p", "m"), Request(messages=(user("a"),), temperature=0.1, schema={"type": "object"}), ()),
        content_key(("p", "m"), Request(messages=(user("a"),), temperature=0.1, tools=(tool("t", "", {}),)), ()),
        content_key(("p", "m"), Request(messages=(user("a", ImagePart(data=b"1")),), temperature=0.1), ("h1",)),
        content_key(("p", "m"), Request(messages=(user("a", ImagePart(data=b"1")),), temperature=0.1), ("h2",)),
    }
    assert len(keys) == 10
    same = Request(messages=(user("a"),), temperature=0.1, stage="judge", timeout_s=3.0)
    assert content_key(("p", "m"), same, ()) == content_key(("p", "m"), base, ())
    one = Request(messages=(user("a"),), schema={"a": 1, "b": 2})
    other = Request(messages=(user("a"),), schema={"b": 2, "a": 1})
    assert content_key(("p",), one, ()) == content_key(("p",), other, ())


def test_a_reply_with_tool_calls_survives_the_journal(tmp_path: Path) -> None:
    reply = Reply(text="", finish="tool_calls", tool_calls=(ToolCall(id="1", name="f", arguments={"a": [1, None, "é\u2028"]}),))

    async def main() -> None:
        paid = PaidReplies(tmp_path)
        await paid.add(key_of(1), reply)
        assert paid.find(key_of(1)) == reply
        paid.close()

    run(main())


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), max_size=300))
def test_the_table_of_locations_is_a_dictionary(entries: dict[int, int]) -> None:
    table = Locations()
    for name, value in entries.items():
        assert table.put(name, value)
        assert not table.put(name, 0)
    assert len(table) == len(entries)
    assert all(table.get(name) == value for name, value in entries.items())


def test_the_table_takes_at_most_48_bytes_per_entry() -> None:
    table = Locations()
    source = random.Random(0)
    for _ in range(50_000):
        table.put(source.getrandbits(64), 1)
    assert 16 <= table.bytes / len(table) <= 48


def test_the_ledger_adds_up_over_processes_crashed_or_not(tmp_path: Path) -> None:
    reply = Reply(text="x", model="m", usage=Usage(input_tokens=10, output_tokens=2), cost_usd=0.5, attempts=2)

    async def main() -> None:
        clean, crashed = Ledger(tmp_path), Ledger(tmp_path)
        for ledger in (clean, crashed):
            for stage in ("judge", "judge", "write"):
                ledger.paid(reply, stage)
        ledger.paid(Reply(text="x", model="m"), "write")
        await asyncio.sleep(0.01)
        clean.close()  # the other one is gone without a word

    run(main())
    rows = {row.stage: row for row in read_ledger([tmp_path])}
    assert (rows["judge"].calls, rows["judge"].requests, rows["judge"].cost_usd) == (4, 8, 2.0)
    assert (rows["write"].calls, rows["write"].unknown_cost, rows["write"].unknown_tokens) == (3, 1, 1)


def test_an_unknown_price_or_count_is_an_unknown_cost() -> None:
    price = Price(input_usd=1.0, output_usd=2.0, cached_usd=0.1)
    assert cost_usd(Usage(input_tokens=1_000_000, output_tokens=1_000_000), price) == 3.0
    assert cost_usd(Usage(input_tokens=1_000_000, output_tokens=0, cached_tokens=1_000_000), price) == pytest.approx(0.1)
    assert cost_usd(Usage(input_tokens=5), price) is None
    assert cost_usd(Usage(input_tokens=5, output_tokens=5), None) is None
    assert cost_usd(Usage(), Price(input_usd=0, output_usd=0)) == 0.0


@given(st.lists(st.binary(max_size=50).map(lambda data: data.replace(b"\n", b" ")), max_size=20))
def test_lines_come_back_as_they_were_written(payloads: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(b"".join(line_of(payload) for payload in payloads))
        assert [payload for _, _, payload in read_segment(path)] == payloads
