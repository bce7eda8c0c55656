"""The trainer of Hugging Face models, on a real model that is tiny: what it learns from, what it changes, alone and shared."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from millrace.chat_training.trainer import TrainerSettings, check, model
from millrace.errors import InputError, RunFailed, UsageError
from millrace.improve.train import train_arm
from millrace.improve.trainers import trainer_settings
from millrace.llm.client.structured import with_schema_in_words
from millrace.llm.open_chat import open_chat
from millrace.probing.baselines.endpoint import BaselineSettings
from millrace.records.improve import ChatTraining, TrainingJob, TrainingRecord
from millrace.run.journal import write_jsonl
from tests.improve.tiny_model import write_tiny_model

pytest.importorskip("transformers", reason="needs the optional extra: pip install millrace[huggingface]")
pytest.importorskip("peft", reason="needs the optional extra: pip install millrace[huggingface]")

COLOURS = {"red": (200, 10, 10), "green": (10, 200, 10), "blue": (10, 10, 200), "grey": None}


def records(images: Path) -> list[TrainingRecord]:
    """A picture of one colour each; of the last the claim cannot be said."""
    images.mkdir(parents=True, exist_ok=True)
    made = []
    for colour, pixel in COLOURS.items():
        Image.new("RGB", (28, 28), pixel or (128, 128, 128)).save(images / f"{colour}.png")
        correct = {"COLOUR": colour} if pixel else {}
        made.append(
            TrainingRecord(
                id=f"out_{colour}",
                image=f"{colour}.png",
                sha256="0" * 64,
                claim_id="colour",
                claim="The sheet is [COLOUR].",
                slots=("COLOUR",),
                answerable=pixel is not None,
                correct=correct,
                accepted={slot: (value,) for slot, value in correct.items()},
                answers_of=f"out_{colour}",
            )
        )
    return made


def base_of(folder: Path) -> dict[str, Any]:
    """The model as `probing.baseline` names it."""
    options = {"device": "cpu", "dtype": "float32"}
    return {"name": "endpoint", "chat": {"provider": "huggingface", "model": str(folder), "options": options}, "max_tokens": 64}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, `images/` and `records.jsonl`."""
    from millrace.chat_training.examples import examples_of

    folder = tmp_path_factory.mktemp("tiny")
    made = records(folder / "images")
    write_jsonl(folder / "records.jsonl", made)
    asked = examples_of(made, folder / "images", BaselineSettings.model_validate(base_of(folder)), None)
    texts = [text for one in asked for text in (one.answer, *(message.text for message in one.request.messages))]
    write_tiny_model(folder / "model", texts)
    return folder


def job_of(world: Path, folder: Path, steps: int) -> TrainingJob:
    folder.mkdir(parents=True, exist_ok=True)
    return TrainingJob(
        arm="targeted",
        number=0,
        seed=3,
        steps=steps,
        images_per_step=4,
        records_per_image=1,
        base=base_of(world / "model"),
        folder=str(folder),
        dataset=str(world / "records.jsonl"),
        tuning=str(world / "records.jsonl"),
        images=str(world / "images"),
        result=str(folder / "model"),
    )


def train_here(world: Path, folder: Path, steps: int, **settings: Any) -> Path:
    """Train in this process; returns where the model is."""
    from millrace.chat_training.program import Rank, train

    job = job_of(world, folder, steps)
    chosen = TrainerSettings.model_validate(settings).model_dump(mode="json", exclude={"name", "processes", "time_limit_s"})
    train(ChatTraining(job=job, **chosen), Rank(0, 1))
    return Path(job.result)


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def test_only_the_answer_is_learned_and_the_prompt_is_the_one_that_probing_sends(world: Path) -> None:
    from millrace.chat_training.examples import IGNORED, encode, examples_of, together
    from millrace.llm.providers.huggingface import Options, TransformersEngine

    engine = TransformersEngine(str(world / "model"), Options(device="cpu", dtype="float32"))
    base = BaselineSettings.model_validate(base_of(world / "model"))
    made = examples_of(records(world / "images"), world / "images", base, None)
    answers = [json.loads(one.answer) for one in made]
    assert answers[0] == {"is_related": True, "values": {"COLOUR": "red"}, "explanation": "The sheet is red."}
    assert answers[3]["is_related"] is False
    assert answers[3]["values"] == {"COLOUR": "NOT_RELATED"}
    pictures = [[part.data for part in one.request.messages[-1].images] for one in made]
    encoded = [encode(one, engine, picture) for one, picture in zip(made, pictures, strict=True)]
    batch = together(encoded, engine.tokenizer.pad_token_id)
    sent = engine.inputs_of([with_schema_in_words(made[0].request)], pictures[:1])["input_ids"][0]
    assert batch.inputs["input_ids"][0, : len(sent)].tolist() == sent.tolist()
    for one, row, mask in zip(made, batch.labels_BT, batch.inputs["attention_mask"], strict=True):
        assert engine.tokenizer.decode(row[row != IGNORED]) == f"{one.answer}<end>"
        assert int(mask.sum()) == int((row != IGNORED).sum()) + len(sent)
    assert batch.inputs["pixel_values"].shape[0] == len(made)
    with pytest.raises(InputError, match=r"out_red has \d+ tokens with its picture, and the model reads 20"):
        encode(made[0], engine, pictures[0], 20)


def test_it_learns_to_answer_as_probing_asks(world: Path, tmp_path: Path) -> None:
    from millrace.chat_training.examples import examples_of

    result = train_here(world, tmp_path, 200, method="full", rate=0.005)
    trained = model(TrainerSettings(), job_of(world, tmp_path, 200))
    assert trained["chat"]["model"] == str(result)
    settings = BaselineSettings.model_validate(trained)
    asked = examples_of(records(world / "images"), world / "images", settings, None)

    async def ask() -> list[str]:
        chat = open_chat(settings.chat, None)
        said = [(await chat.complete(one.request)).text for one in asked]
        await chat.close()
        return said

    assert asyncio.run(ask()) == [one.answer for one in asked]


def test_lora_changes_the_layers_of_the_language_model_and_nothing_else(world: Path, tmp_path: Path) -> None:
    before, after = weights_of(world / "model"), weights_of(train_here(world, tmp_path, 2, rate=0.01))
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    linear = {name for name in before if "language_model" in name and "_proj" in name}
    assert changed == linear
    assert before[min(changed)].dtype == after[min(changed)].dtype


def test_frozen_parts_stay_and_a_name_that_fits_nothing_is_refused(world: Path, tmp_path: Path) -> None:
    frozen = train_here(world, tmp_path / "a", 1, method="full", rate=0.01, frozen=["vision_tower"])
    before, after = weights_of(world / "model"), weights_of(frozen)
    assert all(before[name].equal(after[name]) for name in before if "vision_tower" in name)
    assert not all(before[name].equal(after[name]) for name in before)
    with pytest.raises(InputError, match="no weight of the model has 'eyes' in its name"):
        train_here(world, tmp_path / "b", 1, method="full", frozen=["eyes"])
    with pytest.raises(InputError, match="the model has no layer 'q'"):
        train_here(world, tmp_path / "c", 1, lora_targets=["q"])


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["each has all weights", "weights cut in two"])
def test_two_processes_under_torchrun_train_the_same_model_as_one(world: Path, tmp_path: Path, sharded: bool) -> None:
    settings = {"method": "lora" if sharded else "full", "rate": 0.003, "records_per_pass": 1}
    alone = weights_of(train_here(world, tmp_path / "alone", 3, **settings))
    job = job_of(world, tmp_path / "shared", 3)
    trained = train_arm(job, {"name": "huggingface", **settings, "processes": 2, "sharded": sharded}, 4)
    assert trained.model["chat"]["model"] == job.result
    together = weights_of(Path(job.result))
    assert together.keys() == alone.keys()
    for name, value in alone.items():
        assert value.allclose(together[name], atol=2e-4), name


def test_a_loss_that_is_no_number_ends_the_training_with_a_sentence(world: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"the loss became \w+ in step \d+; a smaller improve.trainer.rate may help"):
        train_here(world, tmp_path, 8, method="full", rate=1e30)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("base", "settings", "said"),
    [
        ({"name": "embedded"}, {}, "this run's is 'embedded'"),
        ({"name": "endpoint", "chat": {"model": "m"}}, {}, "this run's is a model behind 'openai_compatible'"),
        (
            {"name": "endpoint", "chat": {"provider": "huggingface"}},
            {"frozen": ["vision"]},
            "improve.trainer.frozen is for method: full",
        ),
    ],
)
def test_what_it_cannot_train_is_refused_before_anything_starts(
    base: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        check(trainer_settings({"name": "huggingface", **settings}), base, ("targeted",), 3)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model in"):
        model(TrainerSettings(), job_of(tmp_path, tmp_path / "t", 1))
