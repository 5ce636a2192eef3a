"""Who runs a command that is recorded with a name."""

from __future__ import annotations

import getpass
import os

from infra.settings import Settings


def operator(config: Settings, said: str | None = None) -> str:
    """As was said, else as the settings say, else the user's name or, in a container without one, number."""
    try:
        return (said or "").strip() or config.operator or getpass.getuser()
    except KeyError:
        return str(os.getuid())
