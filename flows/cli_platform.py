"""`kairos up` and `kairos down`: the local platform in one command."""

from __future__ import annotations

from infra.settings import settings


def up() -> None:
    """Start the local platform: Prefect's server with the schedules, a worker, the service. What runs already stays."""
    from flows.platform import up as start
    from flows.present import console

    config = settings()
    start(config, lambda line: console.print(line, soft_wrap=True, highlight=False))
    console.print(
        f"\nSchedules: http://127.0.0.1:{config.prefect_port}  Service: http://{config.host}:{config.port}\n"
        "kairos status shows what runs, kairos down stops it.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def down() -> None:
    """Stop the local platform. Runs that have begun may end within half a minute."""
    from flows.platform import down as stop
    from flows.present import console

    stop(settings(), lambda line: console.print(line, soft_wrap=True, highlight=False))
