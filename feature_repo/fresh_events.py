"""Events that the service took and no ingest has brought to the lake yet."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo import schema as s
from feature_repo.event import to_arrow
from feature_repo.event_log import INGEST_CONSUMER, EventLog
from feature_repo.lake import Lake


def fresh_events(log: Path, lake: Lake) -> pa.Table:
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


def _waiting(path: Path) -> pa.Table:
    if not path.exists():
        return s.EVENTS.empty_table()
    tables = [s.EVENTS.empty_table()]
    with closing(EventLog(path)) as log:
        position = log.place(INGEST_CONSUMER).position
        while True:
            events, last = log.read(INGEST_CONSUMER, after=position)
            if not events:
                return pa.concat_tables(tables)
            tables.append(to_arrow(events))
            position = last
