"""What the question stage will ask of chat models at most, for `--dry-run`."""

from __future__ import annotations

from millrace.llm.estimate import Planned, about_a_picture
from millrace.llm.settings import ModelSettings, chats_in
from millrace.qa.settings import QaSettings
from millrace.qa.writers import blind_tries, writer_settings


def expected_calls(settings: QaSettings, failures: int) -> list[tuple[ModelSettings, Planned]]:
    """The calls of writer and answerers for so many failures, all repairs included; empty when no chat model writes.

    Covers and does not cover: as for probing's. What an annotation can answer is written by templates and costs no call.
    """
    writer = writer_settings(settings.writer)
    chats = chats_in(writer)
    if not chats:
        return []
    drafts = failures * settings.items_per_failure * (1 + settings.max_repairs)
    author, answerers = chats[0], chats[1:] or chats[:1]
    calls = [(author, about_a_picture("write", drafts))]
    calls += [(chat, about_a_picture("answer", drafts)) for chat in answerers]
    blind = drafts * blind_tries(writer)
    if blind:
        calls.append((answerers[0], about_a_picture("blind", blind, pictures=0)))
    return calls
