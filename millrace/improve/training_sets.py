"""From arms to files: every arm's training set in the trainer's format, and the images that they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from millrace.errors import RunFailed
from millrace.improve.arms import ArmSize, Drawn, Pool, arm_name, draw_arm, training_record
from millrace.improve.formats import open_format
from millrace.improve.settings import ImproveSettings
from millrace.improve.sizes import name_of, sizes_asked
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import BadRow
from millrace.records.improve import PoolItem, TrainingJob
from millrace.run.ids import content_id
from millrace.run.journal import write_atomic

IMAGES = "images"


def jobs_of(settings: ImproveSettings, probing: Mapping[str, Any], folder: Path, format_name: str) -> list[TrainingJob]:
    """All trainings, seed by seed, so that the first that end are one of each arm. `probing`: the settings of the run's."""
    file = open_format(format_name).FILE
    return [
        TrainingJob(
            arm=arm,
            number=number,
            seed=int(content_id("s", settings.seed, "training", number, length=12)[2:], 16),
            steps=settings.steps,
            images_per_step=settings.images_per_step,
            records_per_image=settings.records_per_image,
            base=dict(probing["baseline"]),
            folder=str(folder / "trainings" / f"{arm_name(arm)}-{number}"),
            dataset=str(folder / "trainings" / f"{arm_name(arm)}-{number}" / file),
            tuning=str(folder / "sets" / f"tuning-{file}"),
            images=str(folder / "sets"),
            result=str(folder / "trainings" / f"{arm_name(arm)}-{number}" / "model"),
            claims=str(probing["claims"]),
        )
        for number in range(settings.seeds)
        for arm in (*settings.arms, *(name_of(arm, size) for arm, size in sizes_asked(settings)))
    ]


def draw_all(settings: ImproveSettings, pool: Pool) -> dict[tuple[str, int], list[Drawn]]:
    """(arm, number) → its records. Raises InputError as `draw_arm` does."""
    whole = ArmSize(settings.images, settings.records_per_image, settings.failure_share, settings.target, settings.replay_share)
    wanted = [(arm, 1.0) for arm in settings.arms] + sizes_asked(settings)
    return {
        (name_of(arm, size), number): draw_arm(
            arm, pool, replace(whole, images=round(size * whole.images)), settings.seed * 1000 + number
        )
        for arm, size in wanted
        for number in range(settings.seeds)
    }


def write_sets(
    jobs: Sequence[TrainingJob],
    drawn: Mapping[tuple[str, int], Sequence[Drawn]],
    tuning: Sequence[PoolItem],
    format_name: str,
    names: Mapping[str, str],
) -> None:
    """Write the training sets, and the records to tune on, that are not there yet.

    Args:
        jobs: all of them.
        drawn: from `draw_all`.
        tuning: records that are in no arm.
        format_name: of `millrace.improve.formats`.
        names: image (SHA-256) → its file below `sets/`.
    """
    form = open_format(format_name)
    for job in jobs:
        path = Path(job.dataset)
        if not path.exists():
            records = [training_record(one, names[one.item.sha256]) for one in drawn[job.arm, job.number]]
            path.parent.mkdir(parents=True, exist_ok=True)
            form.write(records, Path(job.images), path)
    if jobs and not Path(jobs[0].tuning).exists():
        kept = [training_record(Drawn(item, item), names[item.sha256]) for item in tuning]
        form.write(kept, Path(jobs[0].images), Path(jobs[0].tuning))


def write_images(file: str, rows: Sequence[int], lake: Path, out: Path) -> dict[str, str]:
    """Copy the images of one parquet file as they are stored; returns image (SHA-256) → file below `out`.

    Raises:
        RunFailed: an image is not there any more, or is another.
    """
    names: dict[str, str] = {}
    path = lake if lake.is_file() else lake / file
    for row in stream_rows(path, rows, lake=lake):
        if isinstance(row, BadRow):
            raise RunFailed(f"row {row.ref.row} of {path} was probed and can no longer be read ({row.reason}); restore the lake")
        name = f"{IMAGES}/{row.ref.sha256}.{_ending(row.image_bytes)}"
        names[row.ref.sha256] = name
        if not (out / name).exists():
            write_atomic(out / name, row.image_bytes)
    return names


def _ending(data: bytes) -> str:
    for magic, ending in ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"BM", "bmp")):
        if data.startswith(magic):
            return ending
    return "webp" if data[8:12] == b"WEBP" else "img"


def rows_by_file(items: Iterable[PoolItem]) -> dict[str, list[int]]:
    """Parquet file → the rows that are wanted of it, ascending."""
    rows: dict[str, set[int]] = {}
    for item in items:
        rows.setdefault(item.file, set()).add(item.row)
    return {file: sorted(found) for file, found in sorted(rows.items())}
