"""Events that the service took and no ingest has brought to the lake yet."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo import schema as s
from feature_repo.event import to_arrow
from feature_repo.event_log import INGEST_CONSUMER, EventLog, unread
from feature_repo.lake import Lake


def fresh_events(log: EventLog, lake: Lake) -> pa.Table:
    """Events of the log that the lake does not hold, of the contract's schema.

    The log is read before the lake: an event that an ingest moves over meanwhile is in both, and counts once.
    """
    waiting = _waiting(log)
    if not waiting.num_rows:
        return waiting
    oldest = pc.min(waiting[s.TIMESTAMP]).as_py()
    with duckdb.connect() as con:
        con.register("waiting", waiting)
        known = con.sql(
            f"SELECT {s.EVENT_ID} FROM waiting SEMI JOIN "
            f"(SELECT {s.EVENT_ID} FROM read_parquet($files) WHERE {s.TIMESTAMP} >= $oldest) USING ({s.EVENT_ID})",
            params={"files": lake.events, "oldest": oldest},
        ).to_arrow_table()
    return waiting.filter(pc.invert(pc.is_in(waiting[s.EVENT_ID], known[s.EVENT_ID].combine_chunks())))


def _waiting(log: EventLog) -> pa.Table:
    pieces = unread(log, log.place(INGEST_CONSUMER).position)
    tables = [to_arrow(event for _, event in events) for events in pieces]
    return pa.concat_tables([s.EVENTS.empty_table(), *tables])
