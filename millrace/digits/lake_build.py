"""Make the embedded lake: digit scenes in parquet shards, the same for the same seed however the work is split."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from millrace.config import cache_folder
from millrace.digits.scenes.captions import converse
from millrace.digits.scenes.compose import draw_scene
from millrace.digits.scenes.rare import LAKE_RECIPES
from millrace.digits.scenes.scene import scene_to_json
from millrace.errors import InputError, UsageError, did_you_mean
from millrace.run.ids import content_id, hash_files, random_for

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("jpg", pa.binary()),
        ("conversations", pa.list_(pa.struct([("assistant", pa.string()), ("usr", pa.string())]))),
        ("scene", pa.string()),
        ("label_map", pa.binary()),
    ]
)
"""The original's columns (`jpg`, `conversations`), an id, and the annotation twice: in words and in pixels."""

PNG_SHARE = 0.1
"""Share of images stored as PNG, so that both kinds are met."""

JPEG_QUALITY = 92
"""With full colour resolution: a thin orange stroke must not lose its orange to the encoder."""

ROWS_PER_GROUP = 64


class LakePlan(msgspec.Struct, frozen=True):
    """An embedded lake: what it will hold and where. Same plan, same images, byte for byte."""

    folder: Path
    images: int
    pool: str = "probe"
    """Which handwritten digits the scenes are made of (`millrace.digits.scenes.scene.POOLS`); the pools share none."""
    seed: int = 20
    recipe: str = "broad"
    """A name in `millrace.digits.scenes.rare.LAKE_RECIPES`."""
    rows_per_shard: int = 200

    @property
    def shards(self) -> list[Path]:
        """The parquet files it consists of."""
        return [self.folder / f"lake-{number:05d}.parquet" for number in range(-(-self.images // self.rows_per_shard))]

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be made. A shard has its name only when it is complete."""
        return [number for number, file in enumerate(self.shards) if not file.exists()]


def plan_lake(
    *,
    images: int,
    pool: str = "probe",
    seed: int = 20,
    recipe: str = "broad",
    rows_per_shard: int = 200,
    cache: Path | None = None,
) -> LakePlan:
    """The plan of the embedded lake with these settings, in a folder of its own below `cache` (None: the shared cache folder).

    The folder's name is a hash over the settings and over the code that draws, so a changed program never meets an old lake.
    """
    if recipe not in LAKE_RECIPES:
        raise UsageError(f"no embedded lake of the kind '{recipe}'{did_you_mean(recipe, LAKE_RECIPES)}")
    plan = LakePlan(Path(), images, pool, seed, recipe, rows_per_shard)
    key = content_id(
        "lake", msgspec.to_builtins(plan, enc_hook=str), hash_files(Path(__file__), Path(__file__).parent / "scenes")
    )
    return msgspec.structs.replace(plan, folder=(cache or cache_folder()) / "lakes" / key)


def default_lake(plan: LakePlan, *, on_image: Callable[[int], None] | None = None) -> Path:
    """The folder of the embedded lake of `plan`; what is missing of it is made now."""
    for number in plan.missing:
        build_shard(plan, number, on_image=on_image)
    return plan.folder


def build_lake(
    folder: Path,
    *,
    images: int,
    pool: str,
    seed: int,
    recipe: str = "broad",
    rows_per_shard: int = 200,
    shard: int | None = None,
    on_image: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write `images` digit scenes into `folder` as `lake-00000.parquet` …; returns the files written or found finished.

    An image depends on (seed, pool, recipe, its index) alone, so shards may be made in any order and in any number of processes.

    Args:
        shard: make only this one; None makes all.
        on_image: called with 1 for every image done.
    """
    plan = LakePlan(folder, images, pool, seed, recipe, rows_per_shard)
    return [build_shard(plan, number, on_image=on_image) for number in (range(len(plan.shards)) if shard is None else [shard])]


def build_shard(plan: LakePlan, number: int, *, on_image: Callable[[int], None] | None = None) -> Path:
    """Make one shard of a lake, unless it is there; it appears under its name only when it is complete.

    Raises:
        InputError: the folder cannot be written to.
    """
    file = plan.shards[number]
    if file.exists():
        return file
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    indices = range(number * plan.rows_per_shard, min((number + 1) * plan.rows_per_shard, plan.images))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _sweep(file)
        with pq.ParquetWriter(part, SCHEMA, compression="none") as writer:
            for start in range(0, len(indices), ROWS_PER_GROUP):
                rows = []
                for index in indices[start : start + ROWS_PER_GROUP]:
                    rows.append(encode_scene(index, pool=plan.pool, seed=plan.seed, recipe=plan.recipe))
                    if on_image:
                        on_image(1)
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InputError(f"the embedded lake cannot be written to {file.parent}: {error.strerror or error}") from error
    return file


def _sweep(file: Path) -> None:
    """Remove what killed builds of this shard left; a part younger than an hour may belong to a build at work."""
    for part in file.parent.glob(f".{file.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def encode_scene(index: int, *, pool: str, seed: int, recipe: str) -> dict[str, object]:
    """Row number `index` of a lake, as the parquet file holds it."""
    rng = random_for(seed, "scene", pool, recipe, str(index))
    drawn = draw_scene(rng, pool=pool, recipe=LAKE_RECIPES[recipe])
    as_png = rng.random() < PNG_SHARE
    picture = BytesIO()
    if as_png:
        Image.fromarray(drawn.rgb).save(picture, "PNG", compress_level=3)
    else:
        Image.fromarray(drawn.rgb).save(picture, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    data = picture.getvalue()
    return {
        "image_id": content_id("img", data.hex()),
        "jpg": data,
        "conversations": converse(drawn.scene, rng),
        "scene": scene_to_json(drawn.scene),
        "label_map": encode_labels(drawn.labels),
    }


def encode_labels(labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """A label map as PNG bytes."""
    file = BytesIO()
    Image.fromarray(labels).save(file, "PNG", compress_level=3)
    return file.getvalue()
