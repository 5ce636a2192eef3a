"""A Redis of the benchmark's own, durable to the last write, that can be killed and come back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

READY_WITHIN_S = 60


@dataclass(frozen=True)
class OwnRedis:
    """By folder and port alone, so that another process than the one that started it can kill it and start it anew."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it has read what it had written."""
        program = shutil.which("redis-server")
        if program is None:
            raise SystemExit("redis-server is not installed: the serving benchmark starts one of its own")
        self.folder.mkdir(parents=True, exist_ok=True)
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            # Not waited for: it outlives the process that starts it anew.
            subprocess.Popen([program, *durable, *where], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + READY_WITHIN_S
        while self._pid() is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"Redis was not ready within {READY_WITHIN_S} s; see {self.folder / 'log'}")
            time.sleep(0.05)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Many writes that may be lost together: written through at the end, not one by one."""
        with Redis(port=self.port) as client:
            client.config_set("appendfsync", "no")
            yield
            client.config_set("appendfsync", "always")

    def kill(self) -> None:
        """As a power cut would end it: SIGKILL."""
        if pid := self._pid():
            os.kill(pid, signal.SIGKILL)

    def _pid(self) -> int | None:
        """None while it does not answer, or is still loading."""
        with Redis(port=self.port, socket_timeout=5, socket_connect_timeout=1) as client:
            try:
                client.ping()
                return int(client.info("server")["process_id"])
            except RedisError:
                return None
