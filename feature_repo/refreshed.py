"""The offline store's share of a refresh: the rows that went online, so that a point-in-time read finds them.

Rows of one hour share a file, and the files are a ring: the hour two days later takes the file's place. So there are
never more than `HOURS` of them, and none is ever removed from under a reader. From then on the snapshots speak.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.disk import full_disk_named
from feature_repo.feature import MOMENT, Feature
from feature_repo.feature_code import code_digest
from feature_repo.manifest import Manifest

HOURS: Final = 48


def keep(feature: Feature, rows: pa.Table, moment: datetime, root: Path, batches: Sequence[str], run: str) -> None:
    """Add a refresh's rows, all of one `moment`, to the hour's file; those of the same moment are replaced.

    Args:
        root: folder of the snapshots.
        batches: of the lake, with events up to the moment.
        run: id of the run, for lineage.

    Raises:
        DiskFullError: there is no room.
    """
    moment = moment.astimezone(UTC)
    file = root / feature.name / f"refreshed_{int(moment.timestamp()) // 3_600 % HOURS:02}.parquet"
    table = pa.concat_tables([*_earlier(file, feature, moment), rows]).combine_chunks()
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    with full_disk_named(file, "what is online is right all the same"):
        # The manifest first: rows whose code nobody can tell would be taken for those of an older one.
        Manifest(
            feature=feature.name,
            moment=moment,
            digest=f"refreshed {code_digest(feature)}",
            rows=table.num_rows,
            engine="duckdb",
            run=run,
            computed_at=datetime.now(UTC),
            batches=list(batches),
            code=code_digest(feature),
        ).save(file)
        pq.write_table(table, beside, compression="zstd")
        os.replace(beside, file)


def _earlier(file: Path, feature: Feature, moment: datetime) -> list[pa.Table]:
    """The rows of the same hour and code that are there already."""
    manifest = Manifest.of(file)
    if manifest is None or manifest.code != code_digest(feature) or not file.exists():
        return []
    table = pq.read_table(file)
    same_hour = pc.equal(pc.floor_temporal(table[MOMENT], unit="hour"), _hour(moment))
    return [table.filter(pc.and_(same_hour, pc.not_equal(table[MOMENT], pa.scalar(moment, table[MOMENT].type))))]


def _hour(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment.replace(minute=0, second=0, microsecond=0), pa.timestamp("us", tz="UTC"))
