"""A run's log lines go into its folder: from the command line instead of to the terminal, under a worker also."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORMAT = "%(asctime)s | %(levelname)-7s | %(name)s - %(message)s"


def log_to_file(path: Path, *, prefect: bool = True) -> None:
    """Send what Prefect, Dask and our own modules log to `path` instead of the terminal. Handlers for Prefect's API stay.

    Args:
        path: the log.
        prefect: whether the run imports Prefect.
    """
    if prefect:
        importlib.import_module("prefect.logging.configuration").setup_logging()  # else it comes later, with its console
    file = logging.FileHandler(path, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    for logger in (root, *(entry for entry in root.manager.loggerDict.values() if isinstance(entry, logging.Logger))):
        terminal = [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
        consoles = [handler for handler in terminal if not isinstance(handler, logging.FileHandler)]
        for handler in consoles:
            logger.removeHandler(handler)
        if consoles and not logger.propagate:
            logger.addHandler(file)
    root.addHandler(file)
    root.setLevel(logging.INFO)
    logging.getLogger("prefect").setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every call to the API
    logging.raiseExceptions = False  # a log that can't be written (a full disk) must not fill the terminal with tracebacks
    logging.captureWarnings(capture=True)


@contextmanager
def also_to_file(path: Path) -> Iterator[None]:
    """Add what Prefect and our own modules log in the block to `path`; everything that is logged elsewhere still is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter(FORMAT))
    root, ours = logging.getLogger(), logging.getLogger("millrace")
    known = [entry for entry in root.manager.loggerDict.values() if isinstance(entry, logging.Logger)]
    apart = [logger for logger in known if logger.handlers and not logger.propagate]
    level = ours.level
    for logger in (root, *apart):
        logger.addHandler(file)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        for logger in (root, *apart):
            logger.removeHandler(file)
        file.close()
