"""Training, keeping and loading the embedded baseline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.distributed.checkpoint import FileSystemReader

from millrace.digits.baseline.cache import find_trained, keep_trained, trained_folder
from millrace.digits.baseline.curriculum import examine
from millrace.digits.baseline.embedded import BaselineSettings, open_baseline, preparation
from millrace.digits.baseline.lesson_book import write_book
from millrace.digits.baseline.lessons import ABSTAIN, studies
from millrace.digits.baseline.train_program import draw_studies, ensure_trained
from millrace.digits.baseline.trained_folder import CARD, load_trained, read_card
from millrace.digits.claim_vocabulary import ANSWERS
from millrace.digits.scenes.recipes import BROAD, NARROW, SceneRecipe
from millrace.errors import InputError, UsageError
from millrace.probing.baselines import baseline_settings
from millrace.probing.claims import load_claims
from tests.digits.conftest import TINY

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(tiny_cache: Path) -> Path:
    """The folder of a trained model, for a test to spoil."""
    return trained_folder(TINY, tiny_cache)


def program(cache: Path, settings: BaselineSettings) -> subprocess.Popen[bytes]:
    """`python -m millrace.digits.baseline.train_program` as a user or a flow starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "millrace.digits.baseline.train_program", "--settings", settings.model_dump_json()],
        cwd=ROOT,
        env={**os.environ, "MILLRACE_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_until(holds: Callable[[], bool], what: str, deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


def test_the_same_settings_give_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    weights = [read_card(ensure_trained(TINY, cache=tmp_path / name)).weights for name in ("first", "second")]
    other = read_card(ensure_trained(TINY.model_copy(update={"seed": 1}), cache=tmp_path / "first")).weights
    assert weights[0] == weights[1]
    assert other != weights[0]


def test_scenes_and_lessons_are_the_same_however_many_processes_draw_them() -> None:
    alone, together = (draw_studies(BaselineSettings(threads=threads), 120, "train", lambda **_: None) for threads in (1, 2))
    assert [study.lessons for study in alone] == [study.lessons for study in together]
    assert all((one.pixels == other.pixels).all() for one, other in zip(alone, together, strict=True))


def test_the_checkpoint_is_sharded_and_any_distributed_reader_takes_it(tiny: Path) -> None:
    shards = sorted(path.name for path in tiny.glob("*.distcp"))
    assert shards == ["__0_0.distcp", "__0_1.distcp"]
    metadata = FileSystemReader(tiny).read_metadata()
    assert "model.reader.word.weight" in metadata.state_dict_metadata


def test_what_is_loaded_is_what_was_trained(tiny: Path) -> None:
    model, card = load_trained(tiny)
    again, _ = load_trained(tiny)
    state, other = model.state_dict(), again.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert card.words
    assert card.exam.keys() >= {"counting_object_instances", "orientation_facing_direction"}


def test_a_trained_baseline_is_found_and_not_trained_again(tiny: Path, tiny_cache: Path) -> None:
    def refuse(_: Any) -> None:
        raise AssertionError("trained again")

    assert find_trained(TINY, tiny_cache) == tiny
    assert ensure_trained(TINY, on_progress=refuse, cache=tiny_cache) == tiny
    assert preparation(BaselineSettings(checkpoint=tiny)) is None


def test_progress_grows_to_a_hundred_and_names_its_stages(tmp_path: Path) -> None:
    events: list[Any] = []
    ensure_trained(TINY, on_progress=events.append, cache=tmp_path)
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)
    assert events[-1]["done"] == events[-1]["total"] == 100
    assert list(dict.fromkeys(event["stage"] for event in events)) == [
        "drawing scenes",
        "learning to see",
        "learning to answer",
        "examination",
    ]


@pytest.mark.parametrize("name", ["__0_0.distcp", "__0_1.distcp", ".metadata"])
def test_a_truncated_checkpoint_names_the_file_and_says_what_to_do(tiny: Path, name: str) -> None:
    data = (tiny / name).read_bytes()
    (tiny / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=f"{name} is damaged: .* bytes, not {len(data)}; restore it, or delete the folder"):
        open_baseline(BaselineSettings(checkpoint=tiny))


def test_a_flipped_byte_is_noticed(tiny: Path) -> None:
    data = bytearray((tiny / "__0_1.distcp").read_bytes())
    data[len(data) // 2] ^= 1
    (tiny / "__0_1.distcp").write_bytes(data)
    with pytest.raises(InputError, match=r"__0_1\.distcp is damaged: its SHA-256 is another"):
        preparation(BaselineSettings(checkpoint=tiny))


def test_a_missing_shard_card_or_folder_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    (tiny / "__0_0.distcp").unlink()
    with pytest.raises(InputError, match=r"__0_0\.distcp is missing"):
        read_card(tiny)
    (tiny / CARD).write_text("{")
    with pytest.raises(InputError, match=f"{CARD} is damaged"):
        read_card(tiny)
    with pytest.raises(InputError, match="there is no trained baseline in"):
        open_baseline(BaselineSettings(checkpoint=tmp_path / "nothing"))


def test_a_damaged_model_in_the_cache_is_trained_anew_with_a_warning(
    tiny: Path, tiny_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_card(tiny).weights
    (tiny / "__0_0.distcp").write_bytes(b"")
    assert find_trained(TINY, tiny_cache) is None
    assert "__0_0.distcp is damaged: 0 bytes" in caplog.text
    assert "trained anew" in caplog.text
    assert ensure_trained(TINY, cache=tiny_cache) == tiny
    assert read_card(tiny).weights == before


def test_two_programs_at_once_train_once_and_both_get_the_result(tmp_path: Path) -> None:
    programs = [program(tmp_path, TINY) for _ in range(2)]
    printed = [one.communicate(timeout=240) for one in programs]
    assert [one.returncode for one in programs] == [0, 0], printed
    events = [[json.loads(line) for line in out.splitlines()] for out, _ in printed]
    assert events[0][-1]["checkpoint"] == events[1][-1]["checkpoint"]
    assert sorted(len(told) > 1 for told in events) == [False, True]
    folder = Path(events[0][-1]["checkpoint"])
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, f"{folder.name}.lock"]
    read_card(folder)


def test_a_killed_training_leaves_no_model_no_process_and_no_lock(tiny: Path, tmp_path: Path) -> None:
    slow = BaselineSettings(scenes=3000, threads=2)
    training = program(tmp_path, slow)
    assert training.stdout is not None
    assert b"drawing scenes" in training.stdout.readline()
    children = psutil.Process(training.pid).children(recursive=True)
    assert children, "two processes draw"
    training.kill()
    training.communicate()
    wait_until(lambda: not any(_alive(child) for child in children), "the drawing processes end")
    folder = trained_folder(slow, tmp_path)
    assert not folder.exists()
    assert list(folder.parent.glob("*.part-*"))
    keep_trained(slow, lambda part: shutil.copytree(tiny, part, dirs_exist_ok=True), tmp_path)
    assert not list(folder.parent.glob("*.part-*"))
    assert find_trained(slow, tmp_path) == folder


def _alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written to .*; set MILLRACE_CACHE to another"):
        ensure_trained(TINY, cache=tmp_path / "file")


def test_a_full_disk_is_one_sentence_and_leaves_no_half_a_model(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: the kernel refuses the write in the same place."""
    code = (
        "import resource, signal, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from millrace.digits.baseline.train_program import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "--settings", TINY.model_dump_json()]
    environment = {**os.environ, "MILLRACE_CACHE": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert re.search(rb"the trained baseline cannot be written to .*; is the disk full\?", done.stderr)
    assert b"Traceback" not in done.stderr
    assert [path.suffix for path in (tmp_path / "baselines").iterdir()] == [".lock"]


def test_bad_settings_end_the_program_with_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    config = tmp_path / "mine.json"
    config.write_text('{"scenes": 0}')
    for arguments, message in (
        (["--config", str(config)], b"'scenes': input should be greater than 0, not 0"),
        (["--settings", '{"scene": 5}'], b"unknown key 'scene'; did you mean 'scenes'?"),
        (["--settings", "{"], b"--settings is not JSON"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "millrace.digits.baseline.train_program", *arguments],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert b"Traceback" not in done.stderr


def test_other_code_settings_or_words_have_a_place_of_their_own(tmp_path: Path) -> None:
    words = tmp_path / "mine.yaml"
    shipped = ROOT / "millrace" / "probing" / "claim_sets" / "default.yaml"
    words.write_text(shipped.read_text().replace("How many", "What number of"))
    variants = [TINY, TINY.model_copy(update={"seed": 3}), TINY.model_copy(update={"claims": str(words)})]
    assert len({trained_folder(variant, tmp_path) for variant in variants}) == 3
    reader = TINY.model_copy(update={"storage_reader": "somewhere.Reader"})
    assert trained_folder(reader, tmp_path) == trained_folder(TINY, tmp_path)


def test_a_storage_reader_is_a_dotted_path_and_an_unknown_one_is_refused(tiny: Path) -> None:
    assert open_baseline(BaselineSettings(checkpoint=tiny, storage_reader="torch.distributed.checkpoint.FileSystemReader"))
    with pytest.raises(UsageError, match=r"there is no storage reader 'torch.Nothing'"):
        open_baseline(BaselineSettings(checkpoint=tiny, storage_reader="torch.Nothing"))


def test_the_baselines_settings_are_found_by_its_name() -> None:
    assert baseline_settings({}) == BaselineSettings()
    with pytest.raises(UsageError, match="no baseline named 'embeded'; did you mean 'embedded'"):
        baseline_settings({"name": "embeded"})
    with pytest.raises(UsageError, match="unknown key 'sceens'; did you mean 'scenes'"):
        baseline_settings({"name": "embedded", "sceens": 5})


def test_settings_and_preparation_do_not_load_torch() -> None:
    code = (
        "import sys; from millrace.probing.baselines import baseline_settings;"
        "import millrace.digits.baseline.train_program, millrace.probing.outcomes;"
        "from millrace.digits.baseline.embedded import preparation; preparation(baseline_settings({}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def exam_rates(folder: Path, recipe: SceneRecipe, scenes: int) -> dict[str, float]:
    """By claim, the share that the model gets right on scenes of digits it has never seen."""
    model, card = load_trained(folder)
    asked = load_claims("default").claims
    options: Any = {"seed": 77, "side": model.size.side, "per_claim": 1, "absent_share": 0.15}
    exam = list(studies(asked, range(scenes), recipe=recipe, pool="heldout", **options))
    book = write_book(exam, card.words, length=model.size.max_words, grid=model.size.grid)
    return {claim: right / n for claim, (n, right) in examine(model, book).items()}


def test_fifteen_seconds_of_lessons_teach_something(small_settings: BaselineSettings) -> None:
    assert small_settings.checkpoint is not None
    rates = exam_rates(small_settings.checkpoint, NARROW, 100)
    assert rates["counting_object_instances"] > 0.5
    assert rates["spatial_relative_position"] > 0.3  # guessing: one in four, and one in seven abstains
    assert rates["presence"] > 0.6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_default_baseline_is_good_at_what_it_was_taught_and_fails_outside_of_it(cache: Path) -> None:
    """Trained once for all tests of a session, in whichever process needs it first."""
    folder = ensure_trained(BaselineSettings(), cache=cache)
    narrow, broad = exam_rates(folder, NARROW, 200), exam_rates(folder, BROAD, 200)
    assert all(rate > 0.8 for rate in narrow.values()), narrow
    assert sum(narrow.values()) / len(narrow) > 0.88
    assert all(broad[claim] < narrow[claim] - 0.05 for claim in narrow if claim != "presence"), (narrow, broad)
    assert 0.4 < sum(broad.values()) / len(broad) < 0.8


def test_lessons_teach_abstaining_and_answering_in_the_claims_and_in_other_words() -> None:
    lessons = [
        lesson
        for study in studies(load_claims("default").claims, range(60), seed=3, side=32, per_claim=2, absent_share=0.2)
        for lesson in study.lessons
    ]
    absent = sum(lesson.accepted == (ABSTAIN,) for lesson in lessons) / len(lessons)
    assert 0.1 < absent < 0.4
    assert len({lesson.words for lesson in lessons}) > 0.5 * len(lessons)
    assert {ANSWERS[place][0] for lesson in lessons for place in lesson.accepted} >= {
        "digit",
        "region",
        "count",
        "turn",
        "presence",
    }
