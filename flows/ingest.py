"""The way in: a connector's data, validated, into the lake. Running the same data twice adds nothing."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from flows.connectors.base import Connector
from flows.lake_writer import Committed, commit_batch, lake_lock
from flows.staging import Staged, drop_leftovers, stage_batch
from infra.settings import Settings


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did. read = accepted + already_known + rejected.

    Args:
        read: rows of events in the source.
        accepted: events that the lake didn't have.
        already_known: valid events whose id the lake had.
        rejected: rows in the quarantine.
        by_rule: rule -> rows that broke it; of the tables as `items.<rule>`, `users.<rule>`.
        warnings: rule -> rows that broke it and were taken all the same.
        expected: rule -> what it wants, in words, for the rules in `by_rule` and `warnings`.
        notes: what the connector says about its source, e.g. columns that were left out.
        items, users: rows of the tables that came with the events.
        newest_event: of the valid ones.
        data_docs: index page of the Data Docs.
    """

    batch_id: str
    source: str
    read: int
    accepted: int
    already_known: int
    rejected: int
    by_rule: dict[str, int]
    warnings: dict[str, int]
    expected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    items: int = 0
    users: int = 0
    newest_event: datetime | None = None
    data_docs: Path = Path()
    seconds: float = 0.0


def new_batch_id(now: datetime) -> str:
    """Unique, and in the order of time: `20170101T000000Z-1a2b3c4d`."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def ingest(
    connector: Connector, settings: Settings, *, now: datetime, progress: bool = True, batch_id: str | None = None
) -> IngestReport:
    """Read, validate and commit one batch.

    Args:
        now: UTC; events after it are from the future.
        progress: show a bar on stderr.
        batch_id: by default a new one.

    Raises:
        SourceError: the source can't be read.
        BatchRefusedError: a batch rule is broken; the rejected rows are in the quarantine.
        LakeBusyError: another ingest is running.
        ValidationRunError: a rule could not be evaluated.
        In each case the lake is as it was.
    """
    started = time.perf_counter()
    with lake_lock(settings):
        drop_leftovers(settings)
        folder = stage_batch(connector, settings, batch_id=batch_id or new_batch_id(now), now=now, progress=progress)
        staged = Staged.load(folder)
        committed = commit_batch(folder, settings)
        connector.committed()
    return report_of(staged, committed, time.perf_counter() - started)


def report_of(staged: Staged, committed: Committed, seconds: float) -> IngestReport:
    """The two halves of an ingest in one report."""
    return IngestReport(
        batch_id=staged.batch_id,
        source=staged.source,
        read=staged.read,
        accepted=committed.accepted,
        already_known=committed.already_known,
        rejected=staged.rejected,
        by_rule=dict(staged.by_rule),
        warnings={rule: rows for rule, rows in staged.warnings.items() if rows},
        expected=staged.expected,
        notes=staged.notes,
        items=staged.items,
        users=staged.users,
        newest_event=staged.newest_event,
        data_docs=Path(staged.data_docs),
        seconds=seconds,
    )
