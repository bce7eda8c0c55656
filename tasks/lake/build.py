"""Make the embedded lake: digit scenes in parquet shards, the same for the same seed however the work is split."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import PositiveInt

from tasks.config import Settings
from tasks.errors import InputError
from tasks.identity import content_id, hash_files, random_for
from tasks.lake.captions import converse
from tasks.lake.compose import draw_scene
from tasks.lake.recipes import RECIPES
from tasks.lake.scene import scene_to_json

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


class EmbeddedLake(Settings):
    """The lake that is made on first use when no other is given."""

    images: PositiveInt = 600
    """How many digit scenes."""
    pool: Literal["train", "probe", "heldout"] = "probe"
    """Which handwritten digits they are made of; the pools share none."""
    recipe: Literal["broad", "narrow"] = "broad"
    """broad shows everything a probe asks about, narrow is what the embedded baseline is trained on."""
    seed: int = 20
    """Same seed, same images, byte for byte."""
    rows_per_shard: PositiveInt = 200
    """Images per parquet file."""


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
    A shard appears under its name only when it is complete.

    Args:
        shard: make only this one; None makes all.
        on_image: called with 1 for every image done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = range(-(-images // rows_per_shard)) if shard is None else [shard]
    return [
        _build_shard(
            shard_path(folder, number),
            range(number * rows_per_shard, min((number + 1) * rows_per_shard, images)),
            pool=pool,
            seed=seed,
            recipe=recipe,
            on_image=on_image,
        )
        for number in shards
    ]


def default_lake(settings: EmbeddedLake, cache: Path, *, on_image: Callable[[int], None] | None = None) -> Path:
    """The folder of the embedded lake for `settings`, made below `cache` on first use."""
    folder = lake_folder(settings, cache)
    for shard in missing_shards(settings, folder):
        build_lake(folder, **settings.model_dump(), shard=shard, on_image=on_image)
    return folder


def lake_folder(settings: EmbeddedLake, cache: Path) -> Path:
    """Where the embedded lake for `settings` is kept below `cache`.

    Its name is a hash over the settings and the code that draws, so a changed program never meets an old lake.
    """
    return cache / "lakes" / content_id("lake", settings.model_dump(mode="json"), hash_files(Path(__file__).parent))


def missing_shards(settings: EmbeddedLake, folder: Path) -> list[int]:
    """The numbers of the shards that are not in `folder` yet; a shard that has its name is whole."""
    shards = range(-(-settings.images // settings.rows_per_shard))
    return [shard for shard in shards if not shard_path(folder, shard).exists()]


def shard_path(folder: Path, shard: int) -> Path:
    """The file of shard number `shard`."""
    return folder / f"lake-{shard:05d}.parquet"


def encode_scene(index: int, *, pool: str, seed: int, recipe: str) -> dict[str, object]:
    """Row number `index` of a lake, as the parquet file holds it."""
    rng = random_for(seed, "scene", pool, recipe, str(index))
    drawn = draw_scene(rng, pool=pool, recipe=RECIPES[recipe])
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


def _build_shard(
    file: Path, indices: range, *, pool: str, seed: int, recipe: str, on_image: Callable[[int], None] | None
) -> Path:
    if file.exists():
        return file
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with pq.ParquetWriter(part, SCHEMA, compression="none") as writer:
            for start in range(0, len(indices), ROWS_PER_GROUP):
                rows = []
                for index in indices[start : start + ROWS_PER_GROUP]:
                    rows.append(encode_scene(index, pool=pool, seed=seed, recipe=recipe))
                    if on_image:
                        on_image(1)
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        part.replace(file)
    except OSError as error:
        raise InputError(f"the embedded lake cannot be written to {file.parent}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return file
