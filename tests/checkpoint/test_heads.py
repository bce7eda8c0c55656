"""The head parser understands what torch writes, and nothing else."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.checkpoint.formats.item_heads import HEAD_BYTES, HeadParser, check_descriptor, parse_head
from millrace.checkpoint.formats.item_pickle import UnusualItemError, read_tensor_pickle, usual_tensor


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@settings(max_examples=100, deadline=None)
@given(
    shape=st.lists(st.integers(0, 300), max_size=4),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.bool, torch.uint16, torch.float8_e4m3fn, torch.complex64]),
    how=st.sampled_from(["whole", "transposed", "part"]),
)
def test_heads_say_where_torch_put_the_bytes(shape: list[int], dtype: torch.dtype, how: str) -> None:
    while torch.Size(shape).numel() > 100_000:
        shape = shape[1:]
    tensor = torch.zeros(shape, dtype=dtype)
    tensor = tensor.mT if how == "transposed" and len(shape) > 1 else tensor
    tensor = tensor[shape[0] // 2 :] if how == "part" and shape else tensor
    data = saved(tensor)
    head = parse_head(data[:HEAD_BYTES], len(data))
    assert (head.dtype, head.sizes, head.strides) == (dtype, tuple(tensor.shape), tensor.stride())
    assert head.storage_offset == tensor.storage_offset()
    assert head.storage_nbytes == tensor.untyped_storage().nbytes()
    assert data[head.data_offset : head.data_offset + head.storage_nbytes] == bytes(head.storage_nbytes)
    if head.descriptor_nbytes:
        check_descriptor(data[head.data_offset + head.storage_nbytes :], head)
    parser = HeadParser()
    assert parser.parse(data[:HEAD_BYTES], len(data)) == head
    assert parser.parse(data[:HEAD_BYTES], len(data)) == head


def test_the_short_way_reads_pickles_as_the_long_way_does() -> None:
    taken = 0
    for sizes in ((1,), (255, 256), (65_535, 1), (65_536, 2), (7, 300, 70_000)):
        data = saved(torch.empty(1, dtype=torch.float16).as_strided(sizes, (0,) * len(sizes)))
        short = usual_tensor(data, 64)
        assert short is None or short == read_tensor_pickle(data, 64)
        taken += short is not None
    assert taken == 5


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3, dtype=torch.complex64).conj(),
        torch.nn.Parameter(torch.zeros(2)),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, requires_grad=True),
        [torch.zeros(2)],
        {"a": 1},
        "text",
    ],
    ids=["conjugated", "parameter", "sparse", "requires_grad", "list", "dict", "text"],
)
def test_what_is_no_plain_tensor_is_left_to_torch(value: Any) -> None:
    data = saved(value)
    with pytest.raises(UnusualItemError):
        parse_head(data[:HEAD_BYTES], len(data))
    with pytest.raises(UnusualItemError):
        HeadParser().parse(data[:HEAD_BYTES], len(data))


WHOLE = saved(torch.zeros(30, 20))


@settings(max_examples=500)
@given(place=st.integers(0, 703), value=st.integers(0, 255))
def test_a_damaged_head_is_refused_or_stays_inside_the_item(place: int, value: int) -> None:
    data = bytearray(WHOLE)
    data[place] = value
    parser = HeadParser()
    parser.parse(WHOLE[:HEAD_BYTES], len(WHOLE))
    for parse in (parse_head, parser.parse):
        with contextlib.suppress(UnusualItemError):
            head = parse(bytes(data[:HEAD_BYTES]), len(data))
            assert head.data_offset + head.storage_nbytes <= len(data)
            assert (head.dtype.itemsize * torch.Size(head.sizes).numel()) <= head.storage_nbytes


@given(st.binary(max_size=900))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, b"PK\x03\x04" + noise, WHOLE[:64] + noise, WHOLE[: len(noise)]):
        with contextlib.suppress(UnusualItemError):
            head = HeadParser().parse(data, len(data))
            assert head.data_offset + head.storage_nbytes <= len(data)
