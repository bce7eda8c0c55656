"""Before anything is started: is the question stage's config workable, and what will be done?"""

from __future__ import annotations

from millrace.errors import UsageError
from millrace.llm.settings import chats_in, refuse_batches
from millrace.llm.trial import trials_in
from millrace.plugins.loading import load_plugin
from millrace.qa.exports import folder_of
from millrace.qa.settings import QaSettings
from millrace.qa.writers import writer_settings

EXPORTS = "millrace.qa.exports"


def check(settings: QaSettings) -> None:
    """See that the plug-ins that `settings` names are there and take what it gives them.

    Raises:
        UsageError: what is wrong, in one sentence.
    """
    refuse_batches(chats_in(writer_settings(settings.writer)), "the writer of questions")
    folders: dict[str, str] = {}
    for name in settings.exports:
        load_plugin(EXPORTS, name, "export")
        folder = folder_of(name)
        if folders.setdefault(folder, name) != name:
            both = f"the exports '{folders[folder]}' and '{name}'"
            raise UsageError(f"{both} would both be written into exports/{folder}; rename one")


def reach(settings: QaSettings) -> list[str]:
    """See that every model that the writer uses answers one question as the run will ask it; a line for each.

    Raises:
        UsageError: one does not; the message says which and what to do.
    """
    trials = trials_in(writer_settings(settings.writer))
    if not trials:
        return []
    from millrace.llm.preflight import reach_all  # brings httpx: only where there is an endpoint

    return reach_all(trials)


def plan_lines(settings: QaSettings) -> list[str]:
    """What the stage will do, for `--dry-run`. Touches nothing."""
    check(settings)
    shares = ", ".join(f"{share:.0%} {name}" for name, share in settings.question_type_ratio.shares().items() if share)
    writer = settings.writer.get("name", "template")
    exports = f", exports {', '.join(settings.exports)}" if settings.exports else ""
    return [f"questions: writer '{writer}', language {settings.language}, {shares}; keep {settings.keep}{exports}"]
