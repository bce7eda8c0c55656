"""The python preset's questions, computed from their words."""

# ruff: noqa: E501, PLW0108 - a phrase and how it is computed stand together; its groups are told by their names

from __future__ import annotations

import ast
import base64
import datetime
import zlib
from collections import Counter
from typing import Any

from tests.synthesis.answers import chains
from tests.synthesis.answers.chains import n, v


def moved(text: str, by: int) -> str:
    abc = "abcdefghijklmnopqrstuvwxyz"
    return text.translate(str.maketrans(abc, abc[by:] + abc[:by]))


def exchanged(text: str) -> str:
    return "".join(c.lower() if c.isupper() else c.upper() if c.islower() else c for c in text)


def hashed(numbers: list[int], k: int, m: int) -> int:
    h = 7
    for number in numbers:
        h = (h * k + number) % m
    return h


def address(number: int) -> str:
    return ".".join(str(number // 256**place % 256) for place in (3, 2, 1, 0))


def sums(words: list[str]) -> list[int]:
    return [sum(ord(c) for c in word) for word in words]


def crcs(words: list[str], m: int) -> list[int]:
    return [zlib.crc32(word.encode()) % m for word in words]


def once(words: list[str]) -> list[str]:
    return sorted(word for word, times in Counter(words).items() if times == 1)


def distinct(text: str) -> list[str]:
    return sorted({c for c in text if c != " "})


def pieces(text: str, k: int) -> list[str]:
    return [text[:k], *pieces(text[k:], k)] if text else []


def day(number: int, m: int) -> str:
    return (datetime.date(2000, 1, 1) + datetime.timedelta(number % m)).isoformat()


EN = {
    rf"the list of words of {v()} \(split at spaces\)": lambda v: [word for word in v.split(" ") if word],
    rf"the list of the distinct characters of {v()} except spaces, by code point": lambda v: distinct(v),
    rf"the list of pieces of {n()} characters that {v()} is cut into \(the last may be shorter\)": lambda n, v: pieces(v, n),
    rf"{v()} read backwards": lambda v: "".join(reversed(v)),
    rf"{v()} with upper and lower case exchanged": lambda v: exchanged(v),
    rf"every character of {v()} whose index \(from 0\) is a multiple of {n()}": lambda v, n: "".join(c for i, c in enumerate(v) if i % n == 0),
    rf"{v()} with its first {n()} characters moved to the end": lambda v, n: v[n:] + v[:n],
    rf"{v()} with every letter from a to z moved {n()} places on in the alphabet \(z is followed by a\)": lambda v, n: moved(v, n),
    rf"{v()} without the letters a, e, i, o, u in either case": lambda v: "".join(c for c in v if c.lower() not in set("aeiou")),
    rf"the Base64 form of the UTF-8 bytes of the first {n()} characters of {v()}": lambda n, v: base64.standard_b64encode(v[:n].encode()).decode(),
    rf"the first {n()} UTF-8 bytes of {v()} in hexadecimal": lambda n, v: "".join(f"{byte:02x}" for byte in v.encode()[:n]),
    rf"the sum of the code points of the characters of {v()}": lambda v: sum(ord(c) for c in v),
    rf"the CRC-32 checksum of the UTF-8 bytes of {v()}": lambda v: zlib.crc32(v.encode()),
    rf"the Adler-32 checksum of the UTF-8 bytes of {v()}": lambda v: zlib.adler32(v.encode()),
    rf"the number of UTF-8 bytes of {v()}, times {n()}": lambda v, n: len(v.encode()) * n,
    rf"{v()} sorted by length, equal lengths by code point": lambda v: sorted(sorted(v), key=len),
    rf"the sorted list of the entries that occur exactly once in {v()}": lambda v: once(v),
    rf"the entries of {v()} with more than {n()} characters, in order": lambda v, n: [word for word in v if len(word) > n],
    rf"{v()} with every entry read backwards": lambda v: ["".join(reversed(word)) for word in v],
    rf"every second entry of {v()}, starting with the first": lambda v: [word for i, word in enumerate(v) if not i % 2],
    rf"{v()} with its first {n()} entries moved to the end": lambda v, n: v[n:] + v[:n],
    rf"the list of the lengths of the entries of {v()}": lambda v: [len(word) for word in v],
    rf"the list of the CRC-32 checksums \(of the UTF-8 bytes\) of the entries of {v()}, each modulo {n()}": lambda v, n: crcs(v, n),
    rf"the list of the code point sums of the entries of {v()}": lambda v: sums(v),
    rf"the first characters of the entries of {v()}, written together": lambda v: "".join(word[0] for word in v),
    rf"the last characters of the entries of {v()}, written together": lambda v: "".join(word[-1] for word in v),
    rf"the entries of {v()} joined with '(?P<sep>.)'": lambda v, sep: sep.join(v),
    rf"the entry of {v()} with the index {n()} \(from 0\)": lambda v, n: v[n],
    rf"{v()} sorted from large to small": lambda v: sorted(v)[::-1],
    rf"the list of the running sums of {v()}": lambda v: [sum(v[: i + 1]) for i in range(len(v))],
    rf"the list of the differences between each entry of {v()} and the one before it": lambda v: [v[i] - v[i - 1] for i in range(1, len(v))],
    rf"the list of the entries of {v()} times {n('n1')}, each modulo {n('n2')}": lambda v, n1, n2: [number * n1 % n2 for number in v],
    rf"the {n()} largest entries of {v()}, the largest first": lambda n, v: sorted(v)[::-1][:n],
    rf"the sum of the entries of {v()}, each multiplied by its position counted from 1": lambda v: sum((i + 1) * number for i, number in enumerate(v)),
    rf"the median of {v()} \(of two middle entries the smaller one\)": lambda v: sorted(v)[(len(v) - 1) // 2],
    rf"the largest minus the smallest entry of {v()}": lambda v: max(v) - min(v),
    rf"the result of starting with 7 and, for each entry n of {v()}, replacing h by \(h \* {n('n1')} \+ n\) modulo {n('n2')}": lambda v, n1, n2: hashed(v, n1, n2),
    rf"the sum of the squares of the entries of {v()}, modulo {n()}": lambda v, n: sum(number**2 for number in v) % n,
    rf"the number with the decimal digits of {v()} in reverse order": lambda v: int("".join(reversed(str(v)))),
    rf"{v()} times {n('n1')}, modulo {n('n2')}": lambda v, n1, n2: v * n1 % n2,
    rf"the date \(YYYY-MM-DD\) that lies {v()} modulo {n()} days after 2000-01-01": lambda v, n: day(v, n),
    rf"the IPv4 address whose number is {v()} times {n()}, modulo 2 \*\* 32, in dotted form": lambda v, n: address(v * n % 2**32),
    rf"{v()} times {n()}, in hexadecimal without a prefix": lambda v, n: hex(v * n)[2:],
}  # fmt: skip

ZH = {
    rf"把 {v()} 按空格拆开得到的单词列表": lambda v: [word for word in v.split(" ") if word],
    rf"{v()} 中除空格外的不同字符按码位排序的列表": lambda v: distinct(v),
    rf"把 {v()} 每 {n()} 个字符切成一段的列表（最后一段可更短）": lambda v, n: pieces(v, n),
    rf"{v()} 的倒序": lambda v: "".join(reversed(v)),
    rf"{v()} 大小写互换后的文本": lambda v: exchanged(v),
    rf"{v()} 中下标（从 0 起）为 {n()} 的倍数的字符组成的文本": lambda v, n: "".join(c for i, c in enumerate(v) if i % n == 0),
    rf"把 {v()} 的前 {n()} 个字符移到末尾得到的文本": lambda v, n: v[n:] + v[:n],
    rf"把 {v()} 中每个小写字母在字母表中后移 {n()} 位（z 之后是 a）得到的文本": lambda v, n: moved(v, n),
    rf"{v()} 去掉字母 a、e、i、o、u（不分大小写）后的文本": lambda v: "".join(c for c in v if c.lower() not in set("aeiou")),
    rf"{v()} 前 {n()} 个字符的 UTF-8 字节的 Base64 编码": lambda v, n: base64.standard_b64encode(v[:n].encode()).decode(),
    rf"{v()} 的前 {n()} 个 UTF-8 字节的十六进制": lambda v, n: "".join(f"{byte:02x}" for byte in v.encode()[:n]),
    rf"{v()} 各字符码位之和": lambda v: sum(ord(c) for c in v),
    rf"{v()} 的 UTF-8 字节的 CRC-32 校验值": lambda v: zlib.crc32(v.encode()),
    rf"{v()} 的 UTF-8 字节的 Adler-32 校验值": lambda v: zlib.adler32(v.encode()),
    rf"{v()} 的 UTF-8 字节数乘以 {n()}": lambda v, n: len(v.encode()) * n,
    rf"{v()} 按长度排序（长度相同按码位）的列表": lambda v: sorted(sorted(v), key=len),
    rf"{v()} 中恰好出现一次的元素排序后的列表": lambda v: once(v),
    rf"{v()} 中多于 {n()} 个字符的元素（保持次序）": lambda v, n: [word for word in v if len(word) > n],
    rf"把 {v()} 的每个元素倒序得到的列表": lambda v: ["".join(reversed(word)) for word in v],
    rf"{v()} 中从第一个起每隔一个取的元素列表": lambda v: [word for i, word in enumerate(v) if not i % 2],
    rf"把 {v()} 的前 {n()} 个元素移到末尾得到的列表": lambda v, n: v[n:] + v[:n],
    rf"{v()} 各元素长度的列表": lambda v: [len(word) for word in v],
    rf"{v()} 各元素 UTF-8 字节的 CRC-32 对 {n()} 取模的列表": lambda v, n: crcs(v, n),
    rf"{v()} 各元素的码位之和的列表": lambda v: sums(v),
    rf"{v()} 各元素首字符连成的文本": lambda v: "".join(word[0] for word in v),
    rf"{v()} 各元素末字符连成的文本": lambda v: "".join(word[-1] for word in v),
    rf"用“(?P<sep>.)”连接 {v()} 各元素得到的文本": lambda v, sep: sep.join(v),
    rf"{v()} 中下标为 {n()}（从 0 起）的元素": lambda v, n: v[n],
    rf"{v()} 从大到小排序的列表": lambda v: sorted(v)[::-1],
    rf"{v()} 的前缀和列表": lambda v: [sum(v[: i + 1]) for i in range(len(v))],
    rf"{v()} 中每个元素减去前一个元素的差的列表": lambda v: [v[i] - v[i - 1] for i in range(1, len(v))],
    rf"{v()} 各元素乘 {n('n1')} 后对 {n('n2')} 取模的列表": lambda v, n1, n2: [number * n1 % n2 for number in v],
    rf"{v()} 中最大的 {n()} 个元素（从大到小）": lambda v, n: sorted(v)[::-1][:n],
    rf"{v()} 各元素乘以其位置（从 1 起）之和": lambda v: sum((i + 1) * number for i, number in enumerate(v)),
    rf"{v()} 的中位数（偶数个时取较小者）": lambda v: sorted(v)[(len(v) - 1) // 2],
    rf"{v()} 的最大元素与最小元素之差": lambda v: max(v) - min(v),
    rf"从 h = 7 开始，对 {v()} 的每个元素 n 依次令 h = \(h \* {n('n1')} \+ n\) mod {n('n2')} 的结果": lambda v, n1, n2: hashed(v, n1, n2),
    rf"{v()} 各元素平方和对 {n()} 取模": lambda v, n: sum(number**2 for number in v) % n,
    rf"把 {v()} 的十进制数字倒序得到的数": lambda v: int("".join(reversed(str(v)))),
    rf"{v()} 乘以 {n('n1')} 对 {n('n2')} 取模": lambda v, n1, n2: v * n1 % n2,
    rf"2000-01-01 之后第（{v()} 对 {n()} 取模）天的日期（YYYY-MM-DD）": lambda v, n: day(v, n),
    rf"编号为 {v()} 乘以 {n()} 对 2 \*\* 32 取模的 IPv4 地址（点分形式）": lambda v, n: address(v * n % 2**32),
    rf"{v()} 乘以 {n()} 的十六进制（无前缀）": lambda v, n: hex(v * n)[2:],
}  # fmt: skip

TEXT = r"(?P<value>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
OPENING = {
    "en": rf"Let (?P<name>[a-z]) be the Python string {TEXT}\. ",
    "zh": rf"设 (?P<name>[a-z]) 为 Python 字符串 {TEXT}。",
}


def answer(question: str, language: str) -> str:
    """The answer, as it is written."""
    said = question.replace("Start from the Python string a = ", "Let a be the Python string ", 1)
    found: Any = chains.answer(OPENING[language], said, language, EN if language == "en" else ZH, ast.literal_eval)
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
