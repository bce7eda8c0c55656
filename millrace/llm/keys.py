"""API keys: read from the environment or a Secret block of the Prefect server, never shown.

A key lives in a `Secret`, whose text is only reachable through `reveal()`; what a server says back goes through `redact` before
it gets into a message, because some servers repeat the key they were sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from millrace.errors import UsageError
from millrace.llm.secret_blocks import read_secret_block

HIDDEN = "[key]"


class Secret:
    """A text that `str`, `repr`, formatting and pickling don't show."""

    __slots__ = ("_also", "_text")

    def __init__(self, text: str, also: tuple[Secret, ...] = ()) -> None:
        self._text = text
        self._also = also

    def reveal(self) -> str:
        """The text itself, for the header it belongs into and nothing else."""
        return self._text

    def redact(self, text: str) -> str:
        """`text` without the secret, also where a server shows only its beginning or its end."""
        for other in self._also:
            text = other.redact(text)
        secret = self._text
        if len(secret) >= 4:
            text = text.replace(secret, HIDDEN)
        if len(secret) >= 16:
            for part in (secret[:12], secret[-8:], secret[:8]):
                text = text.replace(part, HIDDEN)
        return text

    def beside(self, others: Iterable[Secret]) -> Secret:
        """This secret, which also redacts `others`."""
        return Secret(self._text, (*self._also, *others))

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> str:
        """A secret does not travel: every process reads it from its own environment."""
        raise TypeError("a secret is not pickled; each process reads it from its environment")


def read_key(variable: str | None, block: str | None = None) -> Secret | None:
    """The key in the environment variable `variable`, or in the Secret block `block`; None when the endpoint needs none.

    Raises:
        UsageError: the variable is not set, the block is not to be had, or what is there is empty or can be in no header.
    """
    if variable is not None:
        where, text = f"the environment variable {variable}", os.environ.get(variable, "").strip()
        if not text:
            raise UsageError(f"{where} (api_key_env) is not set: export {variable}=…")
    elif block is not None:
        where, text = f"the Prefect Secret block '{block}'", read_secret_block(block).strip()
        if not text:
            raise UsageError(f"{where} (api_key_block) is empty")
    else:
        return None
    return _secret(text, where)


def read_headers(variables: Mapping[str, str]) -> dict[str, Secret]:
    """Header → what it carries, of `EndpointSettings.secret_headers`.

    Raises:
        UsageError: a variable is not set or empty, or what is there can be in no header.
    """
    found = {}
    for header, variable in variables.items():
        text = os.environ.get(variable, "").strip()
        if not text:
            raise UsageError(f"the environment variable {variable} (secret_headers: {header}) is not set: export {variable}=…")
        found[header] = _secret(text, f"the environment variable {variable}")
    return found


def _secret(text: str, where: str) -> Secret:
    if not text.isascii() or not text.isprintable():
        raise UsageError(f"{where} holds characters that no key has; was something else pasted into it?")
    return Secret(text)
