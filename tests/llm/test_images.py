"""Images on their way out."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import pybase64
import pytest
from PIL import Image

from millrace.llm import ImagePart, Request, user
from millrace.llm import images as images_module
from millrace.llm.failures import CallFailed
from millrace.llm.images import ImageEncoder, encode_image
from millrace.llm.settings import ImagePolicy
from tests.llm.servers import opened, run, serving


def encoded(kind: str = "PNG", size: tuple[int, int] = (60, 40), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 90).convert(mode).save(out, kind, **options)
    return out.getvalue()


def back(image: images_module.EncodedImage) -> Image.Image:
    return Image.open(io.BytesIO(pybase64.b64decode(image.base64)))


@pytest.mark.parametrize(
    ("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")]
)
def test_what_is_fine_is_sent_byte_for_byte(kind: str, media_type: str) -> None:
    data = encoded(kind)
    made = encode_image(ImagePart(data=data), ImagePolicy())
    assert (made.media_type, pybase64.b64decode(made.base64)) == (media_type, data)


def test_what_is_too_large_is_scaled_to_the_longest_side() -> None:
    made = back(encode_image(ImagePart(data=encoded("JPEG", (400, 200))), ImagePolicy(longest_side=100)))
    assert made.size == (100, 50)


def test_a_photo_with_a_turn_in_its_exif_comes_out_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = back(encode_image(ImagePart(data=encoded("JPEG", (400, 200), exif=exif)), ImagePolicy(longest_side=100)))
    assert made.size == (50, 100)


@pytest.mark.parametrize(("kind", "mode"), [("TIFF", "CMYK"), ("BMP", "RGB"), ("TIFF", "RGBA"), ("PPM", "RGB"), ("TIFF", "LA")])
def test_formats_that_servers_do_not_take_are_made_anew(kind: str, mode: str) -> None:
    made = encode_image(ImagePart(data=encoded(kind, mode=mode)), ImagePolicy())
    assert made.media_type in {"image/png", "image/jpeg"}
    assert back(made).size == (60, 40)


def test_an_image_is_made_smaller_until_it_fits() -> None:
    made = encode_image(ImagePart(data=encoded("PNG", (600, 600))), ImagePolicy(max_bytes=20_000))
    assert len(pybase64.b64decode(made.base64)) <= 20_000


@pytest.mark.parametrize("data", [b"", b"no image", encoded("BMP")[:200]])
def test_what_is_no_image_is_that_items_failure(data: bytes) -> None:
    with pytest.raises(CallFailed, match="not_an_image"):
        encode_image(ImagePart(data=data), ImagePolicy())


def test_a_file_that_is_not_there_is_that_items_failure(tmp_path: Path) -> None:
    with pytest.raises(CallFailed, match="unreadable_image"):
        encode_image(ImagePart(path=str(tmp_path / "none.png")), ImagePolicy())


def test_a_header_that_promises_gigapixels_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "MAX_PIXELS", 1000)
    with pytest.raises(CallFailed, match="image_too_large"):
        encode_image(ImagePart(data=encoded("PNG", (60, 40))), ImagePolicy())


def test_eight_questions_about_one_image_encode_it_once_and_not_on_the_loops_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = images_module.encode_image

    def noted(image: ImagePart, policy: ImagePolicy) -> images_module.EncodedImage:
        threads.append(threading.get_ident())
        return real(image, policy)

    monkeypatch.setattr(images_module, "encode_image", noted)
    data = encoded()

    async def main() -> int:
        encoder = ImageEncoder(ImagePolicy())
        parts = [ImagePart(data=data) for _ in range(8)]
        names = [await encoder.identify(part) for part in parts]
        assert len(set(names)) == 1
        made = await asyncio.gather(*(encoder.encode(part, name) for part, name in zip(parts, names, strict=True)))
        assert all(one is made[0] for one in made)
        encoder.close()
        return threading.get_ident()

    loop_thread = run(main())
    assert len(threads) == 1
    assert threads[0] != loop_thread


def test_bodies_in_flight_stay_within_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encoded("PNG", (200, 200)))
    size = path.stat().st_size * 4 // 3

    async def main() -> None:
        async with serving(latency_ms=30) as (server, url), opened(url, max_bytes_in_flight=size * 3, max_in_flight=16) as chat:
            requests = [Request(messages=(user(str(n), ImagePart(path=str(path))),)) for n in range(16)]
            await asyncio.gather(*(chat.complete(request) for request in requests))
            budget = chat.pool.endpoints[0].model.shared.bytes_in_flight  # type: ignore[attr-defined]
            assert budget.most <= size * 3
            assert server.most_in_flight <= 3

    run(main())
