"""`millrace push RUN REPO`: says what would be sent; with `--send`, sends it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from millrace.errors import UsageError
from millrace.publishing.finished_dataset import STATUSES, FinishedDataset, finished_dataset

TOKEN = "HF_TOKEN"  # noqa: S105 - the name of the variable
EPILOG = (
    "Example: millrace push runs/a me/my-dataset --license cc-by-4.0, and the same with --send. Nothing is sent without --send. "
    "The token is read from the environment variable that --token-env names. exit codes: 0 done or shown, 1 the server refused, "
    "2 the run, the licence or the token must be corrected (nothing was sent)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run with a dataset")
    parser.add_argument("repository", metavar="REPO", help="owner/name of a dataset repository; it is made where it is not there")
    parser.add_argument("--send", action="store_true", help="send; without it the files are checked and listed")
    parser.add_argument(
        "--license", metavar="ID", help="the licence on the card, e.g. cc-by-4.0; needed where the card names none"
    )
    parser.add_argument(
        "--token-env", default=TOKEN, metavar="NAME", help=f"the variable that holds the token (default: {TOKEN})"
    )
    parser.add_argument("--endpoint", metavar="URL", help="another server with the Hub's API (default: HF_ENDPOINT, or the Hub)")
    parser.add_argument("--private", action="store_true", help="a repository that is made is private")
    parser.add_argument("--message", default="A dataset by Millrace", help="of the commit")


def run(options: argparse.Namespace) -> Iterator[str]:
    """Do it; yields lines to print.

    Raises:
        UsageError: the run, the licence or the token must be corrected; nothing was sent.
        InputError: a file is not what it claims; nothing was sent.
        RunFailed: the server refused.
    """
    if options.repository.count("/") != 1:
        raise UsageError(f"'{options.repository}' is no owner/name")
    dataset = finished_dataset(options.run, options.license)
    yield from shown(dataset, options.repository)
    if not options.send:
        yield f"Nothing was sent. The same command with --send sends it; the token is read from {options.token_env}."
        return
    token = os.environ.get(options.token_env, "")
    if not token:
        raise UsageError(
            f"{options.token_env} is not set: export {options.token_env}=…, or name another variable with --token-env"
        )
    from millrace.publishing.hub import send

    address = send(
        dataset,
        options.repository,
        endpoint=options.endpoint,
        token=token,
        private=options.private,
        message=options.message,
    )
    yield f"Sent: {address}"


def shown(dataset: FinishedDataset, repository: str) -> Iterator[str]:
    """What would be sent."""
    counts = ", ".join(f"{dataset.rows(status):,} {status}" for status in STATUSES if dataset.rows(status))
    yield f"{dataset.run} → {repository}: {counts or 'no rows'}; licence {dataset.licence}"
    for file in dataset.files:
        rows = "" if file.rows is None else f"{file.rows:,} rows, "
        yield f"  {file.name}: {rows}{file.bytes:,} bytes{f', {file.status}' if file.status else ''}"
