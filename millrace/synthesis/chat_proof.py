"""Proves by program what a chat model wrote, where its question can be read back by a program.

Covers: a question that asks for the value of one arithmetic expression, or of one piece of Python in backticks, in an environment
with an exact tool for it: the expression is taken from the words of the question and computed by a fresh call; and a question in
the words of the environment's operators, which its verifier computes (`chat.read_back`): rag, web, any other. The observations
and the model's own calls are not looked at. Does not cover: any other question. A single word beside those that merely ask makes
it one: what is not understood completely is not proven.
"""

from __future__ import annotations

import ast
import re

from millrace.records.synthesis import Check
from millrace.synthesis.chat.read_back import computed_apart
from millrace.synthesis.environments import Environment, Tool
from millrace.synthesis.scoring.answers import score_answer, type_of_text

PROOF = "exact_tool"
"""The name of the check by a tool."""

READ_BACK = "verifier"
"""The name of the check by the environment's verifier."""

PROOFS = {PROOF: "exact-tool", READ_BACK: "read-back"}
"""What makes an item `verified` → how its verifier is named."""

WORDS = (
    "what whats is are was be does do the a an of in for to give gives equal equals yield yields return returns produce produces "
    "evaluate evaluates compute computes calculate find determine state value result answer exact exactly it its output outputs "
    "print prints expression calculation python code snippet following as lowest terms please and when evaluated run tell me this"
)
ASKING = frozenset(WORDS.split())
"""Words that only ask."""

ASKING_ZH = re.compile(r"请问?|计算|求|表达式|代码|下列|下面|的|值|结果|等于|多少|是|什么|给出|输出|返回|为|算式|运行|执行|准确")
EXPRESSION = re.compile(r"(?:[-+*/%^().,\d\s×÷−]|\b(?:gcd|lcm|comb|perm|factorial|isqrt|sqrt|pow|abs|digit_sum|min|max)\b)+")
BACKTICKS = re.compile(r"```(?:[Pp]ython3?|py)?[ \t]*\n(?P<block>.+?)```|`+(?P<inline>[^`]+)`+", re.DOTALL)
UNCLEAR = re.compile(r"[\d)]\s*!|\d%(?!\d)|\.\.")
"""A factorial, a percentage, a row of dots: signs that a calculator reads otherwise than people do, or not at all."""

SURROUNDINGS = re.compile(
    r"\b(?:time|datetime|date|random|uuid|secrets|os|sys|platform|socket|getpass|tempfile|pathlib|locale|threading|subprocess)\b"
    r"|\b(?:id|hash|input|open|globals|locals|vars|dir|object)\s*\("
)
"""What makes a piece of Python say something else tomorrow or elsewhere."""

PRINTS = re.compile(r"\b(?:print|prints|output|outputs)\b|输出|打印")


def prove_written(environment: Environment, question: str, answer: str) -> Check | None:
    """Whether a program gives the same answer to the question; None where no program here can read it."""
    found = _read(environment, question)
    if found is None:
        return _by_verifier(environment, question, answer)
    tool, expression = found
    true = _computed(tool, expression, question)
    if true is None:
        return None  # what has no value here may have one to whoever asked
    if tool.name == "python_interpreter" and tool.name in environment.tools:
        again = _computed(environment.tools[tool.name], expression, question)  # another process, with another hash seed
        if again != true:
            return Check(PROOF, False, f"{tool.name} computes {true[:100]} and then {str(again)[:100]}: there is no one answer")
    right = (
        answer.strip() == true or score_answer(type_of_text(true), true, answer) == 1
    )  # several lines are compared as they are
    return Check(PROOF, right, f"{tool.name} computes {expression} from the words of the question: {true[:200]}")


def _by_verifier(environment: Environment, question: str, answer: str) -> Check | None:
    true = computed_apart(environment, question)
    if true is None or environment.verifier is None:
        return None
    right = score_answer(true.answer_type, true.answer, answer) == 1
    return Check(READ_BACK, right, f"{environment.verifier.name} computes it from the words of the question: {true.answer}")


def _computed(tool: Tool, expression: str, question: str) -> str | None:
    """What a tool says that an expression is; None: nothing."""
    seen = tool.run({"expressions": [expression]})
    head = f"Results:\n{expression} = "
    if seen.status != "ok" or not seen.text.startswith(head):
        return None
    value, _, printed = seen.text.removeprefix(head).partition("\nprinted: ")
    if value.startswith("ERROR"):
        return None
    if tool.name != "python_interpreter":
        return value
    asked = PRINTS.search(BACKTICKS.sub(" ", question)) is not None
    if printed.strip() and (asked or value == "None"):
        return printed.strip()
    try:
        text = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return text if isinstance(text, str) else value


def _read(environment: Environment, question: str) -> tuple[Tool, str] | None:
    """The tool and the expression that a question asks it about; None where anything else is in it."""
    code = [match["block"] or match["inline"] for match in BACKTICKS.finditer(question)]
    if len(code) == 1 and _only_asks(BACKTICKS.sub(" ", question)):
        python, calculator = environment.replay_tools.get("python_interpreter"), environment.replay_tools.get("calculator")
        if python is not None:
            return None if SURROUNDINGS.search(code[0]) else (python, code[0].strip())
        return None if calculator is None or UNCLEAR.search(code[0]) else (calculator, code[0].strip())
    calculator = environment.replay_tools.get("calculator")
    if code or calculator is None or UNCLEAR.search(question):
        return None
    asked = re.sub(
        r"(?<=\d),(?=\d{3}(?!\d))", "", question.replace("×", "*").replace("÷", "/").replace("−", "-").replace("^", "**")
    )
    pieces = [piece for piece in EXPRESSION.finditer(asked) if re.search(r"\d", piece.group())]
    if len(pieces) != 1:
        return None
    expression = re.sub(r"^(?:[\s,]|\.(?!\d))+", "", pieces[0].group()).rstrip(" ,.\n\t")
    rest = asked[: pieces[0].start()] + " " + asked[pieces[0].end() :]
    return (calculator, expression) if re.search(r"[-+*/%(]", expression) and _only_asks(rest) else None


def _only_asks(text: str) -> bool:
    left = ASKING_ZH.sub(" ", text.replace("'s", " ").lower())
    return all(word in ASKING for word in re.findall(r"\w+", left)) and not re.search(r"[^\w\s?？.。,，:：;\"“”'=（）()]", left)
