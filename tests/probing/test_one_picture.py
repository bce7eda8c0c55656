"""Whatever form an image is stored in, all who look at it are shown the same picture, and it is the one that the lake decodes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image

from millrace.lake.images import decode_image
from millrace.lake.rows import LakeRow
from millrace.llm import ImagePart, Reply, Request
from millrace.llm.images import encode_image
from millrace.llm.providers.scripted import ScriptedChat, default_reply
from millrace.llm.run_chats import chats_of_run, close_run_chats
from millrace.llm.settings import ImagePolicy
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.probing.claims import load_claims
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.prompts import write_prompt
from millrace.records.lake import ImageRef
from tests.llm.servers import served


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_run_chats()


def gradient(mode: str) -> Image.Image:
    """Half dark, half light, with a corner that shows how it is turned."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, 20:] = (200, 120, 40)
    pixels[:8, :8] = (0, 255, 0)
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(gradient("RGB"), "PNG", exif=exif)


def see_through() -> bytes:
    image = gradient("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((40, 30)))
    return saved(image, "PNG")


def sixteen_bits() -> bytes:
    return saved(Image.fromarray(np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16)), "PNG")


def animated(kind: str) -> bytes:
    return saved(gradient("RGB"), kind, save_all=True, append_images=[gradient("RGB").rotate(180)], lossless=True)


ODD: dict[str, Callable[[], bytes]] = {
    "turned by EXIF": turned,
    "transparent": see_through,
    "16 bits": sixteen_bits,
    "animated GIF": lambda: animated("GIF"),
    "animated PNG": lambda: animated("PNG"),
    "grey with alpha": lambda: saved(gradient("LA"), "PNG"),
    "palette with a transparent colour": lambda: saved(gradient("P"), "PNG", transparency=0),
    "CMYK": lambda: saved(gradient("CMYK"), "TIFF"),
    "BMP": lambda: saved(gradient("RGB"), "BMP"),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_what_is_sent_is_the_picture_that_the_lake_decodes(name: str) -> None:
    data = ODD[name]()
    sent = base64.b64decode(encode_image(ImagePart(data=data), ImagePolicy()).base64)
    with Image.open(io.BytesIO(sent)) as opened:
        assert opened.mode == "RGB"
        assert getattr(opened, "n_frames", 1) == 1
        seen = np.asarray(opened)
    assert np.array_equal(seen, np.asarray(decode_image(data)))


def sent_by_each(data: bytes, run: Path) -> dict[str, bytes]:
    """Role → the image's bytes as they reach the server."""
    seen: dict[str, bytes] = {}

    def script(request: Request) -> Reply:
        assert request.schema is not None
        (part,) = request.messages[-1].images
        assert part.data is not None
        seen[request.schema["title"].split()[0]] = part.data
        if request.schema["title"] == "subject":
            wanted = request.schema["properties"]["values"]["properties"]
            return Reply(text=orjson.dumps({"offers": True, "values": dict.fromkeys(wanted, "thing")}).decode())
        return default_reply(request)

    run.mkdir()
    (run / "manifest.json").write_text("{}")
    row = LakeRow(ImageRef("p", "a.parquet", 0, ""), data, None, None, {})
    claim = next(claim for claim in load_claims("default").claims if claim.prefill_slots)
    with served(ScriptedChat(script)) as (_, url), chats_of_run(run):
        chat = {"model": "m", "endpoints": [{"base_url": url}], "timeout_s": 20}
        baseline = open_baseline(baseline_settings({"name": "endpoint", "chat": chat}))
        judge = open_judge(judge_settings({"name": "endpoint", "chats": [chat]}))
        subject = judge.choose_subject(claim, row)  # type: ignore[attr-defined]
        (said,) = baseline.complete(decode_image(data), [write_prompt(claim, subject)])
        assert not isinstance(said, Exception)
        judge.judge(claim, subject, said, row)
        close_run_chats()
    return seen


@pytest.mark.parametrize("name", sorted(ODD))
def test_baseline_and_judge_are_shown_the_same_bytes(name: str, tmp_path: Path) -> None:
    seen = sent_by_each(ODD[name](), tmp_path / "run")
    assert {"claim", "subject"} <= set(seen)
    assert len(set(seen.values())) == 1


def test_a_photo_within_limits_reaches_every_role_byte_for_byte(tmp_path: Path) -> None:
    data = saved(Image.effect_noise((300, 200), 90).convert("RGB"), "JPEG", quality=80)
    assert set(sent_by_each(data, tmp_path / "run").values()) == {data}
