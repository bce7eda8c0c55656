"""What `improve` writes and reads: the plan, the training records, what became of each training."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import PluginChoice, Record


class PoolItem(msgspec.Struct, frozen=True, kw_only=True):
    """One decided claim on one image whose right answer is known: what arms draw from."""

    id: str
    """The outcome's."""
    image_id: str
    file: str
    row: int
    sha256: str
    claim_id: str
    claim: str
    """The sentence with its subject filled in and the slots to be answered in brackets."""
    answerable: bool
    correct: dict[str, str]
    """The best answer by slot; empty when it is right to abstain."""
    accepted: dict[str, tuple[str, ...]]
    """By slot: every right answer, or, of a number that need not be met exactly, the lowest and the highest that are right."""
    failed: bool
    """Whether the base got it wrong."""
    factors: tuple[str, ...]


class TrainingRecord(Record, frozen=True, kw_only=True):
    """One line of an arm's training set."""

    SCHEMA: ClassVar[str] = "millrace.improve_record/1"
    id: str
    image: str
    """The image file, relative to the folder that all arms share."""
    sha256: str
    claim_id: str
    claim: str
    slots: tuple[str, ...]
    """The open slots, in the order of the sentence."""
    answerable: bool
    correct: dict[str, str]
    accepted: dict[str, tuple[str, ...]]
    """By slot: every right answer, or, of a number that need not be met exactly, the lowest and the highest that are right."""
    answers_of: str
    """The record whose answers these are: another one only where an arm shuffles."""


class ImageMark(Record, frozen=True, kw_only=True):
    """How an image is recognised again, also when it was stored anew in another size or format."""

    SCHEMA: ClassVar[str] = "millrace.image_mark/1"
    image_id: str
    file: str
    row: int
    sha256: str
    """Of the stored bytes."""
    hash: str
    """Perceptual, 64 bits as hex."""
    thumbnail: str
    """16 × 16 pixels, RGB, as hex: decides where hashes are near."""


class TestImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that models are judged on, as the plan names it."""

    __test__: ClassVar[bool] = False
    """No test, whatever a collector of tests makes of the name."""

    image_id: str
    sha256: str
    hash: str


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison that was decided on before there was anything to compare."""

    name: str
    treated: str
    control: str
    """An arm, or `base`: the model before any training."""
    expected: Literal["fewer failures", "no difference", "not fewer failures"]
    on: Literal["rare kinds"] | UnsetType = UNSET
    """On which images: those of the plan's rare kinds; not there: on all."""


class PoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the arms draw from. Source: the outcomes of the run's probing."""

    outcomes: int
    images: int
    failures: int
    sha256: str
    """Over the ids, and which of them are failures."""


class AskedHow(msgspec.Struct, frozen=True, kw_only=True):
    """How every model is asked. Source: the settings of the run's probing."""

    claims: str
    """The claim set: a name or a path."""
    enabled_claims: tuple[str, ...]
    judge: PluginChoice
    seed: int
    baseline: PluginChoice
    """The base itself."""
    unanswerable_share: float
    """0 to 1."""
    wordings: dict[str, str] | UnsetType = UNSET
    """Claim id → its sentence where that is not the set's; not there when all are."""


class Plan(Record, frozen=True, kw_only=True):
    """What will be done and how it will be judged, written down and hashed before the first training."""

    SCHEMA: ClassVar[str] = "millrace.improve_plan/1"
    schema: Literal["millrace.improve_plan/1"] = "millrace.improve_plan/1"
    seed: int
    hypotheses: tuple[Hypothesis, ...]
    arms: tuple[str, ...]
    images: int
    records_per_image: int
    images_per_step: int
    steps: int
    failure_share: float
    replay_share: float | UnsetType = UNSET
    """Of the arm `targeted`, where it chooses images by their kind; not there: it chooses them by failures."""
    seeds: tuple[int, ...]
    margin: float
    level: float
    trainer: PluginChoice
    probing: AskedHow
    pool: PoolFacts
    tuning: tuple[str, ...]
    """SHA-256 of the images kept for tuning: in no arm and not in the test."""
    scaling: tuple[float, ...] | UnsetType = UNSET
    """Further sizes of training sets, as multiples of `images`; not there when there are none."""
    rare: tuple[str, ...] | UnsetType = UNSET
    """Factors that few of the probed images have; not there when there are none."""
    test: tuple[TestImage, ...]
    new_scenes: tuple[TestImage, ...] | UnsetType = UNSET
    """Images of another kind of scenes, that models are also judged on; not there when there are none."""
    new_wordings: dict[str, str] | UnsetType = UNSET
    """Claim id → the sentence in other words that models are also asked; not there when there are none."""


class TrainingJob(Record, frozen=True, kw_only=True):
    """One training: an arm and a seed. Everything a trainer may read."""

    SCHEMA: ClassVar[str] = "millrace.improve_job/1"
    arm: str
    number: int
    """Which of the seeds, from 0."""
    seed: int
    """For the order of the images and whatever else a trainer draws: the same in all arms of one number."""
    steps: int
    images_per_step: int
    records_per_image: int
    base: PluginChoice
    """The model before training, as probing's `baseline` names it."""
    folder: str
    """The training's own folder: the trainer may write in it."""
    dataset: str
    """The training set, in the format that the trainer asked for."""
    tuning: str
    """Records that are in no arm and not in the test, in the same format."""
    images: str
    """The folder that images are named from."""
    result: str
    """Where the trained model goes: not there yet."""
    claims: str | UnsetType = UNSET
    """The run's claim set: a name or a path. Not there in jobs of no run."""

    @property
    def name(self) -> str:
        """`targeted-2`."""
        return f"{self.arm}-{self.number}"


class FineTuning(Record, frozen=True, kw_only=True):
    """`fine_tune.json`: what the embedded trainer's program does. Source: the job, and the trainer's settings."""

    SCHEMA: ClassVar[str] = "millrace.fine_tuning/1"

    job: TrainingJob
    rate: float
    """The learning rate at the top of the one cycle."""
    weight_decay: float
    hold: float
    """Weight of the divergence from the model before; 0: none."""
    blend: float
    """How far the result lies between the weights before (0) and after (1)."""


class ChatTraining(Record, frozen=True, kw_only=True):
    """`chat_training.json`: what the program of the trainer `huggingface` does. Source: the job, and the trainer's settings."""

    SCHEMA: ClassVar[str] = "millrace.chat_fine_tuning/1"

    job: TrainingJob
    method: Literal["lora", "full"]
    rate: float
    """The learning rate at the top."""
    warm_up: float
    """Share of the steps in which it rises, 0 to 1."""
    weight_decay: float
    clip: float
    """Longest gradient, 2-norm."""
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    """0 to 1."""
    lora_targets: tuple[str, ...]
    """Names of layers; empty: all of the language model."""
    frozen: tuple[str, ...]
    """Pieces of names of weights that stay as they are."""
    records_per_pass: int
    dtype: Literal["auto", "float32", "bfloat16"]
    save_memory: bool
    sharded: bool


class Trained(Record, frozen=True, kw_only=True):
    """What became of one training."""

    SCHEMA: ClassVar[str] = "millrace.improve_trained/1"
    arm: str
    number: int
    model: PluginChoice
    """The trained model, as probing's `baseline` names it."""
    records: int
    seconds: float | None
    """None: the model existed already."""
