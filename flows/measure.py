"""Where the time went, and how much memory it took."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import psutil


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory_gb = round(psutil.virtual_memory().total / 1e9)
    return {"cores": psutil.cpu_count(), "memory_gb": memory_gb, "processor": platform.machine()}


class Measure:
    """Times named steps and samples the memory of this process and its children while it is open.

    Args:
        announce: told the name of each step as it begins.
        interval_s: between two looks at the memory.
    """

    def __init__(self, announce: Callable[[str], None] = lambda _: None, interval_s: float = 0.5) -> None:
        self._announce = announce
        self.seconds: dict[str, float] = {}
        self.peak_rss_mb = 0.0
        self._interval_s = interval_s
        self._closed = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True, name="memory-sampler")

    def __enter__(self) -> Measure:
        self._start = time.perf_counter()
        self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closed.set()
        self._sampler.join()
        self.seconds["total"] = time.perf_counter() - self._start

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `seconds[name]`."""
        self._announce(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._closed.wait(self._interval_s):
            rss = 0
            for member in [process, *process.children(recursive=True)]:
                try:
                    rss += member.memory_info().rss
                except psutil.NoSuchProcess:
                    continue  # a child ended between the listing and the look
            self.peak_rss_mb = max(self.peak_rss_mb, rss / 1e6)
