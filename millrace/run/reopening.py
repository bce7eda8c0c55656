"""A finished stage is resumed where it is outdated: its input has grown, or a limit that cut something off is higher.

Covers: a kill at any moment of it (the folder still holds the old config, so the next start finds the rest), a config that
differs in more than that (refused before anything is touched). Does not cover: answers that were not kept (`cache: off`): those
of the stages that start over are paid for again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from millrace.run.folder import RunFolder
from millrace.run.stage import Stage


def take_up(stages: Sequence[Stage], run_dir: Path) -> None:
    """Take back what is outdated of a run's results, and all that was made of it.

    Raises:
        UsageError: the folder holds a run of another config, or is in use.
    """
    outdated = [stage for stage in stages if stage.outdated(run_dir)]
    if not outdated:
        return
    with RunFolder.held(run_dir, {stage.section: stage.config for stage in stages}) as folder:
        for stage in outdated:
            folder.unfinish((stage.section, *stage.feeds))
            for name in reversed(stage.feeds):
                (folder.path / name / "summary.json").unlink(missing_ok=True)
                shutil.rmtree(folder.path / name, ignore_errors=True)
            (folder.path / stage.name / "summary.json").unlink(missing_ok=True)
            stage.reopen(folder.path / stage.name)
