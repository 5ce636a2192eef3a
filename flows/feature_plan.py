"""What the feature files would change, and making it so: `kairos features plan` and `kairos features apply`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feature_repo import snapshots
from feature_repo.errors import EmptyLakeError
from feature_repo.evolution import Change
from feature_repo.store import Features
from flows.feature_readers import Reader, live_features, readers
from flows.features import data_timeline, refuse_breaking
from infra.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Args:
        changes: between Feast's registry and the feature files.
        snapshots: view -> how many snapshots are missing or out of date; of all views none while there are no events.
        readers: the published models.
    """

    changes: Sequence[Change]
    snapshots: Mapping[str, int]
    readers: Sequence[Reader]

    def rows(self) -> list[dict[str, str]]:
        """A row per change; the snapshots stand in the first row of their view."""
        left = dict(self.snapshots)
        rows = [
            {
                "change": change.kind,
                "feature": f"{change.view}:{change.field}" if change.field else change.view,
                "what": change.detail,
                "snapshots": str(left.pop(change.view, "")),
                "read by": self._read_by(change),
            }
            for change in self.changes
        ]
        return rows + [
            {"change": "data", "feature": view, "what": "newer or late events", "snapshots": str(n), "read by": ""}
            for view, n in left.items()
        ]

    def _read_by(self, change: Change) -> str:
        in_service = {reader.tag for reader in self.readers if reader.in_service}
        tags = change.readers({reader.tag: reader.features for reader in self.readers})
        return ", ".join(f"{tag} (in service)" if tag in in_service else tag for tag in tags)


def plan(config: Settings) -> Plan:
    """Compare the feature files with Feast's registry and with the snapshots; changes nothing.

    Raises:
        FeatureFileError: a feature file is wrong.
    """
    features = Features.open(config)
    changes = features.changes()
    try:
        missing = features.missing(data_timeline(config).moments)
    except EmptyLakeError:
        missing = []
    return Plan(changes, Counter(one.feature.name for one in missing), readers(config))


def apply(config: Settings, run: str, progress: snapshots.Progress) -> dict[str, int]:
    """Compute what the plan lists, and register it.

    The snapshots come first: whoever reads a registered view finds them.

    Returns:
        New rows per feature.

    Raises:
        LiveFeatureError: a model in service would lose a feature; nothing was written.
        FeatureFileError: a feature file is wrong.
        EmptyLakeError: there are no events.
    """
    refuse_breaking(config)
    features = Features.open(config)
    rows = features.compute(data_timeline(config).moments, run=run, progress=progress)
    features.apply(live_features(config))
    return rows
