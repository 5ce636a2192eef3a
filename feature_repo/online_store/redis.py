"""Redis as the online store: Feast's keys and fields, and the rule of `base` where Feast's own class falls short.

What Feast's class does that a live store must not: it reads the stored timestamps, compares in Python and writes in a
second round trip, so that two writers race; it drops a row of the same timestamp, so that a value computed anew for a
moment never arrives; it writes and reads one view at a time; its client has no time-out and tries a dead server
several times, with pauses in between.

The layout is Feast's (https://docs.feast.dev/reference/online-stores/redis): a hash per entity, a field per feature,
`_ts:VIEW` with the row's timestamp; Feast's own class reads it. Use it from any Feast project by its class path:

    online_store:
        type: feature_repo.online_store.redis.PipelinedRedisOnlineStore
        connection_string: redis://localhost:6379/0
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from feast import FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, _versioned_fv_name
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]
from redis import Redis
from redis import asyncio as redis_asyncio
from redis.asyncio.retry import Retry as RetryAsync
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from feature_repo.errors import OnlineStoreDownError
from feature_repo.online_store.base import FoundRow, Row, Wanted
from feature_repo.online_store.redis_reads import HashReads, found_row, hash_fields
from feature_repo.redis_server import redis_address, redis_client

NEWEST_WINS: Final = (Path(__file__).parent / "newest_wins.lua").read_text()
NEWEST_WINS_SHA: Final = hashlib.sha1(NEWEST_WINS.encode(), usedforsecurity=False).hexdigest()  # Redis' own name for it
CALLS_AT_ONCE: Final = 5_000
"""Entities per pipeline, so that a whole catalogue is not packed in memory at once."""


class PipelinedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """As Feast's, for one Redis server or a managed service's one endpoint."""

    type: Literal["feature_repo.online_store.redis.PipelinedRedisOnlineStore"]  # type: ignore[assignment]
    connection_string: str
    """`redis://[user:password@]host:port/db` (`rediss://` with TLS), or Feast's form `host:port,db=0,password=...`."""
    timeout_s: float = 0.5
    """The longest that a connection or one answer may take."""


class PipelinedRedisOnlineStore(RedisOnlineStore):
    """Reads and writes in one pipeline per call; see the module's docstring."""

    _client: Any = None
    _client_async: Any = None

    # -- the interface of `base` ---------------------------------------------------------------------

    def write_rows(self, config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> int:
        calls = _calls(config, batch)
        client = self._get_client(config.online_store)
        taken = 0
        with _reachable(config):
            for start in range(0, len(calls), CALLS_AT_ONCE):
                part = calls[start : start + CALLS_AT_ONCE]
                try:
                    taken += sum(_queued(client.pipeline(transaction=False), part).execute())
                except NoScriptError:  # a server that is new or was restarted; writing a row again is harmless
                    client.script_load(NEWEST_WINS)
                    taken += sum(_queued(client.pipeline(transaction=False), part).execute())
        return taken

    async def write_rows_async(self, config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> int:
        calls = _calls(config, batch)
        client = await self._get_client_async(config.online_store)
        taken = 0
        with _reachable(config):
            for start in range(0, len(calls), CALLS_AT_ONCE):
                part = calls[start : start + CALLS_AT_ONCE]
                try:
                    taken += sum(await _queued(client.pipeline(transaction=False), part).execute())
                except NoScriptError:
                    await client.script_load(NEWEST_WINS)
                    taken += sum(await _queued(client.pipeline(transaction=False), part).execute())
        return taken

    def read_rows(self, config: RepoConfig, wanted: Sequence[Wanted]) -> list[list[FoundRow]]:
        reads = HashReads(config, wanted)
        return reads.rows(self._read_hash_fields(config, reads.commands))

    async def read_rows_async(self, config: RepoConfig, wanted: Sequence[Wanted]) -> list[list[FoundRow]]:
        reads = HashReads(config, wanted)
        client = await self._get_client_async(config.online_store)
        pipe = client.pipeline(transaction=False)
        for key, fields in reads.commands:
            pipe.hmget(key, fields)
        with _reachable(config):
            return reads.rows(await pipe.execute())

    # -- Feast's interface ---------------------------------------------------------------------------

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        self.write_rows(config, [(table, data)])
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        await self.write_rows_async(config, [(table, data)])
        if progress:
            progress(len(data))

    def update(self, config: RepoConfig, *args: Any, **kwargs: Any) -> None:
        with _reachable(config):
            self._get_client(config.online_store).ping()  # before anything is registered that could not be served
            super().update(config, *args, **kwargs)

    def teardown(self, config: RepoConfig, *args: Any, **kwargs: Any) -> None:
        with _reachable(config):
            super().teardown(config, *args, **kwargs)

    async def initialize(self, config: RepoConfig) -> None:
        await self._get_client_async(config.online_store)

    async def close(self) -> None:
        client, self._client_async = self._client_async, None
        if client:
            await client.aclose()
        if self._client:
            self._client.close()
            self._client = None

    # -- where Feast's reads and writes meet Redis ---------------------------------------------------

    def _read_hash_fields(self, config: RepoConfig, commands: list[tuple[bytes, list[Any]]]) -> list[Any]:
        with _reachable(config):
            return super()._read_hash_fields(config, commands)

    async def online_read_async(self, config: RepoConfig, *args: Any, **kwargs: Any) -> list[FoundRow]:
        with _reachable(config):
            return await super().online_read_async(config, *args, **kwargs)

    async def _read_features_per_fv_async(self, config: RepoConfig, *args: Any) -> None:
        with _reachable(config):
            await super()._read_features_per_fv_async(config, *args)

    def _get_features_for_entity(
        self, values: Sequence[bytes | None], feature_view: str, requested_features: list[str]
    ) -> FoundRow:
        """As Feast's, but see `found_row`; the last of the features is the timestamp's field."""
        return found_row(requested_features[:-1], values)

    def _get_client(self, online_store_config: PipelinedRedisOnlineStoreConfig) -> Any:
        if self._client is None:
            self._client = _connected(Redis, online_store_config, Retry(NoBackoff(), 0))
        return self._client

    async def _get_client_async(self, online_store_config: PipelinedRedisOnlineStoreConfig) -> Any:
        if self._client_async is None:
            self._client_async = _connected(redis_asyncio.Redis, online_store_config, RetryAsync(NoBackoff(), 0))
        return self._client_async


def _connected(kind: type[Any], config: PipelinedRedisOnlineStoreConfig, retry: Any) -> Any:
    return redis_client(kind, config.connection_string, config.timeout_s, retry)


@contextmanager
def _reachable(config: RepoConfig) -> Iterator[None]:
    """Turns whatever the server or the way to it does wrong into one error that says where and what to do.

    Raises:
        OnlineStoreDownError: instead of Redis' own errors.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise OnlineStoreDownError(
            f"the online store, Redis at {redis_address(config.online_store.connection_string)}, failed: {error}; "
            f"see that it runs and that KAIROS_REDIS_URL names it"
        ) from error


def _queued(pipe: Any, calls: Sequence[list[Any]]) -> Any:
    for call in calls:
        pipe.evalsha(NEWEST_WINS_SHA, 1, *call)
    return pipe


def _calls(config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> list[list[Any]]:
    """The script's key and arguments for each entity, the rows of all its views in one call."""
    calls: dict[bytes, list[Any]] = {}
    project = config.project.encode()
    for view, rows in batch:
        names = tuple(feature.name for feature in view.features)
        *fields, stamp_field = hash_fields(_versioned_fv_name(view, config), names)
        for entity, values, at, _ in rows:
            plain = entity.SerializeToString()  # far cheaper than Feast's form of it, which a user's views share
            if (call := calls.get(plain)) is None:
                key = serialize_entity_key(entity, config.entity_key_serialization_version) + project
                call = calls[plain] = [key]
            call += (stamp_field, _stamp(at), len(fields))
            for feature, field in zip(names, fields, strict=True):
                call += (field, _serialised(values, feature))
    return list(calls.values())


def _serialised(values: Mapping[str, Value], feature: str) -> bytes:
    value = values.get(feature)
    return b"" if value is None else value.SerializeToString()


def _stamp(at: datetime) -> bytes:
    stamp = Timestamp()
    stamp.FromDatetime(at if at.tzinfo else at.replace(tzinfo=UTC))
    return stamp.SerializeToString()
