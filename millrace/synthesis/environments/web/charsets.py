"""Bytes as text, by the character set that the HTML standard wants: byte order mark, then the header, then the page's own word.

Labels mean what they mean on the web and not what Python's codecs of that name do: `iso-8859-1` is windows-1252, `gb2312` is
gb18030, `shift_jis` is windows-31j. A label that the web does not know is passed over; where none is left the text is UTF-8, or,
where it cannot be that, windows-1252, in which every byte is a character: nothing is lost.
https://encoding.spec.whatwg.org/  https://html.spec.whatwg.org/multipage/parsing.html#determining-the-character-encoding
"""

from __future__ import annotations

import codecs
import html.parser
import re

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
LOOKED_AT = 4_096
"""Where a page must name its character set. Browsers look ahead at 1,024 bytes and start again for a name that comes later."""

SINGLE = frozenset(
    {"cp866", "cp874", *(f"cp{number}" for number in range(1250, 1259)), "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"}
    | {f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
)
"""Codecs of one byte a character, by Python's names."""

SEVERAL = frozenset({"utf-8", "utf-16-le", "utf-16-be", "gb18030", "big5hkscs", "euc_jp", "iso2022_jp", "cp932", "cp949"})

ON_THE_WEB = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874", "gbk": "gb18030",
    "gb2312": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949", "utf-16": "utf-16-le",
}  # fmt: skip
"""What a label of Python's codec means on the web."""

LABELS = {
    "unicode-1-1-utf-8": "utf-8", "unicode11utf8": "utf-8", "unicode20utf8": "utf-8", "x-unicode20utf8": "utf-8",
    "unicode": "utf-16-le", "ucs-2": "utf-16-le", "iso-10646-ucs-2": "utf-16-le", "unicodefeff": "utf-16-le",
    "unicodefffe": "utf-16-be", "csunicode": "utf-16-le", "dos-874": "cp874", "logical": "iso8859-8", "visual": "iso8859-8",
    "iso-8859-8-i": "iso8859-8", "iso-8859-8-e": "iso8859-8", "koi8-ru": "koi8-u", "koi": "koi8-r", "koi8": "koi8-r",
    "mac": "mac-roman", "x-mac-ukrainian": "mac-cyrillic", "windows-31j": "cp932", "x-user-defined": "cp1252",
    "gb_2312-80": "gb18030", "csgb2312": "gb18030", "csgb231280": "gb18030", "csiso58gb231280": "gb18030", "chinese": "gb18030",
    "cseuckr": "cp949", "csksc56011987": "cp949", "korean": "cp949", "x-x-big5": "big5hkscs", "cn-big5": "big5hkscs",
}  # fmt: skip
"""Labels of the standard that Python has no name for."""

LABEL = r"[A-Za-z0-9_.:()+-]{1,40}"
IN_HEADER = re.compile(rf"charset\s*=\s*[\"']?\s*({LABEL})", re.IGNORECASE)
IN_XML = re.compile(rf"^<\?xml\s[^>]{{0,200}}?encoding\s*=\s*[\"']\s*({LABEL})")


def text_of(body: bytes, content_type: str, kind: str) -> str:
    """A body as text.

    Args:
        body: the bytes, decompressed.
        content_type: the header `Content-Type`.
        kind: its media type, lower case.
    """
    for mark, name in MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    named = IN_HEADER.search(content_type)
    codec = codec_of(named[1]) if named else None
    if codec is None and ("html" in kind or "xml" in kind):
        found = _named_inside(body[:LOOKED_AT].decode("latin-1"), kind)
        # a name that could be read as ASCII is not that of a UTF-16 text
        codec = next(("utf-8" if codec.startswith("utf-16") else codec for codec in map(codec_of, found) if codec), None)
    if codec is None:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            codec = "cp1252"
    return body.decode(codec, C1 if codec in SINGLE else "replace")


def codec_of(label: str) -> str | None:
    """Python's codec for a label of the web; None for one that it does not know."""
    plain = label.strip().lower()
    short = plain.removeprefix("x-")
    numbered = re.sub(r"^windows-(\d+)$", r"cp\1", re.sub(r"^iso_?8859-?(\d+)$", r"iso8859-\1", short))
    for name in (plain, short, numbered):
        if name in LABELS:
            return LABELS[name]
        try:
            codec = codecs.lookup(name).name
        except (LookupError, ValueError):
            continue
        codec = ON_THE_WEB.get(codec, codec)
        if codec in SINGLE or codec in SEVERAL:
            return codec
    return None


C1 = "millrace.c1"


def _as_control(error: UnicodeError) -> tuple[str, int]:
    """A byte that a single-byte set leaves open is the control character of its number, as browsers have it."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(map(chr, error.object[error.start : error.end])), error.end


codecs.register_error(C1, _as_control)


class _Named(html.parser.HTMLParser):
    """The character sets that a page's beginning names in `<meta>`; comments, scripts and titles name none."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._text_only = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("title", "textarea") and not self._text_only:
            self._text_only = tag
        if tag != "meta" or self._text_only:
            return
        given = dict(reversed(attrs))  # of an attribute that is there twice the first counts
        if given.get("charset"):
            self.found.append(str(given["charset"]))
        elif str(given.get("http-equiv") or "").strip().lower() == "content-type":
            self.found += [match[1] for match in IN_HEADER.finditer(str(given.get("content") or ""))][:1]

    def handle_endtag(self, tag: str) -> None:
        if tag == self._text_only:
            self._text_only = ""


def _named_inside(beginning: str, kind: str) -> list[str]:
    declared = [match[1] for match in [IN_XML.match(beginning)] if match]
    if "html" not in kind:
        return declared
    reader = _Named()
    reader.feed(beginning)
    return [*reader.found, *declared]
