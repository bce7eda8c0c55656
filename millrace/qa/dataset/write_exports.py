"""Writing the settled questions in all the formats that the settings name."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from millrace.errors import UsageError
from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.qa.dataset.write_dataset import split_of, with_images
from millrace.qa.exports import PACKAGE, Export, folder_of
from millrace.qa.settings import QaSettings
from millrace.records.summaries import ExportDone
from millrace.run.journal import read_record, sync_folder, write_json

DONE = "export.json"
"""The file in an export's folder that says how many questions it holds."""


def write_exports(settled: Sequence[Path | str], out: Path, lake: Path | None, qa: QaSettings) -> dict[str, int]:
    """Write every export of `qa.exports` into a folder of its own below `out`; returns how many questions each holds.

    A folder appears under its name only when it is complete, and one that is there is left alone.

    Raises:
        UsageError: there is no such export, or something else is in the way.
    """
    counts: dict[str, int] = {}
    for name in qa.exports:
        folder = out / folder_of(name)
        if folder.exists() and not (folder / DONE).exists():
            raise UsageError(f"{folder} is in the way and is no finished export; move it away or choose another --run-dir")
        if not folder.exists():
            _write(name, folder, settled, lake, qa)
        counts[name] = read_record(folder / DONE, ExportDone).rows
    return counts


def _write(name: str, folder: Path, settled: Sequence[Path | str], lake: Path | None, qa: QaSettings) -> None:
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    opened = load_plugin(PACKAGE, name, "export").open_export(building)
    export: Export = completed(opened, Export, f"the export '{name}'")
    rows = 0
    try:
        for item, row in with_images(settled, lake, []):
            export.add(item, row.image_bytes, item.verification.status, split_of(item, row.copy_group, qa))
            rows += 1
    finally:
        export.close()
    write_json(building / DONE, ExportDone(export=name, rows=rows))
    building.rename(folder)
    sync_folder(folder.parent)
