"""Rejected rows, corrected or as they came, once more through the rules and into the lake.

The lake takes the rows first, and the quarantine notes it afterwards. A kill in between leaves the rows open; the next
replay brings them again, the lake has them already, and they are noted then.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from prefect import flow

from feature_repo import schema as s
from flows import quarantine as q
from flows.connectors.base import BEHAVIOUR, Chunk, Connector
from flows.connectors.columns import Columns
from flows.connectors.csv_reader import CsvFormat, csv_chunks, csv_header
from flows.connectors.files import PARQUET_SUFFIXES, unbroken
from flows.connectors.parquet_reader import parquet_chunks, parquet_header
from flows.connectors.text_map import text_map
from flows.errors import FixedRowsError
from flows.ingest import new_batch_id
from flows.lake_writer import commit_batch, lake_lock
from flows.naming import run_name, this_run
from flows.staging import REJECTED_FILE, Staged, drop_leftovers, stage_batch
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings
from infra.settings import settings as process_settings

LOCK_WAIT_S = 60.0
ABOUT = (q.TABLE, q.ROW, q.RULES)
"""Columns of an exported row that say which row it is and why it is here; the others are its own."""
_NEEDS = {"events": (s.USER_ID, s.ITEM_ID, s.TIMESTAMP), "items": (s.ITEM_ID,), "users": (s.USER_ID,)}

Key = tuple[str, int]
"""Table and row number: which row of a batch."""
Values = dict[str, str]
"""A row's own columns that have a value."""


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did. replayed = resolved + rows in `broken`.

    Args:
        batch_id: under which the lake has the rows; empty if there was nothing to replay.
        replayed: open rows that were judged again.
        resolved: of them, those that follow the rules now.
        already_known: of those, events that the lake had before.
        open: rows of the quarantined batch that wait still.
        already_resolved: rows of the fixed file that an earlier replay took.
        broken: row -> rules that it breaks still.
        data_docs: index page of the Data Docs; None if there was nothing to replay.
    """

    batch_id: str
    replayed: int
    resolved: int
    already_known: int
    open: int
    already_resolved: int
    broken: dict[Key, list[str]] = field(default_factory=dict)
    data_docs: Path | None = None

    @property
    def by_rule(self) -> dict[str, int]:
        return dict(Counter(rule for rules in self.broken.values() for rule in rules))


class QuarantinedRows(Connector):
    """Rows of the quarantine as a source, table by table in the order given."""

    name: ClassVar[str] = "quarantine"
    may_be_refused: ClassVar[bool] = False  # what was bad before may be so still, and its age is no fault
    may_be_empty: ClassVar[bool] = True

    def __init__(self, source: str, dialect: q.Dialect, rows: Mapping[str, Sequence[Values]]) -> None:
        self.source = source
        self.behaviours = dialect.behaviours
        self._tables = {table: _as_table(table, dialect, values) for table, values in rows.items()}

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        rows = self._tables.get(q.EVENTS, s.EVENTS.empty_table())
        for start in range(0, rows.num_rows, chunk_rows):
            yield Chunk(rows.slice(start, chunk_rows), first_row=start + 1)

    def items(self) -> pa.Table | None:
        return self._tables.get("items")

    def users(self) -> pa.Table | None:
        return self._tables.get("users")


@flow(name="replay", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["replay"])
def replay_flow(
    batch_id: str, fixed: Path | None = None, settings: Settings | None = None, now: datetime | None = None
) -> ReplayReport:
    """Replay a quarantined batch: see `replay`."""
    return replay(batch_id, settings or process_settings(), fixed=fixed, now=now, run=this_run())


def replay(
    batch_id: str, settings: Settings, *, now: datetime | None = None, fixed: Path | None = None, run: str = ""
) -> ReplayReport:
    """Bring a batch's open rows in, as an ingest would. Those that break a rule still stay open.

    Args:
        fixed: CSV or Parquet with the columns of `export_rows`: replay these rows, as corrected. None: every open
            row as it stands in the quarantine, for when the rules have changed.
        now: UTC; events after it are from the future. None: the clock, read once the lake's turn has come.
        run: of the flow, for lineage.

    Raises:
        UnknownBatchError: nothing was rejected under that id.
        FixedRowsError: the file holds rows that the batch doesn't have.
        LakeBusyError: an ingest is running.
    """
    with lake_lock(settings, wait_s=LOCK_WAIT_S):
        drop_leftovers(settings)
        held = q.show_batch(settings.quarantine, batch_id)
        file = q.quarantine_file(settings.quarantine, batch_id)
        dialect = q.Dialect.of(file)
        waiting = {key: current for key, current, resolved in _rows(held) if not resolved}
        attempt, already_resolved = dict(waiting), 0
        if fixed is not None:
            corrected = _read_fixed(fixed, dialect, {key for key, _, _ in _rows(held)}, batch_id)
            attempt = {key: values for key, values in corrected.items() if key in waiting}
            already_resolved = len(corrected) - len(attempt)
        # What could not be split into columns has to be written out in columns before it can be judged.
        attempt = {key: values for key, values in attempt.items() if set(values) != {q.LINE}}
        if not attempt:
            return ReplayReport("", 0, 0, 0, len(waiting), already_resolved)

        order = sorted(attempt)
        tables = {table: [attempt[key] for key in order if key[0] == table] for table in {key[0] for key in order}}
        source = QuarantinedRows(f"replay of {batch_id}: {held[q.SOURCE][0]}", dialect, tables)
        moment = now or datetime.now(UTC)
        folder = stage_batch(
            source, settings, batch_id=new_batch_id(moment), now=moment, run=run, progress=False, filed=True
        )
        staged = Staged.load(folder)
        broken = _broken(folder, order)
        resolved = len(attempt) - len(broken)
        known = commit_batch(folder, settings).already_known if resolved else 0
        shutil.rmtree(folder, ignore_errors=True)
        q.save_batch(file, _noted(held, attempt, broken, staged.batch_id), dialect)
    return ReplayReport(
        staged.batch_id,
        len(attempt),
        resolved,
        known,
        len(waiting) - resolved,
        already_resolved,
        broken,
        Path(staged.data_docs),
    )


def export_rows(quarantine: Path, batch_id: str, file: Path) -> int:
    """Write a batch's open rows as CSV: `table, row, rules`, then the columns of their source under our names.

    Returns:
        Rows written.

    Raises:
        UnknownBatchError: nothing was rejected under that id.
    """
    held = q.show_batch(quarantine, batch_id)
    held = held.filter(held[q.RESOLVED_BY].is_null())
    dialect = q.Dialect.of(q.quarantine_file(quarantine, batch_id))
    rows = [values for _, values, _ in _rows(held)]
    names = dict.fromkeys(name for table in held[q.TABLE].unique().to_pylist() for name in _columns(table, dialect))
    names |= dict.fromkeys(name for values in rows for name in values)
    columns = {q.TABLE: held[q.TABLE], q.ROW: held[q.ROW]}
    columns[q.RULES] = pc.binary_join(held[q.RULES], " ")
    columns |= {name: pa.array([values.get(name) for values in rows], pa.string()) for name in names}
    partial = file.with_name(f"{file.name}.partial")
    pacsv.write_csv(pa.table(columns), partial)
    partial.replace(file)
    return held.num_rows


def current_rows(held: pa.Table) -> list[Values]:
    """The rows' own columns: as corrected last, else as they came."""
    return [values for _, values, _ in _rows(held)]


def _rows(held: pa.Table) -> Iterator[tuple[Key, Values, bool]]:
    """Which row, its values as of now, and whether it is resolved."""
    names = (q.TABLE, q.ROW, q.RAW, q.CORRECTED, q.RESOLVED_BY)
    for table, row, raw, corrected, by in zip(*(held[name].to_pylist() for name in names), strict=True):
        yield (table, row), dict(raw if corrected is None else corrected), by is not None


def _columns(table: str, dialect: q.Dialect) -> list[str]:
    """The table's columns in its source, with those that every row needs."""
    known = dialect.columns.get(table, [])
    needed = list(_NEEDS[table])
    if table == q.EVENTS and not {s.EVENT_TYPE, BEHAVIOUR} & set(known):
        needed.insert(2, s.EVENT_TYPE)
    return [*known, *(name for name in needed if name not in known)]


def _as_table(table: str, dialect: q.Dialect, rows: Sequence[Values]) -> pa.Table:
    names = _columns(table, dialect)
    return pa.table({name: pa.array([values.get(name) for values in rows], pa.string()) for name in names})


def _read_fixed(file: Path, dialect: q.Dialect, known: set[Key], batch_id: str) -> dict[Key, Values]:
    """The corrected rows of a file, by which row they are."""
    how = f"get the rows with `kairos quarantine show {batch_id} --out FILE.csv` and keep their {q.TABLE} and {q.ROW}"
    parquet = file.suffix in PARQUET_SUFFIXES
    header = parquet_header(file) if parquet else csv_header(file, CsvFormat())
    ours = {q.LINE, *ABOUT, *(name for table in {table for table, _ in known} for name in _columns(table, dialect))}
    for name in (q.TABLE, q.ROW):
        if name not in header:
            raise FixedRowsError(f"{file}: column {name!r} is missing, found {', '.join(map(repr, header))}; {how}")
    for name in header:
        if name not in ours:
            raise FixedRowsError(f"{file}: column {name!r} is none of the batch's: {', '.join(sorted(ours))}; {how}")
    same = Columns({name: name for name in header})
    chunks = parquet_chunks(file, same, 1 << 20) if parquet else csv_chunks(file, CsvFormat(), same, 1 << 20)
    found: dict[Key, Values] = {}
    for chunk in chunks:
        rows = unbroken(file, chunk)
        own = [name for name in header if name not in ABOUT]
        values = text_map({name: rows[name] for name in own}, rows.num_rows).to_pylist()
        for table, row, pairs in zip(rows[q.TABLE].to_pylist(), rows[q.ROW].to_pylist(), values, strict=True):
            key = (table, int(row) if str(row).isdigit() else -1)
            if key not in known:
                raise FixedRowsError(f"{file}: batch {batch_id} has no rejected row {row!r} of {table!r}; {how}")
            if key in found:
                raise FixedRowsError(f"{file}: row {row} of {table} is there twice; keep one of them")
            filled = {name: value for name, value in pairs if value}
            # A line that was written out in columns has done its service.
            found[key] = filled if set(filled) == {q.LINE} else {n: v for n, v in filled.items() if n != q.LINE}
    return found


def _broken(folder: Path, order: Sequence[Key]) -> dict[Key, list[str]]:
    """Which of the replayed rows broke a rule, and which rules. Staging counts each table's rows from 1."""
    file = folder / REJECTED_FILE
    if not file.exists():
        return {}
    rejected = pq.read_table(file, schema=q.QUARANTINE)
    places = {table: [key for key in order if key[0] == table] for table in _NEEDS}
    return {
        places[table][number - 1]: rules
        for table, number, rules in zip(*(rejected[n].to_pylist() for n in (q.TABLE, q.ROW, q.RULES)), strict=True)
    }


def _noted(held: pa.Table, attempt: Mapping[Key, Values], broken: Mapping[Key, list[str]], by: str) -> pa.Table:
    """The batch's rows with what became of them."""
    rules, corrected, resolved = (held[name].to_pylist() for name in (q.RULES, q.CORRECTED, q.RESOLVED_BY))
    raws = held[q.RAW].to_pylist()
    for place, (key, _, _) in enumerate(_rows(held)):
        if key not in attempt:
            continue
        as_it_came = {name: value for name, value in raws[place] if value}
        corrected[place] = None if attempt[key] == as_it_came else list(attempt[key].items())
        if key in broken:
            rules[place] = broken[key]
        else:
            resolved[place] = by
    for name, values in ((q.RULES, rules), (q.CORRECTED, corrected), (q.RESOLVED_BY, resolved)):
        index = held.schema.get_field_index(name)
        held = held.set_column(index, q.QUARANTINE.field(name), pa.array(values, q.QUARANTINE.field(name).type))
    return held
