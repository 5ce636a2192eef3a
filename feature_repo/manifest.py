"""What a snapshot was made of, kept beside it: the first step from a feature's value back to its events."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Manifest:
    """One snapshot's origin."""

    feature: str
    moment: datetime | None
    """None: the rows carry their own time."""
    digest: str
    """Of the code and the data that it was computed from."""
    rows: int
    engine: str
    run: str
    """Id of the run that wrote it; empty outside of runs."""
    computed_at: datetime
    batches: list[str]
    """Ids of the ingested batches with events up to the moment."""
    code: str = ""
    """Digest of the code alone: snapshots of one feature are read together only if it is the same."""
    backfilled: bool = False
    """A backfill asked for the moment: it is kept, and kept up to date."""

    def save(self, snapshot: Path) -> None:
        """Write beside the snapshot, whole or not at all."""
        file = snapshot.with_suffix(".json")
        partial = file.with_suffix(".json.partial")
        try:
            partial.write_text(json.dumps(asdict(self), default=datetime.isoformat))
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def of(cls, snapshot: Path) -> Manifest | None:
        """The snapshot's manifest; None if it has none."""
        try:
            fields = json.loads(snapshot.with_suffix(".json").read_text())
        except FileNotFoundError:
            return None
        for name in ("moment", "computed_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        return cls(**fields)
