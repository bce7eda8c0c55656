"""Log lines of a run started from the command line: into the run folder, so that the terminal keeps its one progress bar."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

FORMAT = "%(asctime)s | %(levelname)-7s | %(name)s - %(message)s"


def log_to_file(path: Path) -> None:
    """Send what Prefect, Dask and our own modules log to `path` instead of the terminal. Handlers for Prefect's API stay."""
    importlib.import_module("prefect.logging.configuration").setup_logging()  # else it comes later and adds its console again
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
