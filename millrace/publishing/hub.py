"""Sends a finished dataset to a dataset repository of the Hugging Face Hub, or of a server with its API, in one commit."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import RunFailed, UsageError
from millrace.publishing.finished_dataset import FinishedDataset

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

LEAST_SECRET = 8
"""A shorter token is not looked for in the files: it could be a word."""


def send(dataset: FinishedDataset, repository: str, *, endpoint: str | None, token: str, private: bool, message: str) -> str:
    """Make the repository where it is not there, and add all files in one commit; returns the commit's address.

    Files of the repository that this dataset does not have stay as they are.

    Args:
        dataset: what to send.
        repository: `owner/name`.
        endpoint: the server's address; None: the Hub's, or `HF_ENDPOINT`.
        token: allows writing there; it goes into the requests' headers and nowhere else.
        private: make a new repository private.
        message: of the commit.

    Raises:
        UsageError: the package `huggingface_hub` is missing, or a file holds the token.
        RunFailed: the server refused, or could not be reached.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise UsageError("this needs the package huggingface_hub: pip install 'millrace[huggingface]'") from None
    for file in dataset.files:
        if _holds(file.path, token):
            raise UsageError(f"{file.path} holds the token itself: nothing was sent")
    operations: list[CommitOperationAdd] = [
        CommitOperationAdd(file.name, dataset.card.encode() if file.name == "README.md" else file.path) for file in dataset.files
    ]
    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        done = api.create_commit(repository, operations, commit_message=message, repo_type="dataset")
    except HFValidationError as error:
        raise UsageError(f"'{repository}' is no name of a repository: {error}") from None
    except HfHubHTTPError as error:
        raise RunFailed(f"{api.endpoint} refused {repository}: {_without(str(error), token)}") from None
    except OSError as error:
        raise RunFailed(f"{api.endpoint} could not be reached: {_without(str(error), token)}") from None
    return str(done.commit_url)


def _holds(path: Path, secret: str) -> bool:
    if len(secret) < LEAST_SECRET or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(secret.encode()) >= 0


def _without(text: str, secret: str) -> str:
    return " ".join((text.replace(secret, "***") if secret else text).split())
