"""The servers of profile production, a part of each for one test: left out where they are not reachable, but in CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.redis_server import redis_address
from infra.ports import free_port
from infra.settings import PROJECT_ROOT, Settings

REDIS_URL = os.environ.get("KAIROS_TEST_REDIS_URL", "redis://localhost:6379/15")
POSTGRES_URL = os.environ.get("KAIROS_TEST_POSTGRES_URL", "postgresql://postgres@localhost:5432/postgres")
PRODUCTION_DOC = PROJECT_ROOT / "docs" / "production.md"


def missing(what: str, error: Exception) -> None:
    """Skip, saying why; in CI the servers must be there."""
    message = f"{what} is not reachable: {error}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def profile(name: str, home: Path) -> Iterator[Settings]:
    """Settings of a profile, `local` or `production`, with servers of its own while this is open."""
    if name == "local":
        yield Settings(home=home, reports=home / "reports")
    else:
        with production(home) as settings:
            yield settings


@contextmanager
def production(home: Path) -> Iterator[Settings]:
    """Settings of profile production with a project and a PostgreSQL schema of their own, removed afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with postgres_schema(name) as registry, redis_project(name) as redis:
        yield Settings(
            home=home,
            reports=home / "reports",
            profile="production",
            project=name,
            registry_type="sql",
            registry=registry,
            online_store="redis",
            redis_url=redis,
            redis_timeout_s=5,
        )


@contextmanager
def postgres_schema(name: str) -> Iterator[str]:
    """A schema while this is open; gives the URL of the database with that schema as the only one."""
    try:
        connection = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        missing("PostgreSQL", error)
        raise
    with connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            yield f"{POSTGRES_URL}?options={quote(f'-csearch_path={name}')}"
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@contextmanager
def redis_project(name: str) -> Iterator[str]:
    """URL for a user with the rights that the docs give it, while this is open; the keys of the Feast project, and of
    those whose names begin with its name, are deleted afterwards.
    """
    with Redis.from_url(REDIS_URL, socket_connect_timeout=3) as client:
        try:
            client.ping()
        except RedisError as error:
            missing("Redis", error)
        rights = re.search(r"^ACL SETUSER kairos on >PASSWORD (.+)$", PRODUCTION_DOC.read_text(), re.MULTILINE)
        assert rights is not None
        client.execute_command("ACL", "SETUSER", name, "on", f">{name}", *rights[1].split())
        try:
            yield urlsplit(REDIS_URL)._replace(netloc=f"{name}:{name}@{redis_address(REDIS_URL)}").geturl()
        finally:
            client.acl_deluser(name)
            for key in client.scan_iter(f"*{name}*"):
                client.delete(key)


@contextmanager
def own_redis(folder: Path, *options: str, port: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis of the test's own, so that it can be halted and killed; its port is the last of its `args`.

    Args:
        folder: where it keeps what `options` tell it to keep; another one on this folder goes on from there.
    """
    program = shutil.which("redis-server")
    if program is None:
        missing("Redis", FileNotFoundError("redis-server is not installed"))
    command = [str(program), "--save", "", *options, "--dir", str(folder), "--port", str(port or free_port())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        with Redis(port=int(command[-1])) as client:
            for _ in range(100):
                try:
                    client.ping()
                    break
                except RedisError:
                    time.sleep(0.05)
        try:
            yield server
        finally:
            server.kill()  # SIGKILL, which ends a halted process too


def port_of(server: subprocess.Popen[bytes]) -> int:
    assert isinstance(server.args, list)
    return int(server.args[-1])


def url_of(server: subprocess.Popen[bytes]) -> str:
    return f"redis://localhost:{port_of(server)}/0"
