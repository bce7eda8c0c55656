"""`millrace improve verify RUN_DIR`: every figure of a finished run, computed again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def verify(argv: Sequence[str]) -> int:
    """Answer the command; returns the exit code: 0 all figures agree, 1 some do not.

    Raises:
        InputError: there is no finished run in the folder.
    """
    parser = argparse.ArgumentParser(prog="millrace improve verify", description=(__doc__ or "").strip())
    parser.add_argument("run_dir", type=Path, help="the folder of a finished run")
    options = parser.parse_args(list(argv))

    from millrace.improve.verification.figures_again import differing_figures

    checked, differing = differing_figures(options.run_dir)
    for line in differing:
        print(line)  # noqa: T201 - the command's answer
    print(f"{checked} figures computed anew from the journals: {len(differing)} differ")  # noqa: T201
    return 1 if differing else 0
