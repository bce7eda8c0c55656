"""The embedded baseline's network: a small vision-language model in plain torch.

A convolutional encoder describes every cell of a grid over the picture: is there something, which digit, which colour, how
turned, how large, where exactly. The strongest cells become object tokens. A text encoder reads the question and turns it into a
few soft masks over the objects, by how alike the words asked for and the words for what was seen are; what the masks gather is
compared, a second round of masks starts from that ("the largest one among the red digits"), and one answer of a closed
vocabulary is given, abstaining among them.

Shapes: B pictures, Q questions, T words, G = grid * grid cells, P properties of a cell, O objects, F features of an object,
K masks, D width of a word vector, V width of a gathered value, A answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

PROPERTIES = {"presence": 1, "label": 10, "colour": 6, "turn": 4, "size": 2, "offset": 2}
"""What the encoder says of a cell, with the number of outputs: logits; log of width and height in quarters of the picture; where
in the cell the centre lies."""

OBJECTS = 10
"""Object tokens per picture: a digit scene has six digits at most, and some tokens are left for what only looks like one."""

FEATURES = 26
"""Features of an object: presence, 10 label, 6 colour and 4 turn probabilities, width, height, longer side, x, y."""


class ModelSize(msgspec.Struct, frozen=True):
    """The network's dimensions."""

    words: int
    """Words it reads; number 0 is padding."""
    answers: int
    """Answers it can give."""
    side: int = 96
    """Pixels on a side of the picture it sees; a multiple of 8."""
    channels: int = 64
    word_width: int = 32
    masks: int = 6
    value_width: int = 48
    hidden: int = 192
    max_words: int = 32
    """Further words of a question are not read."""

    @property
    def grid(self) -> int:
        """Cells on a side: one is 8 pixels wide."""
        return self.side // 8


class Residual(nn.Module):
    """A convolution beside a shortcut."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return functional.relu(x + self.norm(self.convolution(x)))


class ImageEncoder(nn.Module):
    """Describes every cell of a picture by itself."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        c = size.channels
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 6, stride=4, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, c, 3, stride=2, padding=1),
            nn.BatchNorm2d(c),
            nn.ReLU(),
            Residual(c, dilation=1),
            Residual(c, dilation=2),  # a large digit is six cells wide
            Residual(c, dilation=1),
            nn.Conv2d(c, 96, 1),
            nn.ReLU(),
            nn.Conv2d(96, sum(PROPERTIES.values()), 1),
        )

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Properties of every cell (B, G, P), row by row, of pictures given as bytes."""
        x = (pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        x = self.layers(x).flatten(2).transpose(1, 2)
        return torch.cat([x[..., :-2], x[..., -2:].tanh() * 0.5 + 0.5], -1)


def propose_objects(properties_BGP: Tensor) -> Tensor:
    """The strongest cells as object tokens (B, O, F), strongest first; weak ones have a presence near 0.

    A cell that is weaker than one of its eight neighbours stands back: both would describe the same thing.
    """
    batch, cells, _ = properties_BGP.shape
    grid = round(cells**0.5)
    presence, label, colour, turn, size, offset = torch.split(properties_BGP, list(PROPERTIES.values()), dim=-1)
    presence = torch.sigmoid(presence[..., 0])
    field = presence.view(batch, 1, grid, grid)
    peak = (functional.max_pool2d(field, 3, stride=1, padding=1) == field).view(batch, cells)
    strength, place = (presence * peak).topk(OBJECTS, dim=1)
    chosen = [
        torch.gather(part, 1, place[..., None].expand(-1, -1, part.shape[-1])) for part in (label, colour, turn, size, offset)
    ]
    label, colour, turn, size, offset = chosen
    size = size.clamp(-3, 2)
    x = (place % grid + offset[..., 0]) / grid
    y = (torch.div(place, grid, rounding_mode="floor") + offset[..., 1]) / grid
    rest = torch.stack([size.amax(-1), 2 * x - 1, 2 * y - 1], -1)
    parts = [strength[..., None], label.softmax(-1), colour.softmax(-1), turn.softmax(-1), size, rest]
    return torch.cat(parts, -1)


class QuestionReader(nn.Module):
    """Answers questions about objects.

    Args:
        size: the dimensions.
        label_words: the numbers of the words `0` … `9`.
        colour_words: the numbers of the colours' words, in the order of the encoder's outputs.
    """

    label_words: Tensor
    colour_words: Tensor

    def __init__(self, size: ModelSize, label_words: Sequence[int], colour_words: Sequence[int]) -> None:
        super().__init__()
        d, v, k = size.word_width, size.value_width, size.masks
        self.masks = k
        self.register_buffer("label_words", torch.tensor(label_words))
        self.register_buffer("colour_words", torch.tensor(colour_words))
        self.word = nn.Embedding(size.words, d, padding_idx=0)
        self.position = nn.Parameter(0.1 * torch.randn(size.max_words, d))
        self.near = nn.Conv1d(d, 2 * d, 5, padding=2)
        self.far = nn.Conv1d(2 * d, 2 * d, 5, padding=2)
        self.pick = nn.Linear(2 * d, k + 1)
        self.same = nn.Parameter(torch.eye(d))
        self.aim = nn.Linear(2 * d, 25)
        self.shape = nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, 24))
        self.value = nn.Sequential(nn.Linear(FEATURES, 96), nn.ReLU(), nn.Linear(96, v))
        gathered = k * (2 * v + 1)
        self.compare = nn.Sequential(nn.Linear(gathered + 2 * d, size.hidden), nn.ReLU())
        self.aim_again = nn.Linear(size.hidden + 2 * d, k * 25)
        self.shape_again = nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, 24))
        self.answer = nn.Sequential(
            nn.Linear(size.hidden + gathered + 2 * d, size.hidden), nn.ReLU(), nn.Linear(size.hidden, size.answers)
        )

    def forward(self, objects_QOF: Tensor, words_QT: Tensor) -> Tensor:
        """Logits over the answers (Q, A) to each question about its picture's objects."""
        vectors_QTD, states_QTE = self._read(words_QT)
        weight_QKT = self.pick(states_QTE).masked_fill((words_QT == 0)[..., None], -1e4).softmax(1).transpose(1, 2)
        gist_QE, about_QKE = torch.split(weight_QKT @ states_QTE, [1, self.masks], dim=1)
        gist_QE = gist_QE.squeeze(1)
        wanted_QKD = weight_QKT[:, 1:] @ vectors_QTD
        presence_QO = torch.log(objects_QOF[..., 0] + 1e-4)[:, None]
        value_QOV = self.value(objects_QOF)
        aim_QKE = self.aim(about_QKE)
        score_QKO = self._likeness(wanted_QKD, objects_QOF) + _score(aim_QKE, self.shape(objects_QOF)) + presence_QO
        found = self._gather(score_QKO, value_QOV)
        thought = self.compare(torch.cat([found, gist_QE], -1))
        aim_QKE = self.aim_again(torch.cat([thought, gist_QE], -1)).view(len(words_QT), self.masks, -1)
        found = self._gather(_score(aim_QKE, self.shape_again(objects_QOF)) + presence_QO, value_QOV)
        logits: Tensor = self.answer(torch.cat([thought, found, gist_QE], -1))
        return logits

    def _read(self, words_QT: Tensor) -> tuple[Tensor, Tensor]:
        """The words' own vectors, and their vectors in context."""
        vectors_QTD = self.word(words_QT)
        real_Q1T = (words_QT != 0)[:, None]
        x = (vectors_QTD + self.position[: words_QT.shape[1]]).transpose(1, 2) * real_Q1T
        x = functional.relu(self.near(x)) * real_Q1T
        x = (x + functional.relu(self.far(x))) * real_Q1T
        return vectors_QTD, x.transpose(1, 2)

    def _likeness(self, wanted_QKD: Tensor, objects_QOF: Tensor) -> Tensor:
        """How much each object is what the picked words say: what was seen is put into the same word vectors."""
        words_FD = torch.cat([self.word(self.label_words), self.word(self.colour_words)])
        seen_QOD = objects_QOF[..., 1:17] @ words_FD
        sharpness: float = 2 / words_FD.shape[1] ** 0.5
        likeness_QKO: Tensor = sharpness * (wanted_QKD @ self.same @ seen_QOD.transpose(1, 2))
        return likeness_QKO

    @staticmethod
    def _gather(score_QKO: Tensor, value_QOV: Tensor) -> Tensor:
        """What the masks bring back: the sum, the mean and how much there is. The sum is what counting needs."""
        mask_QKO = torch.sigmoid(score_QKO)
        total_QKV = mask_QKO @ value_QOV
        amount_QK1 = mask_QKO.sum(-1, keepdim=True)
        return torch.cat([total_QKV, total_QKV / (amount_QK1 + 0.05), amount_QK1], -1).flatten(1)


def _score(aim_QKE: Tensor, shape_QOE: Tensor) -> Tensor:
    """Scores of objects for masks; the last number of an aim is its bias, and masks begin rather empty."""
    score_QKO: Tensor = aim_QKE[..., :-1] @ shape_QOE.transpose(1, 2) + aim_QKE[..., -1:] - 1
    return score_QKO


class SceneModel(nn.Module):
    """The whole baseline: image encoder and question reader."""

    def __init__(self, size: ModelSize, label_words: Sequence[int], colour_words: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.encoder = ImageEncoder(size)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.reader = QuestionReader(size, label_words, colour_words)

    def forward(self, pixels_BHWC: Tensor, words_BQT: Tensor) -> Tensor:
        """Logits (B, Q, A) for the questions about each picture."""
        batch, questions, _ = words_BQT.shape
        objects_BOF = propose_objects(self.encoder(pixels_BHWC))
        objects = objects_BOF.repeat_interleave(questions, 0)
        logits: Tensor = self.reader(objects, words_BQT.flatten(0, 1)).view(batch, questions, -1)
        return logits
