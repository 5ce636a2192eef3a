"""Names of flow runs: what ran and when, so that a list of runs reads like a diary."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import flow_run


def this_run() -> str:
    """The flow run that calls this, by name and id, to keep with what it makes; empty outside of flows."""
    return f"{flow_run.name}_{flow_run.id}" if flow_run.id else ""


def run_name() -> str:
    """`train-2026-01-31T04:00:00`; for `@flow(flow_run_name=run_name)`."""
    return f"{flow_run.flow_name}-{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
