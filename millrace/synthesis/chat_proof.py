"""Proves by program what a chat model wrote, where its question can be read back by a program.

Covers: a question that asks for the value of one arithmetic expression, or of one piece of Python in backticks, in an environment
with an exact tool for it: the expression is taken from the words of the question and computed by a fresh call; the observations
and the model's own calls are not looked at. Does not cover: any other question. A single word beside those that merely ask makes
it one: what is not understood completely is not proven.
"""

from __future__ import annotations

import re

from millrace.records.synthesis import Check
from millrace.synthesis.environments import Environment, Tool
from millrace.synthesis.scoring.answers import score_answer, type_of_text

PROOF = "exact_tool"
"""The check's name."""

WORDS = (
    "what whats is are was be does do the a an of in for to give gives equal equals yield yields return returns produce produces "
    "evaluate evaluates compute computes calculate find determine state value result answer exact exactly it its output outputs "
    "print prints expression calculation python code snippet following as lowest terms please and when evaluated run tell me"
)
ASKING = frozenset(WORDS.split())
"""Words that only ask."""

ASKING_ZH = re.compile(r"请问?|计算|求|表达式|代码|下列|下面|的|值|结果|等于|多少|是|什么|给出|输出|返回|为|算式|运行|执行|准确")
EXPRESSION = re.compile(r"(?:[-+*/%^().,\d\s×÷−]|\b(?:gcd|lcm|comb|perm|factorial|isqrt|sqrt|pow|abs|digit_sum|min|max)\b)+")
BACKTICKS = re.compile(r"`+([^`]+)`+")


def prove_written(environment: Environment, question: str, answer: str) -> Check | None:
    """Whether a program gives the same answer to the question; None where no program here can read it."""
    found = _read(environment, question)
    if found is None:
        return None
    tool, expression = found
    seen = tool.run({"expressions": [expression]})
    head = f"{expression} = "
    said = next((line.removeprefix(head) for line in seen.text.split("\n") if line.startswith(head)), None)
    if seen.status != "ok" or said is None or said.startswith("ERROR"):
        return None  # what has no value here may have one to whoever asked
    true = said[1:-1] if tool.name == "python_interpreter" and said[:1] == said[-1:] and said[:1] in "'\"" else said
    right = score_answer(type_of_text(true), true, answer) == 1
    return Check(PROOF, right, f"{tool.name} computes {expression} from the words of the question: {true[:200]}")


def _read(environment: Environment, question: str) -> tuple[Tool, str] | None:
    """The tool and the expression that a question asks it about; None where anything else is in it."""
    code = BACKTICKS.findall(question)
    if len(code) == 1 and _only_asks(BACKTICKS.sub(" ", question)):
        for name in ("python_interpreter", "calculator"):
            if name in environment.replay_tools:
                return environment.replay_tools[name], code[0].strip()
        return None
    calculator = environment.replay_tools.get("calculator")
    if code or calculator is None:
        return None
    asked = re.sub(
        r"(?<=\d),(?=\d{3}(?!\d))", "", question.replace("×", "*").replace("÷", "/").replace("−", "-").replace("^", "**")
    )
    pieces = [piece for piece in EXPRESSION.finditer(asked) if re.search(r"\d", piece.group())]
    if len(pieces) != 1:
        return None
    expression = pieces[0].group().strip(" ,.\n\t")
    rest = asked[: pieces[0].start()] + " " + asked[pieces[0].end() :]
    return (calculator, expression) if re.search(r"[-+*/%(]", expression) and _only_asks(rest) else None


def _only_asks(text: str) -> bool:
    left = ASKING_ZH.sub(" ", text.replace("'s", " ").lower())
    return all(word in ASKING for word in re.findall(r"\w+", left)) and not re.search(r"[^\w\s?？.。,，:：;!\"“”'=（）()]", left)
