"""What is known of an ingested batch, kept in the lake beside its events: the last step of a feature's lineage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

_FOLDER: Final = "batches"


@dataclass(frozen=True)
class Batch:
    """One batch that changed the lake.

    Args:
        source: where it came from: a path, a package, a log, or the replay of another batch.
        run: of the flow that brought it in; empty outside of flows.
        ingested_at: UTC.
        read, accepted, already_known, rejected: rows of events.
        items, users: rows of the tables that came with it.
    """

    batch_id: str
    source: str
    run: str
    ingested_at: datetime
    read: int
    accepted: int
    already_known: int
    rejected: int
    items: int
    users: int

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), default=datetime.isoformat, indent=2))

    @classmethod
    def of(cls, file: Path) -> Batch | None:
        """The batch that a file tells of; None if there is no such file."""
        try:
            fields = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        return cls(**fields | {"ingested_at": datetime.fromisoformat(fields["ingested_at"])})


def batch_file(lake: Path, batch_id: str) -> Path:
    """Where the lake keeps what is known of a batch."""
    return lake / _FOLDER / f"{batch_id}.json"


def batches_of(lake: Path) -> list[Batch]:
    """All that a lake tells of, in the order in which they came."""
    return [batch for file in sorted((lake / _FOLDER).glob("*.json")) if (batch := Batch.of(file))]
