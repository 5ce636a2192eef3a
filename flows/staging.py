"""From a connector to a folder beside the lake: typed, validated, split into accepted and rejected rows."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from feature_repo import schema as s
from flows.connectors.base import BEHAVIOUR, ROW_FORM, Chunk, Connector
from flows.errors import BatchRefusedError
from flows.quarantine import EVENTS, QuarantineWriter, file_rejected, quarantine_file
from flows.seen_ids import SeenIds
from flows.validation import rules
from flows.validation.checks import Checks, Finding
from flows.validation.typed import typed_events, typed_table
from infra.settings import Settings

EVENTS_FILE: Final = "events.parquet"
ITEMS_FILE: Final = "items.parquet"
USERS_FILE: Final = "users.parquet"
TABLES_FOLDER: Final = "tables"
_REPORT_FILE: Final = "staged.json"
REJECTED_FILE: Final = "rejected.parquet"
_WORK_MEMORY: Final = "1GB"


@dataclass
class Staged:
    """What was read of a batch and how it was judged.

    Args:
        read: rows of events in the source.
        rejected: rows of events that broke a rule.
        by_rule: rule -> rows; a row counts under every rule that it broke. Rules of tables as `items.<rule>`.
        warnings: rule -> rows that broke it and were taken all the same.
        expected: rule -> what it wants, in words, for the rules in `by_rule` and `warnings`.
        notes: what the connector says about the source.
        newest_event: of the accepted ones.
        data_docs: index page of the Data Docs.
        run: of the flow that staged it; empty outside of flows.
    """

    batch_id: str
    source: str
    staged_at: datetime
    run: str = ""
    read: int = 0
    rejected: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    expected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    items: int = 0
    users: int = 0
    newest_event: datetime | None = None
    data_docs: str = ""

    def save(self, folder: Path) -> None:
        (folder / _REPORT_FILE).write_text(json.dumps(vars(self), default=datetime.isoformat))

    @classmethod
    def load(cls, folder: Path) -> Staged:
        values = json.loads((folder / _REPORT_FILE).read_text())
        newest = values["newest_event"]
        values |= {name: Counter(values[name]) for name in ("by_rule", "warnings")}
        values["staged_at"] = datetime.fromisoformat(values["staged_at"])
        return cls(**values | {"newest_event": datetime.fromisoformat(newest) if newest else None})


def drop_leftovers(settings: Settings) -> None:
    """Remove what a killed run left in the staging folder. The caller holds the lake's lock."""
    shutil.rmtree(settings.staging, ignore_errors=True)


def stage_batch(
    connector: Connector,
    settings: Settings,
    *,
    batch_id: str,
    now: datetime,
    run: str = "",
    progress: bool = True,
    filed: bool = False,
) -> Path:
    """Read, type and validate a whole batch; nothing of it is in the lake afterwards.

    Args:
        now: UTC; what counts as the future, and the time under which rejected rows are filed.
        run: of the flow that does this, for lineage.
        filed: the rows are from the quarantine; those that are rejected again are not filed, only left in the
            returned folder as `REJECTED_FILE`.

    Returns:
        The folder that `commit_batch` takes.

    Raises:
        SourceError: the source can't be read.
        BatchRefusedError: a batch rule is broken; the rejected rows are in the quarantine.
        ValidationRunError: a rule could not be evaluated.
    """
    folder = settings.staging / batch_id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with _workspace(folder) as con:
            _Stager(connector, settings, folder, Staged(batch_id, connector.source, now, run), con, filed).run(progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


@contextmanager
def _workspace(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB on a file of the batch's own, so that what doesn't fit into memory goes to the disk."""
    con = duckdb.connect(str(folder / "work.duckdb"), config={"memory_limit": _WORK_MEMORY})
    try:
        con.execute("SET TimeZone = 'UTC'")
        yield con
    finally:
        con.close()


class _Stager:
    """One batch on its way through the rules."""

    def __init__(
        self,
        connector: Connector,
        settings: Settings,
        folder: Path,
        staged: Staged,
        con: duckdb.DuckDBPyConnection,
        filed: bool,
    ) -> None:
        self.connector = connector
        self.settings = settings
        self.folder = folder
        self.now = staged.staged_at
        self.con = con
        self.filed = filed
        self.seen = SeenIds(con, folder / "seen")
        self.checks = Checks(settings.gx)
        self.rejected = QuarantineWriter(folder / REJECTED_FILE, staged.batch_id, self.now, connector.behaviours)
        self.kept = quarantine_file(settings.quarantine, staged.batch_id)
        self.staged = staged
        staged.notes += connector.notes()

    def run(self, progress: bool) -> None:
        items = self._table("items", self.connector.items(), s.ITEMS, s.ITEM_ID, ITEMS_FILE)
        users = self._table("users", self.connector.users(), s.USERS, s.USER_ID, USERS_FILE)
        self._known = {
            rules.ITEM_KNOWN: (s.ITEM_ID, self._ids(items, s.ITEM_ID, self.settings.lake / ITEMS_FILE)),
            rules.USER_KNOWN: (s.USER_ID, self._ids(users, s.USER_ID, self.settings.lake / USERS_FILE)),
        }
        with pq.ParquetWriter(self.folder / EVENTS_FILE, s.EVENTS, compression="zstd") as writer:
            for chunk in _shown(self.connector, self.settings.chunk_rows, progress):
                writer.write_table(self._events(chunk))
        for name, table in self.connector.tables().items():
            (self.folder / TABLES_FOLDER).mkdir(exist_ok=True)
            pq.write_table(table, self.folder / TABLES_FOLDER / f"{name}.parquet", compression="zstd")
        self._judge("events", self.staged.read, self.staged.rejected, self.connector.source)
        self._close()
        self.staged.save(self.folder)

    def _events(self, chunk: Chunk) -> pa.Table:
        """The chunk's accepted rows, as `schema.EVENTS`; the others go to the quarantine."""
        if self.staged.read == 0:
            self._check_columns(chunk.rows.column_names)
        self.rejected.add_broken(self.connector.source, chunk.broken)
        if chunk.broken:
            self._count(ROW_FORM, len(chunk.broken))
            self.staged.expected[ROW_FORM] = f"{chunk.broken[0].expected} fields, as the header has"
        self.staged.read += chunk.rows.num_rows + len(chunk.broken)
        self.staged.rejected += len(chunk.broken)
        if chunk.rows.num_rows == 0:
            return s.EVENTS.empty_table()
        typed = typed_events(self.con, chunk.rows, self.connector.behaviours)
        given = {*chunk.rows.column_names, s.EVENT_TYPE}
        looked_at = [name for name in typed.column_names if name in given - {s.CONTEXT} or name not in s.EVENTS.names]
        frame = typed.select(looked_at).to_pandas()
        for mark, (column, known) in self._known.items():
            if known is not None:
                # The index is hashed once; `isin` would hash all ids anew for each chunk.
                frame[mark] = known.get_indexer(frame[column]) >= 0
        findings = self.checks.run(frame, rules.event_suite(frame.columns, self.now))
        wrong = [finding.rows for finding in findings if not finding.warning]
        findings += self.checks.run(self._copies(typed.column(s.EVENT_ID), wrong), rules.unique_suite())
        bad = self._reject(EVENTS, findings, chunk.rows, chunk.row_numbers, self.connector.source)
        self.staged.rejected += int(bad.sum())
        batch_ids = pa.repeat(self.staged.batch_id, typed.num_rows)
        good = typed.append_column(s.BATCH_ID, batch_ids).select(s.EVENTS.names).filter(pa.array(~bad))
        newest = pc.max(good.column(s.TIMESTAMP)).as_py()
        self.staged.newest_event = max(filter(None, (self.staged.newest_event, newest)), default=None)
        return good.cast(s.EVENTS)

    def _table(self, name: str, raw: pa.Table | None, schema: pa.Schema, id_column: str, file: str) -> pa.Table | None:
        """An items or users table, validated and staged."""
        if raw is None or raw.num_rows == 0:
            return None
        typed = typed_table(self.con, raw, schema)
        given = [column for column in typed.column_names if column in raw.column_names or column not in schema.names]
        frame = typed.select([column for column in given if column != s.ATTRIBUTES]).to_pandas()
        findings = self.checks.run(frame, rules.table_suite(name, id_column, frame.columns))
        source = f"{self.connector.source}: {name}"
        bad = self._reject(name, findings, raw, np.arange(1, raw.num_rows + 1), source)
        self._judge(name, raw.num_rows, int(bad.sum()), source)
        time = pc.fill_null(typed.column(s.TIMESTAMP), pa.scalar(s.BEGINNING, pa.timestamp("us", tz="UTC")))
        typed = typed.set_column(typed.column_names.index(s.TIMESTAMP), s.TIMESTAMP, time)
        good = typed.select(schema.names).filter(pa.array(~bad)).cast(schema)
        pq.write_table(good, self.folder / file, compression="zstd")
        setattr(self.staged, name, good.num_rows)
        return good

    def _reject(
        self, table: str, findings: Sequence[Finding], raw: pa.Table, numbers: np.ndarray, source: str
    ) -> np.ndarray:
        """Rejected rows into the quarantine; returns which they are, bool [rows]."""
        prefix = "" if table == EVENTS else f"{table}."
        bad = np.zeros(raw.num_rows, dtype=bool)
        broken: dict[int, list[str]] = {}
        for finding in findings:
            if len(finding.rows):
                self.staged.expected[prefix + finding.rule] = finding.expected
            if finding.warning:
                self.staged.warnings[prefix + finding.rule] += len(finding.rows)
                continue
            bad[finding.rows] = True
            self._count(prefix + finding.rule, len(finding.rows))
            for row in finding.rows:
                broken.setdefault(int(row), []).append(finding.rule)
        where = np.flatnonzero(bad)
        rules_broken = [broken[int(row)] for row in where]
        self.rejected.add(source, table, raw.take(pa.array(where)), numbers[where], rules_broken)
        return bad

    def _count(self, rule: str, rows: int) -> None:
        if rows:
            self.staged.by_rule[rule] += rows

    def _copies(self, event_ids: pa.ChunkedArray, wrong: Sequence[np.ndarray]) -> pd.DataFrame:
        """Which rows carry the event id of a valid row that came before in this batch, one bool column [rows].

        Args:
            wrong: positions of the rows that broke a rule: they take no id away from a good row that follows.
        """
        good = np.ones(len(event_ids), dtype=bool)
        good[np.concatenate(wrong)] = False
        ids = event_ids.filter(pa.array(good))
        copies = np.zeros(len(event_ids), dtype=bool)
        copies[good] = ids.to_pandas().duplicated().to_numpy() | self.seen.take(ids)
        return pd.DataFrame({rules.IS_COPY: copies})

    def _ids(self, staged: pa.Table | None, column: str, lake_file: Path) -> pd.Index | None:
        """Ids of the table that is staged and the one in the lake, each once; None if there is neither."""
        parts = [] if staged is None else [staged.column(column).to_pandas()]
        if lake_file.is_file():
            parts.append(pq.read_table(lake_file, columns=[column]).column(0).to_pandas())
        ids = pd.Index(pd.concat(parts).unique()) if parts else pd.Index([])
        return ids if len(ids) else None

    def _check_columns(self, names: Sequence[str]) -> None:
        ours = [s.EVENT_TYPE if name == BEHAVIOUR else name for name in names]
        [finding] = self.checks.run(pd.DataFrame(columns=ours), rules.columns_suite())
        if not finding.success:
            self._close()
            raise BatchRefusedError(
                self.staged.batch_id,
                self.connector.source,
                finding.rule,
                f"columns {', '.join(names)}",
                f"{s.USER_ID}, {s.ITEM_ID}, {s.EVENT_TYPE} or {BEHAVIOUR}, {s.TIMESTAMP}",
                "rename the columns or map them",
            )

    def _judge(self, table: str, read: int, rejected: int, source: str) -> None:
        """Evaluate the batch rules; a broken one refuses the whole batch."""
        newest = self.staged.newest_event
        age_days = (self.now - newest).total_seconds() / 86_400 if newest else None
        summary = pd.DataFrame(
            {rules.ROWS: [read], rules.REJECTED_SHARE: [rejected / max(read, 1)], rules.AGE_DAYS: [age_days]}
        ).astype({rules.AGE_DAYS: "float64"})
        refusable = self.connector.may_be_refused
        share = self.settings.max_rejected_share if refusable else 1.0
        max_age = self.settings.max_batch_age_days if refusable and table == EVENTS else None
        min_rows = 0 if self.connector.may_be_empty else 1
        findings = self.checks.run(summary, rules.batch_suite(f"{table}-batch", share, max_age, min_rows))
        broken = next((finding.rule for finding in findings if not finding.success), None)
        if broken is None:
            return
        self._close()
        why = "; ".join(
            f"{rule}: {rows:,}, expected {self.staged.expected[rule]}"
            for rule, rows in self.staged.by_rule.most_common(5)
        )
        told = {
            rules.NOT_EMPTY: ("no rows", "at least 1", "is it the right file?"),
            rules.REJECTED_SHARE: (
                f"{rejected / max(read, 1):.1%} of {read:,} rows rejected ({why})",
                f"at most {share:.1%}",
                f"the rejected rows are in {self.kept}: correct the source, or raise KAIROS_MAX_REJECTED_SHARE",
            ),
            rules.NEWEST_EVENT_AGE: (
                f"the newest event is {age_days or 0:.1f} days old ({newest})",
                f"at most {max_age} days",
                "fetch a newer export, or raise KAIROS_MAX_BATCH_AGE_DAYS",
            ),
        }
        raise BatchRefusedError(self.staged.batch_id, source, broken, *told[broken])

    def _close(self) -> None:
        """Rejected rows into their place and the pages written; done whether the batch is taken or refused."""
        self.rejected.close()
        if self.rejected.path.exists() and not self.filed:
            known = file_rejected(self.rejected.path, self.settings.quarantine, self.staged.batch_id)
            for batch, rows in known.items():
                self.staged.notes.append(f"{rows:,} rejected rows are in the quarantine already, under batch {batch}")
                if not self.kept.exists():
                    self.kept = quarantine_file(self.settings.quarantine, batch)
        self.staged.data_docs = str(self.checks.publish(self.staged.batch_id, self.now))


def _shown(connector: Connector, chunk_rows: int, progress: bool) -> Iterator[Chunk]:
    """The connector's chunks, with a bar that says how far the source is read."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not progress,
    )
    with bar:
        task = bar.add_task(f"ingest {connector.source}", total=1.0, rows=0)
        rows = 0
        for chunk in connector.chunks(chunk_rows):
            yield chunk
            rows += chunk.rows.num_rows + len(chunk.broken)
            bar.update(task, completed=chunk.done or 0.0, rows=rows)
        bar.update(task, completed=1.0)
