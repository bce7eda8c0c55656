"""What a server's refusal means: the class of the failure, how long to wait, and a short text without the key."""

from __future__ import annotations

import email.utils
import re
import time
from typing import Any

import httpx
import orjson

from millrace.llm.failures import AttemptFailed
from millrace.llm.keys import Secret
from millrace.llm.transport.exchange import Answer
from millrace.llm.transport.reply_parts import items, loose_json, mapping, token_count

LONGEST_WAIT_S = 600.0
"""A server that asks for a longer pause is asked again after this."""

SHOWN = 300
"""Characters of a server's message that get into ours."""

EMPTY_ACCOUNT = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|billing_hard_limit|credit balance is too low|out of credits|arrearage"
    r"|exceeded your current quota|payment required|please (recharge|top up)|(not enough|no remaining) (credits?|balance)",
    re.IGNORECASE,
)
"""A refusal with one of these, whatever its status, may mean an empty account; so do some limits per minute, which pass. Only
time tells them apart.
"""

LIMIT_REACHED = re.compile(r"rate_?limit_?exceeded|userRateLimitExceeded|resource_exhausted|quota exceeded", re.IGNORECASE)
"""A 403 with one of these is what others say by 429 (Google's older APIs)."""

FILTER_CODE = re.compile(
    r"content_?(filter|policy|moderation)|responsible_?ai|data_?inspection|moderation|sensitive_?(content|word)|prohibited_?content"
    r"|policy_?violation|unsafe_?content|safety_?(block|violation|filter|error)|guardrail|^1301$",
    re.IGNORECASE,
)
"""Codes and types of a filter's refusal: Azure, OpenAI, DashScope, Zhipu, LiteLLM and others."""

FILTER_WORDS = re.compile(
    r"content[ _-]?(management|filter\w*|policy|policies|moderation)|safety (system|filter|polic)|(was|been|were|is|are) flagged"
    r"|moderation (block|refus|fail|error|system|endpoint)|inappropriate content|harmful content|unsafe content|guardrail"
    r"|usage polic(y|ies)|considered high risk|(prohibited|sensitive|disallowed) (content|use|words?|information)"
    r"|blocked (by|due to) (the )?(\w+ )?(safety|filter|polic|moderation)",
    re.IGNORECASE,
)
"""The same in words, where the code says nothing."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_TRY_AGAIN = re.compile(
    r"(?:retry|try again|wait|reset\w*)\s+(?:in|after|for)?\s*((?:\d+(?:\.\d+)?\s*(?:ms|s|m|h)[a-z]*\s*)+)", re.I
)
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def failure_of(answer: Answer, place: str, key: Secret | None) -> AttemptFailed:
    """The failure that an answer with another status than 200 stands for."""
    status = answer.status
    said = message_in(answer, key)
    where = f"{place} answered {status}" + (f": {said}" if said else "")
    wait_s = wait_asked(answer)
    if 300 <= status < 400:
        target = (key.redact if key else str)(answer.headers.get("location", "nowhere"))[:SHOWN]
        return AttemptFailed("rejected", f"{where} (redirects to {target}; put the right URL into base_url)", status=status)
    account = status == 402 or (status in {400, 403, 429} and EMPTY_ACCOUNT.search(said + _codes(answer)) is not None)
    if status == 429 or account or (status == 403 and LIMIT_REACHED.search(said + _codes(answer))):
        return AttemptFailed("overload", where, status=status, retry_after_s=wait_s, account_empty=account and wait_s is None)
    if status in {401, 403} or (status == 400 and b"API_KEY_INVALID" in answer.body):  # Gemini's way of saying 401
        return AttemptFailed("credentials", where, status=status)
    if status in {503, 529}:
        return AttemptFailed("overload", where, status=status, retry_after_s=wait_s)
    if status >= 500 or status in {408, 409, 425} or status < 200:
        return AttemptFailed("server", where, status=status, retry_after_s=wait_s)
    if 200 <= status < 300:
        return AttemptFailed("malformed", f"{where}, which is no answer to a chat request", status=status)
    return AttemptFailed("rejected", where, status=status)


def _codes(answer: Answer) -> str:
    """The beginning of the body as it is: an error's code stands there beside its message."""
    return answer.body[:2048].decode("utf-8", "replace") if not answer.body.lstrip().startswith(b"<") else ""


def blocked_by_filter(answer: Answer, key: Secret | None) -> str | None:
    """What the server says where a content filter of its own refused the request; None for every other answer.

    Filters answer in all ways: by 400, 403 or 451, with a code of their own or in words only, and through proxies by a status
    inside an answer of status 200.
    """
    if answer.status not in {200, 400, 403, 406, 422, 451} or (answer.status == 200 and b'"error"' not in answer.body):
        return None
    try:
        value = loose_json(answer.body)
    except ValueError:
        return None
    value = value[0] if isinstance(value, list) and value else value
    if answer.status == 200 and not mapping(value).get("error"):
        return None
    told = mapping(mapping(value).get("error")) or mapping(value)
    inner = mapping(told.get("innererror"))
    codes = [told.get("code"), told.get("type"), inner.get("code"), mapping(value).get("code"), mapping(value).get("type")]
    if not any(FILTER_CODE.search(str(code)) for code in codes if code) and not FILTER_WORDS.search(message_in(answer, None)):
        return None
    return message_in(answer, key)


def failure_inside(answer: Answer, place: str, key: Secret | None) -> AttemptFailed | None:
    """The failure that a proxy reports in an answer of status 200; None when it reports none with a status of its own."""
    try:
        value = mapping(loose_json(answer.body))
    except ValueError:
        return None
    first = mapping(next(iter(items(value.get("choices"))), None))
    for told in (value, first, mapping(first.get("message"))):
        code = token_count(mapping(told.get("error")).get("code"))
        if code is not None and 400 <= code < 600:
            return failure_of(Answer(code, answer.headers, orjson.dumps({"error": told["error"]})), place, key)
    return None


def message_in(answer: Answer, key: Secret | None) -> str:
    """The server's own words, short, on one line, without the key."""
    text = whole_message(answer)
    return (key.redact(text) if key is not None else text)[:SHOWN]


def whole_message(answer: Answer) -> str:
    """All that the server says, on one line; not to be shown, because some repeat the key they were sent."""
    text = answer.body[:65536].decode("utf-8", "replace")
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        start = text.lstrip()[:200].lower()
        if start.startswith(("<!doctype", "<html", "<head")):
            title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
            text = f"a web page{' titled ' + repr(title[1].strip()[:80]) if title else ''}"
    else:
        text = _text_of(value)
    return " ".join(text.split())


def wait_asked(answer: Answer) -> float | None:
    """Seconds the server asks to wait, by its headers (or those a proxy passes on) or by Gemini's body; None if it doesn't."""
    headers = answer.headers
    for name in ("retry-after-ms", "llm_provider-retry-after-ms"):
        if (number := _number(headers.get(name))) is not None:
            return _sane(number / 1000)
    for name in ("retry-after", "llm_provider-retry-after"):
        value = headers.get(name)
        if value is None:
            continue
        if (number := _number(value)) is not None:
            return _sane(number)
        date = email.utils.parsedate_tz(value)
        if date is not None:
            return _sane(email.utils.mktime_tz(date) - time.time())
    found = re.search(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"', answer.body) if b"retryDelay" in answer.body else None
    if found:
        return _sane(float(found[1]))
    if answer.status != 429:
        return None
    resets = [duration(headers.get(f"x-ratelimit-reset-{what}")) for what in ("requests", "tokens")]
    resets += [_from_now(headers.get(name)) for name in ("x-ratelimit-reset", "ratelimit-reset")]
    told = [reset for reset in resets if reset is not None]
    if told:
        return _sane(max(told))
    said = _TRY_AGAIN.search(whole_message(answer))
    if said is None:
        return None
    parts = _DURATION.findall(said[1].replace(" ", ""))
    return _sane(sum(float(number) * _UNIT_S[unit] for number, unit in parts)) if parts else None


def quota_pause(headers: httpx.Headers) -> float | None:
    """Seconds until the quota that a *successful* answer reports as used up is filled again; None when there is some left."""
    if "x-ratelimit-remaining-requests" not in headers and "x-ratelimit-remaining-tokens" not in headers:
        return None
    pauses: list[float] = []
    for what in ("requests", "tokens"):
        if _number(headers.get(f"x-ratelimit-remaining-{what}")) == 0:
            reset = duration(headers.get(f"x-ratelimit-reset-{what}"))
            if reset is not None:
                pauses.append(min(reset, 60.0))
    return max(pauses, default=None)


def duration(text: str | None) -> float | None:
    """Seconds in `1s`, `6m0s`, `20ms` or a plain number; None for anything else."""
    if text is None:
        return None
    if (number := _number(text)) is not None:
        return number
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _from_now(text: str | None) -> float | None:
    """Seconds until a limit is reset, given as such, or as a moment in seconds or milliseconds since 1970."""
    number = duration(text) if text is None or not text.isdigit() else float(text)
    if number is None or number < 1e8:
        return number
    return number / (1000 if number > 1e11 else 1) - time.time()


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < 1e9 else None


def _sane(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def _text_of(value: Any) -> str:
    """The message inside the usual shapes of error bodies."""
    if isinstance(value, list) and value:
        return _text_of(value[0])
    if isinstance(value, dict):
        for name in ("error", "message", "detail", "msg"):
            if value.get(name):
                inner = _text_of(value[name])
                code = value.get("code") or value.get("type")
                return f"{inner} ({code})" if isinstance(code, str) and code not in inner and name == "message" else inner
    return value if isinstance(value, str) else orjson.dumps(value).decode()
