"""The stream path: arriving events update their users' online features, by the same expressions as the batch.

The users' histories, kept in memory or read from the online store, take the events in; DuckDB in process runs the
features' compiled SQL over them; all views of all users are written in one round trip.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final, cast

import duckdb
import ibis
import pyarrow as pa

from feature_repo import schema as s
from feature_repo.errors import OnlineStoreDownError
from feature_repo.event import Event
from feature_repo.feature import Feature
from feature_repo.features import discover
from feature_repo.histories import INPUT, History, HistoryCache, event_rows, history_input
from feature_repo.online_store.base import FoundRow, Row, RowsOnlineStore
from feature_repo.online_values import column_values, encoded_rows, entity_key, python_value
from feature_repo.store import Features

HISTORY: Final = "history"
HISTORY_SIZE: Final = "history_size"
CATALOGUE: Final = "item_catalogue"
USERS_AT_ONCE: Final = 1_000
ATTEMPTS: Final = 3
"""Another process may write a user's rows between our reading and our writing, and again."""


class Arrived:
    """What the compiled queries read as the table `history`: whatever stands in `rows` when one runs.

    A query over a table of DuckDB's own is planned anew at every execution (Optimizer::Optimize, since 2.0), which
    costs more than running it on a few users' events; one over an Arrow stream is planned once.
    """

    def __init__(self) -> None:
        self.rows = INPUT.empty_table()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.rows.__arrow_c_stream__(requested_schema)


def compiled(feature: Feature) -> str:
    """DuckDB SQL of a streamed feature over the table `history`."""
    table = ibis.table(ibis.Schema.from_pyarrow(INPUT), name=HISTORY)
    return str(ibis.to_sql(feature.expression(table), dialect="duckdb"))


class StreamPath:
    """Applies events to the online store. One instance per process; safe to call from several threads."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._feast = features.feast
        self._store = cast(RowsOnlineStore, features.feast._get_provider().online_store)
        self._streamed = [f for f in discover().values() if f.streamed and f.name != HISTORY]
        names = (*(feature.name for feature in self._streamed), HISTORY, CATALOGUE)
        self._views = {name: self._feast.get_feature_view(name) for name in names}
        self._cache = HistoryCache()
        self._db = duckdb.connect(config={"threads": 1})
        self._arrived = Arrived()
        self._cursors = {feature.name: self._prepared(feature) for feature in self._streamed}
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="features")
        # Reading a history, adding to it and writing it back must not interleave.
        self._lock = threading.Lock()

    def apply(self, events: Sequence[Event], now: datetime) -> None:
        """Update the features of the events' users as of `now`, or of their newest event if that is later.

        Applying an event again changes nothing: its id tells. Impressions change no feature.

        Raises:
            OnlineStoreDownError: the store cannot be reached, or others write the same users all the time; applying the
                events again later is harmless.
        """
        telling = [event.at(now) for event in events if event.event_type != s.IMPRESSION]
        if not telling:
            return
        with self._lock:
            users = list(dict.fromkeys(event.user_id for event in telling))
            items = list(dict.fromkeys(event.item_id for event in telling))

            def write() -> bool:
                known, categories = self._read(users, items)
                new = event_rows(telling, categories)
                return self._write({user: known[user].with_events(new[user], now) for user in users})

            _until_done(write)

    def take_in(self, moment: datetime) -> int:
        """Give the users whose online rows are newer than the snapshot of `moment` the events that it has and they
        lack, such as those of a file that came late: a materialisation leaves newer rows as they are.

        Returns:
            How many users lacked something.

        Raises:
            OnlineStoreDownError: as for `apply`; doing it again is harmless.
        """
        lacked = 0
        users = self._features.users_with(HISTORY, moment)
        for start in range(0, len(users), USERS_AT_ONCE):
            keys = [entity_key(s.USER_ID, user) for user in users[start : start + USERS_AT_ONCE]]
            with self._lock:
                wanted = [(self._views[HISTORY], keys, [HISTORY_SIZE])]
                [found] = self._store.read_rows(self._feast.config, wanted)
                pairs = zip(users[start : start + USERS_AT_ONCE], found, strict=True)
                if newer := [user for user, (at, _) in pairs if at and at > moment]:
                    lacked += self._take_in(newer, moment)
        return lacked

    def _take_in(self, users: Sequence[str], moment: datetime) -> int:
        stored = self._features.view_at(HISTORY, users, moment)
        batch = {user: History.from_row(user, stored[user], moment).events.to_pylist() for user in users}
        changed: dict[str, History] = {}

        def write() -> bool:
            nonlocal changed
            known, _ = self._read(users, [])
            # A moment of its own: who holds the row in memory must see that it is another one.
            whole = {u: known[u].with_events(batch[u], known[u].moment + timedelta(microseconds=1)) for u in users}
            changed = {user: history for user, history in whole.items() if history.ids != known[user].ids}
            return not changed or self._write(changed)

        _until_done(write)
        return len(changed)

    def _prepared(self, feature: Feature) -> duckdb.DuckDBPyConnection:
        cursor = self._db.cursor()
        cursor.execute("SET TimeZone = 'UTC'")  # hours and weekdays as in the batch, wherever this runs
        cursor.register(HISTORY, self._arrived)
        cursor.execute(f"PREPARE compute AS {compiled(feature)}")
        return cursor

    def _read(self, users: Sequence[str], items: Sequence[str]) -> tuple[dict[str, History], dict[str, str | None]]:
        """The users' histories, from memory where the store has not changed, and the items' categories."""
        keys = {user: entity_key(s.USER_ID, user) for user in users}
        item_keys = [entity_key(s.ITEM_ID, item) for item in items]
        sizes, catalogue = self._store.read_rows(
            self._feast.config,
            [
                (self._views[HISTORY], list(keys.values()), [HISTORY_SIZE]),
                (self._views[CATALOGUE], item_keys, [s.CATEGORY]),
            ],
        )
        known: dict[str, History] = {}
        for user, (moment, row) in zip(users, sizes, strict=True):
            size = python_value(row[HISTORY_SIZE]) if row else None
            if (held := self._cache.get(user, moment, size)) is not None:
                known[user] = held
        missing = [user for user in users if user not in known]
        if missing:
            wanted = [(self._views[HISTORY], [keys[user] for user in missing], None)]
            [found] = self._store.read_rows(self._feast.config, wanted)
            known |= {user: _history(user, row) for user, row in zip(missing, found, strict=True)}
        categories = {
            item: python_value(row[s.CATEGORY]) if row else None
            for item, (_, row) in zip(items, catalogue, strict=True)
        }
        return known, categories

    def _write(self, histories: Mapping[str, History]) -> bool:
        """Compute and write the users' rows; false if newer ones have been written since ours were read."""
        computed = self._compute(history_input(histories.values()))
        computed[HISTORY] = [
            (entity_key(s.USER_ID, user), history.online(), history.moment, None) for user, history in histories.items()
        ]
        batch = [(self._views[name], rows) for name, rows in computed.items()]
        if self._store.write_rows(self._feast.config, batch) < sum(len(rows) for _, rows in batch):
            return False
        for user, history in histories.items():
            self._cache.put(user, history)
        return True

    def _compute(self, arrived: pa.Table) -> dict[str, list[Row]]:
        """The rows of every streamed view but the history itself.

        Two threads take the features in turn, this one and a helper: DuckDB leaves Python's lock while it works, and
        each query is too small for threads of its own.
        """
        self._arrived.rows = arrived
        waiting = iter(self._streamed)  # taking the next one is one step under Python's lock

        def work() -> dict[str, list[Row]]:
            return {feature.name: self._rows(feature) for feature in waiting}

        helped = self._helper.submit(work)
        try:
            computed = work()
        finally:  # whatever happened here: the next batch must not meet a helper that is still at this one
            computed_there = helped.result()
        return computed | computed_there

    def _rows(self, feature: Feature) -> list[Row]:
        computed = self._cursors[feature.name].execute("EXECUTE compute").fetchnumpy()
        columns = [column_values(column) for column in computed.values()]
        return list(encoded_rows(columns, s.USER_ID, feature.fields))


def _until_done(write: Callable[[], bool]) -> None:
    """Try again where another process wrote the same users meanwhile."""
    for _ in range(ATTEMPTS):
        if write():
            return
    raise OnlineStoreDownError(f"the same users were written by others {ATTEMPTS} times in a row")


def _history(user: str, found: FoundRow) -> History:
    moment, row = found
    if moment is None or row is None:
        return History.empty()
    return History.from_online(user, row, moment)
