"""Training data that needs no download: what scikit-learn and Python's standard library ship, and CIFAR-10 from a folder.

Read from the files directly: importing scikit-learn would cost each training two seconds of start-up.
"""

from __future__ import annotations

import ast
import csv
import gzip
import importlib.util
import io
import pickle
import re
import sysconfig
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from millrace.errors import InputError

# B samples, C channels, H height, W width, T tokens or time, F features

TEST_SHARE = 5
"""Every fifth sample is held out for the test."""

Split = tuple[Tensor, Tensor, Tensor, Tensor]


def _sklearn_file(name: str) -> Path:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise InputError(f"the data set {name} comes with scikit-learn, which is not installed: pip install scikit-learn")
    return Path(spec.origin).parent / "datasets" / "data" / name


def _split(x: Tensor, y: Tensor, max_samples: int) -> Split:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))  # the same split for every seed of a training
    test = order[::TEST_SHARE]
    train = order[torch.arange(len(order)) % TEST_SHARE != 0]
    if max_samples:
        train = train[:max_samples]
    return x[train], y[train], x[test], y[test]


def digits(max_samples: int = 0, device: str = "cpu") -> Split:
    """1,797 handwritten digits: (train_BCHW, train_label_B, test_BCHW, test_label_B), 1 x 8 x 8, values 0 to 1."""
    with gzip.open(_sklearn_file("digits.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    image_BCHW = torch.from_numpy(table[:, :64] / 16.0).reshape(-1, 1, 8, 8)
    return _to(_split(image_BCHW, torch.from_numpy(table[:, 64].astype(np.int64)), max_samples), device)


def breast_cancer(max_samples: int = 0, device: str = "cpu") -> Split:
    """569 tumours, 30 standardised features each, 2 classes."""
    with _sklearn_file("breast_cancer.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    table = np.asarray(rows, dtype=np.float32)
    x_BF = table[:, :-1]
    x_BF = (x_BF - x_BF.mean(0)) / x_BF.std(0)
    return _to(_split(torch.from_numpy(x_BF), torch.from_numpy(table[:, -1].astype(np.int64)), max_samples), device)


def images(folder: Path | None, max_samples: int = 0, device: str = "cpu") -> Split:
    """CIFAR-10 from `folder`, else the digits."""
    return digits(max_samples, device) if folder is None else cifar10(folder, max_samples, device)


def cifar10(folder: Path, max_samples: int = 0, device: str = "cpu") -> Split:
    """CIFAR-10 as downloaded and unpacked, binary or Python version; 3 x 32 x 32, standardised by channel.

    Raises:
        InputError: the folder does not hold it.
    """
    parts = {name: _cifar_batch(folder, name) for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]}
    train = np.concatenate([parts[f"data_batch_{n}"] for n in range(1, 6)])
    tensors = []
    for table in (train[:max_samples] if max_samples else train, parts["test_batch"]):
        image_BCHW = torch.from_numpy(table[:, 1:]).reshape(-1, 3, 32, 32).float() / 255.0
        mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
        tensors += [(image_BCHW - mean[:, None, None]) / std[:, None, None], torch.from_numpy(table[:, 0].astype(np.int64))]
    return _to((tensors[0], tensors[1], tensors[2], tensors[3]), device)


def _cifar_batch(folder: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    for inner in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        if (inner / f"{name}.bin").exists():
            return np.fromfile(inner / f"{name}.bin", dtype=np.uint8).reshape(-1, 3073)
        if (inner / name).exists():
            content = _ArraysOnly(io.BytesIO((inner / name).read_bytes()), encoding="bytes").load()
            return np.column_stack([np.asarray(content[b"labels"], dtype=np.uint8), content[b"data"]])
    raise InputError(f"{folder} does not hold CIFAR-10: there is no {name} or {name}.bin in it")


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays and plain containers and refuses everything else: a data file must not run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Only what an array needs."""
        if (module.split(".", maxsplit=1)[0], name) in {
            ("numpy", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }:
            return super().find_class(module, name)
        raise InputError(f"a CIFAR-10 file asks for {module}.{name}: it is not what it should be")


@cache
def _library_files(count: int) -> list[str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for path in sorted([*folder.glob("*.py"), *folder.glob("[a-ln-z]*/*.py")]):
        if {"test", "tests", "site-packages", "idlelib", "lib2to3", "turtledemo"} & set(path.relative_to(folder).parts):
            continue
        texts.append(path.read_text(encoding="utf-8", errors="ignore"))
        if len(texts) == count:
            break
    return texts


def library_text(characters: int = 200_000) -> str:
    """The beginning of Python's standard library as one text."""
    return "\n".join(_library_files(60))[:characters]


TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|[^\s\w]")


def functions(count: int = 2400, tokens: int = 128, vocabulary: int = 2048) -> tuple[Tensor, Tensor]:
    """Functions of Python's standard library as (token_BT, label_B): does it contain a `raise`? (The word itself is left out.)

    Tokens are hashed into the vocabulary (0 is padding), so it needs no dictionary and no file.
    """
    rows, labels = [], []
    for text in _library_files(90):
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef) or node.end_lineno is None:
                continue
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            words = [word for word in TOKEN.findall("\n".join(lines[node.lineno - 1 : node.end_lineno])) if word != "raise"][
                :tokens
            ]
            row = [1 + zlib.crc32(word.encode()) % (vocabulary - 1) for word in words]
            rows.append(row + [0] * (tokens - len(row)))
            labels.append(int(raises))
        if len(rows) >= count:
            break
    # The classes in equal numbers, so that accuracy means something.
    label_B = torch.tensor(labels)
    yes, no = (label_B == 1).nonzero()[:, 0], (label_B == 0).nonzero()[:, 0]
    kept = torch.cat([yes, no[: len(yes)]]).sort().values[:count]
    return torch.tensor(rows)[kept], label_B[kept]


def split_functions(max_samples: int = 0, device: str = "cpu") -> Split:
    """`functions`, split into training and test."""
    token_BT, label_B = functions()
    return _to(_split(token_BT, label_B, max_samples), device)


def _to(split: Split, device: str) -> Split:
    a, b, c, d = (tensor.to(device) for tensor in split)
    return a, b, c, d
