"""What a program can ask of Python: operators over texts, word lists, integer lists and integers, each one line of real code.

An operator's code runs in the sandbox; the verifier (`verifier.py`) computes the same without the library calls used here.
"""

# ruff: noqa: E501 - the tables read best with one operator's two wordings on a line each, and Chinese counts double

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Constants, Operator, Value, result_of

MAX_TEXT = 160
"""The longest text value, in characters: longer ones make questions nobody reads."""

MAX_ITEMS = 40
"""The longest list value."""

SIZES = {"text": (6, MAX_TEXT), "words": (3, MAX_ITEMS), "integers": (3, MAX_ITEMS), "integer": (2, 2**52)}
"""Kind → the smallest and largest value an operator takes: characters, items, or the number itself."""

Draw = Callable[[random.Random, Any], Constants]
MODULI = (97, 251, 509, 997, 1009, 2003, 4099, 8191)


def _nothing(rng: random.Random, value: Any) -> Constants:
    return {}


def coded(
    name: str,
    takes: str,
    gives: str,
    code: str,
    en: str,
    zh: str,
    draw: Draw = _nothing,
    *,
    answers: bool | None = None,
    weight: float = 1.0,
) -> Operator:
    """An operator that is one expression in `v`; constants are written into it as literals."""
    low, high = SIZES[takes]

    def constants(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        size = values[-1] if takes == "integer" else len(values[-1])
        return draw(rng, values[-1]) if low <= size <= high else None

    def written(args: Mapping[str, Any]) -> str:
        return code.format(**{key: repr(value) for key, value in args.items()})

    def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
        try:
            value = ast.literal_eval(result_of(text, written(args)))
        except (SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"the observation shows no Python value: {error}") from error
        return _fitting(value, gives)

    return Operator(
        name=name, takes=takes, gives=gives, tool="python_interpreter", draw=constants,
        act=lambda args, values: {"expressions": [f"v = {values[-1]!r}", written(args)]}, read=read,
        en=en, zh=zh, answers=gives in ("text", "integer") if answers is None else answers, weight=weight,
        answer_type="date" if name == "as_date" else gives if gives in ("text", "integer") else "list",
    )  # fmt: skip


def _fitting(value: Any, kind: str) -> Value:
    """The value, when it is of its kind and of a size to go on with."""
    kinds: dict[str, Any] = {"text": str, "words": list, "integers": list, "integer": int}
    if not isinstance(value, kinds[kind]) or isinstance(value, bool):
        raise ValueError(f"{str(value)[:60]} is no {kind}")
    if kind == "integer" and abs(value) >= 2**53:
        raise ValueError("too large for a JSON number")
    if kind == "text" and (len(value) > MAX_TEXT or value != value.strip()):
        raise ValueError("a text too long, or with spaces around it")
    if kind in ("words", "integers") and (
        len(value) > MAX_ITEMS or not all(isinstance(n, str if kind == "words" else int) for n in value)
    ):
        raise ValueError(f"no short list of {kind}")
    return value


def _k(low: int, high: int) -> Draw:
    return lambda rng, value: {"k": rng.randint(low, high)}


def _m(rng: random.Random, value: Any) -> Constants:
    return {"m": rng.choice(MODULI)}


def _rotation(rng: random.Random, value: Any) -> Constants:
    return {"k": rng.randint(1, min(len(value) - 1, 9))}


OPERATORS = [
    coded("split_words", "text", "words", "v.split()", "the list of words of {x} (split at spaces)", "把 {x} 按空格拆开得到的单词列表", weight=2),
    coded("distinct_characters", "text", "words", "sorted(set(v.replace(' ', '')))",
          "the list of the distinct characters of {x} except spaces, by code point", "{x} 中除空格外的不同字符按码位排序的列表"),
    coded("pieces", "text", "words", "[v[i:i + {k}] for i in range(0, len(v), {k})]",
          "the list of pieces of {k} characters that {x} is cut into (the last may be shorter)", "把 {x} 每 {k} 个字符切成一段的列表（最后一段可更短）", _k(3, 9)),
    coded("reverse_text", "text", "text", "v[::-1]", "{x} read backwards", "{x} 的倒序"),
    coded("swap_case", "text", "text", "v.swapcase()", "{x} with upper and lower case exchanged", "{x} 大小写互换后的文本"),
    coded("every_kth", "text", "text", "v[::{k}]", "every character of {x} whose index (from 0) is a multiple of {k}", "{x} 中下标（从 0 起）为 {k} 的倍数的字符组成的文本", _k(2, 4)),
    coded("rotate_text", "text", "text", "v[{k}:] + v[:{k}]", "{x} with its first {k} characters moved to the end", "把 {x} 的前 {k} 个字符移到末尾得到的文本", _rotation),
    coded("shift_letters", "text", "text",
          "''.join(chr((ord(c) - 97 + {k}) % 26 + 97) if 'a' <= c <= 'z' else c for c in v)",
          "{x} with every letter from a to z moved {k} places on in the alphabet (z is followed by a)",
          "把 {x} 中每个小写字母在字母表中后移 {k} 位（z 之后是 a）得到的文本", _k(1, 25)),
    coded("drop_vowels", "text", "text", "''.join(c for c in v if c not in 'aeiouAEIOU')",
          "{x} without the letters a, e, i, o, u in either case", "{x} 去掉字母 a、e、i、o、u（不分大小写）后的文本"),
    coded("base64_text", "text", "text", "base64.b64encode(v[:{k}].encode()).decode()",
          "the Base64 form of the UTF-8 bytes of the first {k} characters of {x}", "{x} 前 {k} 个字符的 UTF-8 字节的 Base64 编码", _k(8, 18)),
    coded("hex_bytes", "text", "text", "v.encode()[:{k}].hex()", "the first {k} UTF-8 bytes of {x} in hexadecimal", "{x} 的前 {k} 个 UTF-8 字节的十六进制", _k(5, 12)),
    coded("sum_of_code_points", "text", "integer", "sum(map(ord, v))", "the sum of the code points of the characters of {x}", "{x} 各字符码位之和"),
    coded("checksum_crc32", "text", "integer", "zlib.crc32(v.encode())", "the CRC-32 checksum of the UTF-8 bytes of {x}", "{x} 的 UTF-8 字节的 CRC-32 校验值"),
    coded("checksum_adler32", "text", "integer", "zlib.adler32(v.encode())", "the Adler-32 checksum of the UTF-8 bytes of {x}", "{x} 的 UTF-8 字节的 Adler-32 校验值"),
    coded("byte_length", "text", "integer", "len(v.encode()) * {k}", "the number of UTF-8 bytes of {x}, times {k}", "{x} 的 UTF-8 字节数乘以 {k}", _k(3, 29)),
    coded("sort_by_length", "words", "words", "sorted(v, key=lambda w: (len(w), w))",
          "{x} sorted by length, equal lengths by code point", "{x} 按长度排序（长度相同按码位）的列表"),
    coded("occurring_once", "words", "words", "sorted(w for w, n in collections.Counter(v).items() if n == 1)",
          "the sorted list of the entries that occur exactly once in {x}", "{x} 中恰好出现一次的元素排序后的列表"),
    coded("longer_than", "words", "words", "[w for w in v if len(w) > {k}]", "the entries of {x} with more than {k} characters, in order", "{x} 中多于 {k} 个字符的元素（保持次序）", _k(1, 5)),
    coded("reverse_each", "words", "words", "[w[::-1] for w in v]", "{x} with every entry read backwards", "把 {x} 的每个元素倒序得到的列表"),
    coded("every_other", "words", "words", "v[::2]", "every second entry of {x}, starting with the first", "{x} 中从第一个起每隔一个取的元素列表"),
    coded("rotate_words", "words", "words", "v[{k}:] + v[:{k}]", "{x} with its first {k} entries moved to the end", "把 {x} 的前 {k} 个元素移到末尾得到的列表", _rotation),
    coded("word_lengths", "words", "integers", "[len(w) for w in v]", "the list of the lengths of the entries of {x}", "{x} 各元素长度的列表"),
    coded("word_checksums", "words", "integers", "[zlib.crc32(w.encode()) % {m} for w in v]",
          "the list of the CRC-32 checksums (of the UTF-8 bytes) of the entries of {x}, each modulo {m}", "{x} 各元素 UTF-8 字节的 CRC-32 对 {m} 取模的列表", _m),
    coded("word_sums", "words", "integers", "[sum(map(ord, w)) for w in v]", "the list of the code point sums of the entries of {x}", "{x} 各元素的码位之和的列表"),
    coded("initials", "words", "text", "''.join(w[0] for w in v)", "the first characters of the entries of {x}, written together", "{x} 各元素首字符连成的文本"),
    coded("last_characters", "words", "text", "''.join(w[-1] for w in v)", "the last characters of the entries of {x}, written together", "{x} 各元素末字符连成的文本"),
    coded("join_with", "words", "text", "{sep}.join(v)", "the entries of {x} joined with '{sep}'", "用“{sep}”连接 {x} 各元素得到的文本",
          lambda rng, v: {"sep": rng.choice(("-", "+", "_", "/", "~"))}),
    coded("nth_entry", "words", "text", "v[{k}]", "the entry of {x} with the index {k} (from 0)", "{x} 中下标为 {k}（从 0 起）的元素",
          lambda rng, v: {"k": rng.randrange(len(v))}, answers=False),
    coded("sort_descending", "integers", "integers", "sorted(v, reverse=True)", "{x} sorted from large to small", "{x} 从大到小排序的列表"),
    coded("running_sums", "integers", "integers", "list(itertools.accumulate(v))", "the list of the running sums of {x}", "{x} 的前缀和列表"),
    coded("differences", "integers", "integers", "[b - a for a, b in itertools.pairwise(v)]",
          "the list of the differences between each entry of {x} and the one before it", "{x} 中每个元素减去前一个元素的差的列表"),
    coded("residues", "integers", "integers", "[n * {k} % {m} for n in v]", "the list of the entries of {x} times {k}, each modulo {m}", "{x} 各元素乘 {k} 后对 {m} 取模的列表",
          lambda rng, v: {"k": rng.randint(3, 40), **_m(rng, v)}),
    coded("largest_k", "integers", "integers", "heapq.nlargest({k}, v)", "the {k} largest entries of {x}, the largest first", "{x} 中最大的 {k} 个元素（从大到小）",
          lambda rng, v: {"k": rng.randint(3, max(3, len(v) - 1))}),
    coded("weighted_sum", "integers", "integer", "sum(i * n for i, n in enumerate(v, 1))",
          "the sum of the entries of {x}, each multiplied by its position counted from 1", "{x} 各元素乘以其位置（从 1 起）之和"),
    coded("lower_median", "integers", "integer", "statistics.median_low(v)", "the median of {x} (of two middle entries the smaller one)", "{x} 的中位数（偶数个时取较小者）", weight=0.5),
    coded("spread", "integers", "integer", "max(v) - min(v)", "the largest minus the smallest entry of {x}", "{x} 的最大元素与最小元素之差", weight=0.5),
    coded("polynomial_hash", "integers", "integer", "functools.reduce(lambda h, n: (h * {k} + n) % {m}, v, 7)",
          "the result of starting with 7 and, for each entry n of {x}, replacing h by (h * {k} + n) modulo {m}",
          "从 h = 7 开始，对 {x} 的每个元素 n 依次令 h = (h * {k} + n) mod {m} 的结果", lambda rng, v: {"k": rng.randint(11, 60), **_m(rng, v)}),
    coded("sum_of_squares", "integers", "integer", "sum(n * n for n in v) % {m}", "the sum of the squares of the entries of {x}, modulo {m}", "{x} 各元素平方和对 {m} 取模", _m),
    coded("reverse_digits", "integer", "integer", "int(str(v)[::-1])", "the number with the decimal digits of {x} in reverse order", "把 {x} 的十进制数字倒序得到的数"),
    coded("scaled_modulo", "integer", "integer", "v * {k} % {m}", "{x} times {k}, modulo {m}", "{x} 乘以 {k} 对 {m} 取模", lambda rng, v: {"k": rng.randint(7, 99), **_m(rng, v)}),
    coded("as_date", "integer", "text", "(datetime.date(2000, 1, 1) + datetime.timedelta(days=v % {m})).isoformat()",
          "the date (YYYY-MM-DD) that lies {x} modulo {m} days after 2000-01-01", "2000-01-01 之后第（{x} 对 {m} 取模）天的日期（YYYY-MM-DD）", lambda rng, v: {"m": rng.choice((9973, 8191, 7919))}),
    coded("as_address", "integer", "text", "str(ipaddress.IPv4Address(v * {k} % 2 ** 32))",
          "the IPv4 address whose number is {x} times {k}, modulo 2 ** 32, in dotted form", "编号为 {x} 乘以 {k} 对 2 ** 32 取模的 IPv4 地址（点分形式）", _k(3001, 9999)),
    coded("in_hexadecimal", "integer", "text", "format(v * {k}, 'x')", "{x} times {k}, in hexadecimal without a prefix", "{x} 乘以 {k} 的十六进制（无前缀）", _k(11, 99)),
]  # fmt: skip

TABLE: dict[str, Operator] = {operator.name: operator for operator in OPERATORS}
"""Name → operator."""
