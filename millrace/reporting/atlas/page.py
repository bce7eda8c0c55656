"""`atlas/index.html`: the samples, filters, and a link for what is shown. It loads its sheets of thumbnails and nothing else.

Its one script is named by its hash in the page's own policy, so no other can run, whatever a claim or an answer contains; texts
are put in as text. What is shown stands in the address behind `#` (`claim=counting&outcome=failures`): that is the link to share.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from millrace.lake.reader import LakeReader
from millrace.reporting import charts
from millrace.reporting.atlas.samples import Dimension, Sample, pack
from millrace.reporting.atlas.sheets import COLUMNS, PER_SHEET, SIDE_PX, write_sheets
from millrace.run.journal import write_atomic

FOLDER = "atlas"
MOST_IMAGES = 5000
"""Pictures in an atlas: about 30 MB. Samples about further ones are counted in the page."""


def write_atlas(
    run_dir: Path,
    samples: Iterable[Sample],
    dimensions: Sequence[Dimension],
    lakes: Sequence[LakeReader],
    *,
    title: str,
    report: str = "../report.html",
    most_images: int = MOST_IMAGES,
) -> Path:
    """Write `RUN_DIR/atlas/` and return its page.

    Args:
        run_dir: the run's folder.
        samples: in the order in which they are shown.
        dimensions: what they can be filtered by.
        lakes: where their pictures are.
        title: of the page.
        report: the report's place, from the atlas.
        most_images: pictures that are shown at most.
    """
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    packed = pack(samples, dimensions, most_images=most_images)
    unread = write_sheets(folder, packed.images, lakes)
    script = (Path(__file__).parent / "atlas.js").read_text(encoding="utf-8")
    content = packed.content | {"side": SIDE_PX, "columns": COLUMNS, "perSheet": PER_SHEET}
    page = (
        _environment()
        .get_template("atlas_template.html.j2")
        .render(
            title=title,
            report=report,
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data=_for_a_script(json.dumps(content, ensure_ascii=False, separators=(",", ":"))),
            left_out=packed.left_out,
            unread=unread,
        )
    )
    write_atomic(folder / "index.html", page)
    return folder / "index.html"


def link_to(**values: str) -> str:
    """The address of a part of the atlas from the report: `atlas/index.html#claim=counting`; what is empty is not asked for."""
    return f"{FOLDER}/index.html#{urlencode({name: value for name, value in values.items() if value})}"


def _for_a_script(text: str) -> str:
    """JSON that cannot end the element it stands in."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader([Path(__file__).parent, charts.PAGE_PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
