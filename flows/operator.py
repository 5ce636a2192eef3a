"""Who runs a command that is recorded with a name."""

from __future__ import annotations

import getpass
import os

from infra.settings import Settings


def operator(config: Settings) -> str:
    """As the settings say, else the user's name, else the user's number: not every container's user has a name."""
    try:
        return config.operator or getpass.getuser()
    except KeyError:
        return str(os.getuid())
