"""Events that the service took: from its durable log into the lake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from feature_repo.event import to_arrow
from feature_repo.event_log import INGEST_CONSUMER, open_event_log, unread
from feature_repo.event_log.sqlite import SqliteEventLog
from flows.connectors.base import Chunk, Connector
from infra.settings import settings


class EventLogConnector(Connector):
    """What the log holds beyond the last mark.

    Args:
        path: an SQLite log's file, by default the installation's own log.
    """

    name: ClassVar[str] = "event-log"
    may_be_empty: ClassVar[bool] = True
    may_be_refused: ClassVar[bool] = False  # nobody corrects what was acknowledged, and it would hold up all else

    def __init__(self, path: str | Path | None = None) -> None:
        self._log = SqliteEventLog(Path(path)) if path else open_event_log(settings())
        self.source = "event log"
        self._start = self._log.place(INGEST_CONSUMER)
        self._read_to = self._start.position

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        first, self._read_to = 1, self._start.position
        for events in unread(self._log, self._read_to, chunk_rows):
            self._read_to = events[-1][0]
            yield Chunk(to_arrow(event for _, event in events), first_row=first)
            first += len(events)

    def committed(self) -> None:
        """Remember that what was read is in the lake. Without it the next run reads it again, and adds nothing."""
        self._log.mark(INGEST_CONSUMER, self._read_to, since=self._start)
