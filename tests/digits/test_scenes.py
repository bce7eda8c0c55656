from __future__ import annotations

import colorsys
import os
import subprocess
import sys
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from millrace.digits.annotation import scene_of
from millrace.digits.lake_build import LakePlan, build_lake, build_shard, default_lake, encode_scene, plan_lake
from millrace.digits.scenes.captions import caption
from millrace.digits.scenes.compose import Drawn, compose_scene, draw_scene
from millrace.digits.scenes.handwriting import stroke_of
from millrace.digits.scenes.layout import MIN_VISIBLE
from millrace.digits.scenes.pools import pick_source, pool_sources
from millrace.digits.scenes.rare import LAKE_RECIPES
from millrace.digits.scenes.recipes import BROAD, NARROW, RECIPES
from millrace.digits.scenes.scene import (
    COLOURS,
    FACTORS,
    POOLS,
    SIZE_RANGES,
    SIZES,
    TURNABLE,
    Scene,
    scene_from_json,
    scene_to_json,
)
from millrace.errors import InputError, UsageError
from millrace.lake.parquet import LakeRow, lake_files, stream_rows

seeds = st.integers(0, 10**9)
many = settings(max_examples=60, deadline=None)


def drawn_with(factor: str, count: int, recipe: str = "broad") -> list[Drawn]:
    """Scenes in which `factor` holds."""
    found: list[Drawn] = []
    number = 0
    while len(found) < count:
        drawn = draw_scene(Random(number), pool="probe", recipe=RECIPES[recipe])
        found += [drawn] if factor in drawn.scene.factors else []
        number += 1
    return found


def test_no_digit_is_in_two_pools() -> None:
    seen: set[int] = set()
    for pool in POOLS:
        sources = {source for row in pool_sources(pool).values() for source in row}
        assert not seen & sources
        assert all(len(row) >= 20 for row in pool_sources(pool).values())
        seen |= sources
    assert len(seen) > 1700


def test_every_digit_is_the_one_scikit_learn_has_in_that_row() -> None:
    labels = load_digits().target
    for pool in POOLS:
        for label, sources in pool_sources(pool).items():
            assert set(labels[list(sources)]) == {label}


@many
@given(seeds, st.sampled_from(POOLS))
def test_a_scene_is_made_of_its_own_pools_digits(seed: int, pool: str) -> None:
    scene = draw_scene(Random(seed), pool=pool).scene
    assert scene.pool == pool
    assert all(digit.source in pool_sources(pool)[digit.label] for digit in scene.digits)


@many
@given(seeds, st.sampled_from(sorted(RECIPES)), st.sampled_from([96, 224, 320]))
def test_the_label_map_and_the_annotation_say_the_same(seed: int, recipe: str, side: int) -> None:
    picture, scene, labels = compose_scene(Random(seed), pool="probe", recipe=RECIPES[recipe], side=side)
    assert (picture.mode, picture.size, labels.shape, labels.dtype) == ("RGB", (side, side), (side, side), np.uint8)
    assert (scene.width, scene.height) == (side, side)
    assert [digit.id for digit in scene.digits] == list(range(1, len(scene.digits) + 1))
    assert set(np.unique(labels).tolist()) == {0, *(digit.id for digit in scene.digits)}
    for digit in scene.digits:
        ys, xs = np.nonzero(labels == digit.id)
        x0, y0, x1, y1 = digit.box
        seen = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        assert 0 < x0 <= seen[0] < seen[2] <= x1 < side
        assert 0 < y0 <= seen[1] < seen[3] <= y1 < side
        if digit.visible == 1:
            assert seen == digit.box
        assert MIN_VISIBLE - 0.001 <= digit.visible <= 1


@many
@given(seeds)
def test_sizes_turns_and_colours_are_what_their_words_mean(seed: int) -> None:
    for digit in draw_scene(Random(seed), pool="train").scene.digits:
        low, high = SIZE_RANGES[digit.size]
        longer = max(digit.box[2] - digit.box[0], digit.box[3] - digit.box[1]) / 224
        assert low - 0.02 <= longer <= high * 1.08 + 0.01
        assert digit.colour in COLOURS
        assert digit.turn == 0 or digit.turn in TURNABLE[digit.label]
    assert all(SIZE_RANGES[a][1] * 1.08 + 0.01 < SIZE_RANGES[b][0] - 0.02 for a, b in pairwise(SIZES))


@many
@given(seeds)
def test_digits_keep_apart_unless_one_covers_another(seed: int) -> None:
    digits = draw_scene(Random(seed), pool="probe").scene.digits
    for back in digits:
        for front in digits[back.id :]:
            apart = (
                front.box[0] >= back.box[2]
                or front.box[2] <= back.box[0]
                or front.box[1] >= back.box[3]
                or front.box[3] <= back.box[1]
            )
            assert apart or (back.visible < 1 and front.colour != back.colour and front.z > back.z)


@many
@given(seeds)
def test_factors_are_read_off_the_finished_scene(seed: int) -> None:
    scene = draw_scene(Random(seed), pool="probe").scene
    assert list(scene.factors) == [factor for factor in FACTORS if factor in scene.factors]
    assert ("crowded" in scene.factors) == (len(scene.digits) >= 4)
    assert ("rotated" in scene.factors) == any(digit.turn for digit in scene.digits)
    assert ("small_size" in scene.factors) == any(digit.size == "small" for digit in scene.digits)
    assert ("occlusion" in scene.factors) == any(digit.visible < 0.95 for digit in scene.digits)
    assert len({"noise", "low_light", "blur"} & set(scene.factors)) <= 1


def _sharpness(rgb: np.ndarray) -> float:
    grey = rgb.astype(float).mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).max() + np.abs(np.diff(grey, axis=1)).max())


def test_each_nuisance_does_what_its_name_says() -> None:
    factors = ("noise", "low_light", "blur", "clutter")
    plain = msgspec.structs.replace(
        BROAD, **dict.fromkeys((*factors, "occlusion", "small_size"), 0.0), counts=(0, 0, 1), backgrounds=("white",)
    )
    for number in range(8):
        rgb = {"plain": draw_scene(Random(number), pool="probe", recipe=plain).rgb}
        for factor in factors:
            recipe = msgspec.structs.replace(plain, **{factor: 1.0})
            drawn = draw_scene(Random(number), pool="probe", recipe=recipe)
            assert factor in drawn.scene.factors
            rgb[factor] = drawn.rgb
        assert rgb["low_light"].mean() < 0.55 * rgb["plain"].mean()
        assert _sharpness(rgb["blur"]) < 0.5 * _sharpness(rgb["plain"])
        assert (
            np.abs(np.diff(rgb["noise"].astype(int), axis=0)).mean()
            > 3 * np.abs(np.diff(rgb["plain"].astype(int), axis=0)).mean()
        )
        assert (rgb["clutter"].astype(int).mean(axis=2) < 200).sum() > (rgb["plain"].astype(int).mean(axis=2) < 200).sum()


def test_occlusion_covers_by_a_digit_and_by_paper() -> None:
    by_digit = by_paper = 0
    for drawn in drawn_with("occlusion", 40):
        covered = next(digit for digit in drawn.scene.digits if digit.visible < 0.95)
        x0, y0, x1, y1 = covered.box
        over = set(np.unique(drawn.labels[y0:y1, x0:x1]).tolist()) - {0, covered.id}
        by_digit += bool(over)
        by_paper += not over
        assert covered.visible <= 0.91
    assert by_digit > 5
    assert by_paper > 5


def _named_colour(rgb: np.ndarray) -> str:
    """The ink colour nearest in hue, after the paper's own light is divided out; grey ink is black."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(float(value) for value in np.clip(rgb, 0, 1)))
    if saturation < 0.45:  # brown paper alone makes black ink look a third blue
        return "black"
    hues = {
        name: colorsys.rgb_to_hsv(*(value / 255 for value in colour))[0] for name, colour in COLOURS.items() if name != "black"
    }
    return min(hues, key=lambda name: min(abs(hues[name] - hue), 1 - abs(hues[name] - hue)))


@pytest.mark.parametrize("factor", FACTORS)
def test_colours_stay_recognisable_under_every_factor(factor: str) -> None:
    wrong = total = 0
    for drawn in drawn_with(factor, 25):
        file = BytesIO()
        Image.fromarray(drawn.rgb).save(file, "JPEG", quality=92, subsampling=0)
        rgb = np.asarray(Image.open(file)).astype(float)
        paper = np.median(rgb[drawn.labels == 0], axis=0)
        for digit in drawn.scene.digits:
            ink = np.median(rgb[drawn.labels == digit.id], axis=0) / paper
            total += 1
            wrong += _named_colour(ink) != digit.colour
    assert wrong <= 0.02 * total, f"{wrong} of {total}"


def test_the_narrow_recipe_is_narrow_and_the_broad_one_is_broad() -> None:
    broad = [draw_scene(Random(number), pool="train", recipe=BROAD).scene for number in range(250)]
    narrow = [draw_scene(Random(number), pool="train", recipe=NARROW).scene for number in range(250)]
    assert {factor for scene in narrow for factor in scene.factors} <= {"rotated"}
    assert max(len(scene.digits) for scene in narrow) == 3
    assert {factor for scene in broad for factor in scene.factors} == set(FACTORS)
    assert {len(scene.digits) for scene in broad} == set(range(7))
    for factor in FACTORS:
        share = sum(factor in scene.factors for scene in broad) / len(broad)
        assert 0.08 < share < 0.55, (factor, share)
    assert {scene.background for scene in broad} == set(BROAD.backgrounds)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another() -> None:
    one, two, other = (draw_scene(Random(seed), pool="train") for seed in (1, 1, 2))
    assert one.scene == two.scene
    assert np.array_equal(one.rgb, two.rgb)
    assert not np.array_equal(one.rgb, other.rgb)


def test_a_scene_survives_json() -> None:
    scene = draw_scene(Random(4), pool="train").scene
    assert scene_from_json(scene_to_json(scene)) == scene
    with pytest.raises(msgspec.DecodeError):
        scene_from_json("{}")


def test_a_caption_names_every_digit_and_nothing_else() -> None:
    for number in range(30):
        scene = draw_scene(Random(number), pool="probe").scene
        words = caption(scene)
        for digit in scene.digits:
            assert f"a {digit.size} {digit.colour} {digit.label}" in words
        assert sum(words.count(f"{size} {colour} ") for size in SIZES for colour in COLOURS) == len(scene.digits)
    assert "no digit" in caption(Scene(1, 224, 224, (), (), "white", "probe"))


def _contents(folder: Path) -> list[tuple[str, bytes, str, bytes | None]]:
    rows = [row for file in lake_files(folder) for row in stream_rows(file)]
    assert all(isinstance(row, LakeRow) for row in rows)
    return [
        (row.ref.image_id, row.image_bytes, row.annotation.data.decode(), row.annotation.second_view)
        for row in rows
        if isinstance(row, LakeRow) and row.annotation
    ]


def test_the_lake_is_the_same_for_any_split_into_shards_and_processes(tmp_path: Path) -> None:
    build_lake(tmp_path / "one", images=12, pool="heldout", seed=9, rows_per_shard=12)
    program = (
        "import sys; from pathlib import Path; from millrace.digits.lake_build import build_lake\n"
        "build_lake(Path(sys.argv[1]), images=12, pool='heldout', seed=9, rows_per_shard=5, shard=int(sys.argv[2]))"
    )
    for shard in ("2", "0", "1"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "three"), shard], check=True, cwd=Path(__file__).parents[2])
    assert [file.name for file in lake_files(tmp_path / "three")] == [
        "lake-00000.parquet",
        "lake-00001.parquet",
        "lake-00002.parquet",
    ]
    one = _contents(tmp_path / "one")
    assert len(one) == 12
    assert one == _contents(tmp_path / "three")
    again = build_lake(tmp_path / "again", images=12, pool="heldout", seed=9, rows_per_shard=12)
    assert again[0].read_bytes() == (tmp_path / "one" / "lake-00000.parquet").read_bytes()


def test_ids_are_made_from_the_bytes_and_are_not_shared(scenes: Path) -> None:
    contents = _contents(scenes)
    assert len({image_id for image_id, *_ in contents}) == len(contents) == 60
    assert encode_scene(3, pool="probe", seed=5, recipe="broad")["image_id"] == contents[3][0]


def test_stored_label_maps_and_pictures_belong_together(scenes: Path) -> None:
    kinds = set()
    for file in lake_files(scenes):
        for row in stream_rows(file):
            assert isinstance(row, LakeRow)
            assert row.annotation is not None
            labels = np.asarray(Image.open(BytesIO(row.annotation.second_view or b"")))
            assert labels.shape == (224, 224)
            assert set(np.unique(labels).tolist()) == {0, *(digit.id for digit in scene_of(row).digits)}
            kinds.add(Image.open(BytesIO(row.image_bytes)).format)
            (exchange,) = row.metadata["conversations"]
            assert exchange["assistant"] == caption(scene_of(row))
    assert kinds == {"JPEG", "PNG"}


def test_an_interrupted_build_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = LakePlan(tmp_path, images=10, rows_per_shard=4, seed=1)
    build_shard(plan, 1)
    stamp = plan.shards[1].stat().st_mtime_ns
    assert plan.missing == [0, 2]
    done: list[int] = []
    assert default_lake(plan, on_image=done.append) == tmp_path
    assert (sum(done), plan.missing) == (6, [])
    assert plan.shards[1].stat().st_mtime_ns == stamp
    assert sorted(file.name for file in tmp_path.iterdir()) == [file.name for file in plan.shards]


def test_what_a_killed_build_left_is_swept_up_but_not_what_another_is_writing(tmp_path: Path) -> None:
    old, young = tmp_path / ".lake-00000.parquet.11.part", tmp_path / ".lake-00000.parquet.12.part"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    build_shard(LakePlan(tmp_path, images=2), 0)
    assert (old.exists(), young.exists()) == (False, True)


def test_the_cached_lakes_folder_depends_on_every_setting(tmp_path: Path) -> None:
    folders = {
        plan_lake(cache=tmp_path, **{"images": 10, **change}).folder
        for change in ({}, {"images": 11}, {"seed": 1}, {"pool": "train"}, {"recipe": "narrow"}, {"rows_per_shard": 7})
    }
    assert len(folders) == 6
    assert plan_lake(images=10, cache=tmp_path).folder in folders


def test_what_is_hard_is_rare_in_a_lake_of_the_kind_rare() -> None:
    scenes = [draw_scene(Random(number), pool="probe", recipe=LAKE_RECIPES["rare"], side=64).scene for number in range(400)]
    shares = {factor: sum(factor in scene.factors for scene in scenes) / len(scenes) for factor in FACTORS}
    assert max(shares.values()) < 0.07
    assert min(shares.values()) > 0
    assert sum(not scene.factors for scene in scenes) / len(scenes) > 0.7


def test_an_unknown_kind_of_lake_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no embedded lake of the kind 'rear'; did you mean 'rare'\? known: broad, foreign, narrow, rare"
    ):
        plan_lake(images=10, recipe="rear", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_cache_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        default_lake(LakePlan(tmp_path / "file" / "lake", images=1))


def test_only_legible_digits_are_picked() -> None:
    rng = Random(0)
    for _ in range(200):
        label = rng.randrange(10)
        source = pick_source(rng, "train", label)
        assert source in pool_sources("train")[label]
        assert stroke_of(source) is not None


def test_drawing_does_not_import_scikit_learn_or_torch() -> None:
    program = (
        "import sys; from random import Random; from millrace.digits.scenes.compose import draw_scene\n"
        "draw_scene(Random(1), pool='train'); print([name for name in ('sklearn', 'torch', 'prefect') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert out.stdout.strip() == "[]"
