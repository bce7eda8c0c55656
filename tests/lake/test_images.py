from __future__ import annotations

import base64
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from millrace.errors import ItemFailed
from millrace.lake.images import REASONS, decode_image, image_bytes
from tests.lake.pictures import encoded

PNG = encoded()

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # Pillow complains of odd metadata before it gives up or goes on


@pytest.mark.parametrize(
    "value",
    [
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        list(PNG),
        tuple(PNG),
        np.frombuffer(PNG, dtype=np.uint8),
        {"bytes": PNG, "path": None},
        {"bytes": list(PNG)},
        base64.b64encode(PNG).decode(),
        base64.urlsafe_b64encode(PNG).decode().rstrip("="),
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "\n".join(base64.b64encode(PNG).decode()[i : i + 76] for i in range(0, 4 * len(PNG), 76)),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "list",
        "tuple",
        "array",
        "struct",
        "struct of list",
        "base64",
        "urlsafe",
        "data url",
        "wrapped",
    ],
)
def test_every_form_of_image_bytes_gives_the_same_picture(value: object) -> None:
    assert image_bytes(value) == PNG
    assert decode_image(value).size == (40, 30)


@pytest.mark.parametrize("value", [None, b"", "", [], {"bytes": None}, {"path": "x.jpg"}, {}])
def test_an_empty_cell_is_no_image_rather_than_a_bad_one(value: object) -> None:
    assert image_bytes(value) is None
    with pytest.raises(ItemFailed) as caught:
        decode_image(value)
    assert caught.value.reason == "no_image"


@pytest.mark.parametrize("value", [12, 1.5, [1, 300], [-1], ["a"], [[1], [2]], [None], "not base64!", "ä", object()])
def test_a_cell_that_is_no_form_of_bytes_says_so(value: object) -> None:
    with pytest.raises(ItemFailed) as caught:
        image_bytes(value)
    assert caught.value.reason == "bad_image_value"
    assert caught.value.detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_every_listed_format_decodes_to_rgb(kind: str) -> None:
    picture = decode_image(encoded(kind=kind))
    assert (picture.mode, picture.size) == ("RGB", (40, 30))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "RGB")),
        *((mode, "TIFF") for mode in ("CMYK", "YCbCr", "LAB")),
        *(("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "WEBP"), ("P", "GIF")),
    ],
)
def test_every_mode_becomes_rgb_and_looks_the_same(mode: str, kind: str) -> None:
    picture = decode_image(encoded(mode=mode, kind=kind))
    assert (picture.mode, picture.size) == ("RGB", (40, 30))
    reference = np.asarray(Image.open(BytesIO(encoded())).convert("L"), dtype=float)
    grey = np.asarray(picture.convert("L"), dtype=float)
    assert np.corrcoef(reference.ravel(), grey.ravel())[0, 1] > (0.35 if mode == "1" else 0.95)


def test_transparency_is_laid_on_white() -> None:
    file = BytesIO()
    Image.new("RGBA", (2, 1), (255, 0, 0, 0)).save(file, "PNG")
    assert decode_image(file.getvalue()).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    file = BytesIO()
    palette.save(file, "PNG", transparency=0)
    assert decode_image(file.getvalue()).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut_off_at_white() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(2, axis=0)
    for kind in ("PNG", "TIFF"):
        file = BytesIO()
        Image.fromarray(ramp).save(file, kind)
        grey = np.asarray(decode_image(file.getvalue()))[0, :, 0]
        assert np.abs(grey.astype(int) - np.arange(256)).max() <= 1
    file = BytesIO()
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32)[None, :]).save(file, "TIFF")
    assert np.abs(np.asarray(decode_image(file.getvalue()))[0, :, 0].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_the_way_its_exif_says(orientation: int) -> None:
    upright = Image.new("RGB", (40, 20), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 20, 10))  # red is top left, and only there
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    stored.save(file, "PNG", exif=exif)
    picture = decode_image(file.getvalue())
    assert picture.size == (40, 20)
    assert picture.getpixel((3, 3)) == (255, 0, 0)
    assert picture.getpixel((36, 16)) == (0, 0, 255)


def test_unreadable_exif_does_not_cost_the_picture() -> None:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert decode_image(file.getvalue()).size == (8, 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_an_image_cut_in_half_is_named_truncated_or_damaged(kind: str) -> None:
    rng = np.random.default_rng(1)
    file = BytesIO()
    Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(file, kind)
    whole = file.getvalue()
    for share in (0.5, 0.9):
        with pytest.raises(ItemFailed) as caught:
            decode_image(whole[: int(len(whole) * share)])
        assert caught.value.reason in {"truncated_image", "damaged_image"}
        assert caught.value.detail


def test_a_cut_jpeg_or_png_is_named_truncated() -> None:
    for kind in ("PNG", "JPEG"):
        whole = encoded(kind=kind, size=(200, 200))
        for end in (12, len(whole) // 2):
            with pytest.raises(ItemFailed) as caught:
                decode_image(whole[:end])
            assert caught.value.reason == "truncated_image", (kind, end)


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_its_pixels_are_decoded(side: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ItemFailed) as caught:
            decode_image(_png_header(side, side))
    assert caught.value.reason == "image_too_large"


def test_the_pixel_limit_is_the_callers_to_set() -> None:
    assert decode_image(PNG, max_pixels=1200).size == (40, 30)
    with pytest.raises(ItemFailed, match="40 x 30"):
        decode_image(PNG, max_pixels=1199)


def test_a_format_that_would_start_another_program_is_not_opened() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ItemFailed) as caught:
        decode_image(postscript)
    assert caught.value.reason == "not_an_image"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_raise_anything_but_a_reason(data: bytes) -> None:
    _decode_or_reason(data)


STORED = [
    encoded(kind=kind, mode=mode)
    for kind, mode in [("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("GIF", "P"), ("TIFF", "RGB"), ("WEBP", "RGB")]
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STORED), st.data())
def test_a_damaged_image_never_raises_anything_but_a_reason(whole: bytes, data: st.DataObject) -> None:
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, max(len(broken) - 1, 0)), st.integers(0, 255)), max_size=6)):
        if broken:
            broken[place] = value
    _decode_or_reason(bytes(broken))


def _decode_or_reason(data: bytes) -> None:
    reason = None
    try:
        picture = decode_image(data, max_pixels=1_000_000)
    except ItemFailed as failure:
        reason = failure.reason
    assert reason in REASONS if reason else picture.mode == "RGB"
