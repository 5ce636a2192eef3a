"""What one event, one answer, one user cost, out of the reports of the benchmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.errors import MissingFigureError


@dataclass(frozen=True)
class UnitCosts:
    """Measured on one machine; `cores` are that machine's, which whoever sent the load shared.

    Attributes:
        cores: of the machine.
        answers_per_s: with about 500 ranked items of 92,000.
        many_items: times the time of an answer, at a million items.
        accepted_per_s: events that the service acknowledges.
        applied_per_s: events whose features the one process beside the service brings online.
        log_b: of Redis, an event in the log.
        row_b: of Redis, an event in its user's rows; the items' rows are counted with them.
        lake_b: of disk, an event in the lake.
        ingest_s, features_s: a million events, into the lake; a snapshot over them.
        training_s: a training over a million events.
    """

    cores: int
    answers_per_s: float
    many_items: float
    accepted_per_s: float
    applied_per_s: float
    log_b: float
    row_b: float
    lake_b: float
    ingest_s: float
    features_s: float
    training_s: float

    @classmethod
    def of(cls, reports: Path) -> UnitCosts:
        """Read them.

        Raises:
            MissingFigureError: one was not measured, or only by a short run; names the command.
        """
        serving = _Report(reports / "serving.json", "python -m benchmarks.serving")
        features = _Report(reports / "features.json", "python -m benchmarks.features")
        ops = _Report(reports / "ops.json", "python -m benchmarks.ops")
        scale = ops.figure("scale")["detail"]["events"]
        events, largest = max(((int(name.replace(",", "")), each) for name, each in scale.items()), key=lambda e: e[0])
        rows = features.figure("stream")["detail"]["materialized"]["mb"] * 1e6
        demo = _content(reports / "demo.json", "make demo")
        return cls(
            cores=serving.content["machine"]["cores"],
            answers_per_s=serving.figure("throughput")["detail"]["per_s"]["kairos"],
            many_items=serving.figure("million_items")["value"],
            accepted_per_s=serving.figure("events_rate")["value"],
            applied_per_s=features.figure("stream")["value"],
            log_b=ops.figure("log_memory")["value"],
            row_b=rows / features.figure("pipeline")["detail"]["events"],
            lake_b=largest["lake_mb"] * 1e6 / events,
            ingest_s=largest["ingest"]["s_per_million_events"],
            features_s=largest["features"]["s_per_million_events"],
            training_s=demo["seconds"]["train"] / demo["rows"]["events"] * 1e6,
        )


class _Report:
    def __init__(self, file: Path, command: str) -> None:
        self._file, self._command = file, command
        self.content = _content(file, command)

    def figure(self, name: str) -> Any:
        found = self.content["figures"].get(name)
        if found is None or found["value"] is None or found["detail"].get("quick"):
            raise MissingFigureError(f"{self._file} has no figure {name!r}: measure it with {self._command} {name}")
        return found


def _content(file: Path, command: str) -> Any:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError as error:
        raise MissingFigureError(f"{file} is not there: measure it with {command}") from error
