"""Point-in-time retrieval: what Feast asks for, as one as-of join per view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from feast import FeatureView
from feast.infra.offline_stores.offline_store import RetrievalMetadata

from feature_repo.offline_store import asof, entities, times
from feature_repo.offline_store.connection import idents
from feature_repo.offline_store.errors import EntityFrameError, SourceError
from feature_repo.offline_store.sources import Source


@dataclass(frozen=True)
class History:
    """A point-in-time retrieval, not yet run."""

    frame: entities.EntityFrame
    views: Sequence[FeatureView]
    refs: Sequence[str]
    full_names: bool
    created_by_then: bool
    repo_path: Path | str | None

    def prepare(self, con: duckdb.DuckDBPyConnection) -> str:
        """Join every view in turn, each into a table of its own.

        Returns:
            SQL of the result, which puts the tables side by side: rows in the order of the entity frame.
        """
        loaded = entities.load(con, self.frame)
        columns, tables = [idents(list(loaded.types), of="e")], [f"{entities.TABLE} e"]
        taken = set(loaded.types)
        for number, feast_view in enumerate(self.views):
            view = self._view(con, feast_view)
            if both := taken.intersection(view.features.values()):
                raise EntityFrameError(
                    f"view {view.name!r} brings {', '.join(sorted(both))}, which the entity frame or another view has "
                    "too: drop the frame's column, or ask for full feature names"
                )
            taken.update(view.features.values())
            if view.features:
                asof.join(con, loaded, view, into=f"view_{number}")
                columns.append(f"view_{number}.*")
                tables.append(f"view_{number}")
        return f"SELECT {', '.join(columns)} FROM {' POSITIONAL JOIN '.join(tables)}"

    def metadata(self, con: duckdb.DuckDBPyConnection) -> RetrievalMetadata:
        """The span of the entity frame's moments, and its other columns."""
        frame = entities.describe(con, entities.frame_sql(con, self.frame))
        keys = [name for name in frame.types if name != frame.timestamp]
        oldest, newest = (times.EPOCH + t * times.MICROSECOND for t in frame.span) if frame.span else (None, None)
        return RetrievalMetadata(list(self.refs), keys, oldest, newest)

    def _view(self, con: duckdb.DuckDBPyConnection, view: FeatureView) -> asof.View:
        if view.batch_source is None:
            raise SourceError(f"view {view.name!r} has no batch source: give it one, or leave its features out")
        projection = view.projection
        prefix = f"{projection.name_to_use()}:"
        features = [ref.removeprefix(prefix) for ref in self.refs if ref.startswith(prefix)]
        shown = f"{projection.name_alias or view.name}__" if self.full_names else ""
        return asof.View(
            name=view.name,
            source=Source.open(con, view.batch_source, self.repo_path, mapped=True),
            timestamp=view.batch_source.timestamp_field,
            created=view.batch_source.created_timestamp_column or None,
            keys={c.name: projection.join_key_map.get(c.name, c.name) for c in view.entity_columns},
            features={name: shown + name for name in features},
            ttl=view.ttl,
            created_by_then=self.created_by_then,
        )
