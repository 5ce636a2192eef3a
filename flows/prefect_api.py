"""Where Prefect's server is, and what is started here."""

from __future__ import annotations

import os
from typing import Final

from infra.settings import Settings

POOL: Final = "kairos"
"""The work pool, as in infra/prefect.yaml"""


def api_url(config: Settings) -> str:
    """Of the Prefect server that `kairos up` starts."""
    return f"http://127.0.0.1:{config.prefect_port}/api"


def prefect_url(config: Settings) -> str:
    """As PREFECT_API_URL says, else the local platform's."""
    return os.environ.get("PREFECT_API_URL") or api_url(config)


def has_own_platform(config: Settings) -> bool:
    """Whether `kairos up` is what runs things here; containers, and machines of a shared Prefect, name its server."""
    return prefect_url(config).replace("//localhost:", "//127.0.0.1:").rstrip("/") == api_url(config)


def has_own_service(config: Settings) -> bool:
    """Whether the service is started here, by `kairos serve` or `kairos up`, and not in a container of its own."""
    return has_own_platform(config) and not config.service_url
