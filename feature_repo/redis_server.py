"""A Redis server: how it is reached, and what it is called in messages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit


def redis_client(kind: type[Any], connection_string: str, timeout_s: float, retry: Any) -> Any:
    """A client that fails within the time-out: redis-py's default tries three times, with pauses in between.

    Args:
        kind: `redis.Redis` or `redis.asyncio.Redis`.
        connection_string: `redis://[user:password@]host:port/db`, `rediss://` with TLS, or Feast's form
            `host:port,db=0,password=...`.
        timeout_s: the longest that a connection or one answer may take.
        retry: of the same kind as the client.
    """
    options = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "retry": retry,
    }
    if "://" in connection_string:
        return kind.from_url(connection_string, **options)
    from feast.infra.online_stores.redis import RedisOnlineStore  # seconds, which URLs do without

    [node], params = RedisOnlineStore._parse_connection_string(connection_string)
    return kind(**{**options, **node, **params})


def redis_address(connection_string: str) -> str:
    """`host:port`, without user and password."""
    if "://" in connection_string:
        url = urlsplit(connection_string)
        return f"{url.hostname}:{url.port or 6379}"
    return connection_string.split(",")[0]
