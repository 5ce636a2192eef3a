"""What the frameworks print that says nothing to a user of the command line."""

from __future__ import annotations

import atexit
import logging
import os
import warnings


def quiet_exit() -> None:
    """Close stderr at the very end, when DuckDB's binding prints a page about what the interpreter has not freed.

    What is registered first runs last: call this before the frameworks are imported.
    """
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


def quiet_frameworks() -> None:
    """No logs and no warnings: flows show their own progress, and errors reach the user as one sentence."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # the processes that we start
    warnings.filterwarnings("ignore")
    for talkative in ("lightning.pytorch.utilities.rank_zero", "py.warnings"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
