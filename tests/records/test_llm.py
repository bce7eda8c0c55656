"""What runs keep about chat models stays the same byte for byte, so that folders of earlier versions go on."""

from __future__ import annotations

import msgspec
import orjson

from millrace.records.llm import Abilities, LedgerRow, Reply, ToolCall, Usage


def test_a_kept_reply_has_the_bytes_it_had() -> None:
    call = ToolCall(id="c", name="add", arguments={"b": 1, "a": [2]}, attached={"s": "x"})
    reply = Reply(
        text="hi",
        finish="tool_calls",
        tool_calls=(call,),
        attached={"reasoning_content": "t"},
        usage=Usage(input_tokens=3),
        model="m",
        endpoint="http://x",
        latency_s=0.5,
        cost_usd=1e-05,
    )
    assert msgspec.json.encode(reply) == (
        b'{"text":"hi","finish":"tool_calls","filtered":false,"tool_calls":[{"id":"c","name":"add","arguments":{"b":1,"a":[2]},'
        b'"invalid":null,"attached":{"s":"x"}}],"attached":{"reasoning_content":"t"},"value":null,"usage":{"input_tokens":3,'
        b'"output_tokens":null,"cached_tokens":null},"model":"m","endpoint":"http://x","latency_s":0.5,"attempts":1,'
        b'"cost_usd":0.00001,"replayed":false}'
    )


def test_a_line_of_the_ledger_has_the_bytes_it_had_and_rows_add_up() -> None:
    row = LedgerRow(day="2026-01-01", stage="judge", model="m", calls=2, cost_usd=0.25)
    assert msgspec.json.encode(row) == (
        b'{"day":"2026-01-01","stage":"judge","model":"m","calls":2,"requests":0,"input_tokens":0,"output_tokens":0,'
        b'"cached_tokens":0,"cost_usd":0.25,"unknown_cost":0,"unknown_tokens":0,"cut_off":0,"discarded":0,"filtered":0}'
    )
    both = row.plus(LedgerRow(day="2026-01-01", stage="judge", model="m", calls=1, cost_usd=0.5, filtered=1))
    assert (both.calls, both.cost_usd, both.filtered, both.day) == (3, 0.75, 1, "2026-01-01")


def test_findings_about_an_endpoint_have_the_bytes_they_had() -> None:
    found = Abilities(base_url="u", model="m", left_out=["seed"], schema_modes={"a": "prompt"})
    assert orjson.dumps(msgspec.to_builtins(found)) == (
        b'{"base_url":"u","model":"m","schema_modes":{"a":"prompt"},"left_out":["seed"]}'
    )
