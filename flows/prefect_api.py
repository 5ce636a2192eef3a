"""Where Prefect's server is."""

from __future__ import annotations

import os

from flows.platform import api_url
from infra.settings import Settings


def prefect_url(config: Settings) -> str:
    """As PREFECT_API_URL says, else the local platform's."""
    return os.environ.get("PREFECT_API_URL") or api_url(config)


def has_own_platform(config: Settings) -> bool:
    """Whether `kairos up` is what runs things here; containers, and machines of a shared Prefect, name its server."""
    return prefect_url(config).replace("//localhost:", "//127.0.0.1:").rstrip("/") == api_url(config)
