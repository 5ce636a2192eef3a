"""The newest look at each part for Prometheus: a file that node_exporter's textfile collector reads.

Jobs end before anybody could scrape them, and the service does not know what they measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from flows.monitoring.measured import Look

FILE: Final = "kairos.prom"


def registry_of(looks: Iterable[Look]) -> CollectorRegistry:
    """What the file has."""
    registry = CollectorRegistry()
    value = Gauge("kairos_monitor_value", "What was measured", ["part", "measure"], registry=registry)
    low = Gauge("kairos_monitor_low", "The least that is in order", ["part", "measure"], registry=registry)
    high = Gauge("kairos_monitor_high", "The most that is in order", ["part", "measure"], registry=registry)
    broken = Gauge("kairos_monitor_broken", "Measures that are out of order", ["part"], registry=registry)
    looked = Gauge("kairos_monitor_time_seconds", "When a part was looked at, Unix time", ["part"], registry=registry)
    for look in looks:
        broken.labels(look.part).set(len(look.broken))
        looked.labels(look.part).set(look.at.timestamp())
        for measured in look.measures:
            value.labels(look.part, measured.name).set(measured.value)
            for gauge, limit in ((low, measured.low), (high, measured.high)):
                if limit is not None:
                    gauge.labels(look.part, measured.name).set(limit)
    return registry


def write_metrics(folder: Path, looks: Iterable[Look]) -> Path:
    """Write the file, whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    write_to_textfile(str(file), registry_of(looks))
    return file
