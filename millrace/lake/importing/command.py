"""`millrace lake import`: pictures of your own as a lake."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from millrace.errors import MillraceError

SAID_EVERY_S = 5.0

EPILOG = (
    "Read are: folders of pictures (with metadata.jsonl or metadata.csv), WebDataset's tar files, zip files, parquet files (the "
    "Hub's data/ layout), folders of datasets.save_to_disk. exit codes: 0 done, 1 LAKE cannot be written, 2 nothing that could "
    "be used, or LAKE is there already, 130 interrupted"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments. Imports nothing heavy, so that `--help` and completion answer at once."""
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="SOURCE",
        help="a folder (walked), a picture, a .tar, .zip, .parquet or .arrow file; may be several",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="LAKE", help="the folder to make; `probing.lake.path` names it"
    )
    parser.add_argument(
        "--copies",
        choices=("group", "drop", "keep"),
        default="group",
        help="near copies of one picture (another size or format): 'group' keeps them in one split of a dataset (default), "
        "'drop' keeps the largest, 'keep' does nothing; the very same file is always kept once",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=None,
        metavar="N",
        help="threads that decode (default: one for each CPU); the lake is the same",
    )


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code: 0 done, 2 nothing that could be used, 130 interrupted (nothing is left behind)."""
    from millrace.lake.importing.sources import Sources
    from millrace.lake.importing.write_lake import summary_text, write_lake

    said_at = time.monotonic()

    def on_images(number: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAID_EVERY_S:
            said_at = time.monotonic()
            sys.stderr.write(f"{number:,} pictures looked at\n")

    sources = Sources(options.sources)
    try:
        if options.workers is not None and options.workers < 1:
            options.workers = 1
        summary = write_lake(
            sources,
            options.out,
            copies=options.copies,
            workers=options.workers,
            left_aside=sources.left_aside,
            on_images=on_images,
        )
    except MillraceError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {options.out} cannot be written: {error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was written\n")
        return 130
    sys.stdout.write(summary_text(summary, options.out) + "\n")
    return 0
