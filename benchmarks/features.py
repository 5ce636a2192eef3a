"""The feature platform's figures, each in a process of its own; writes reports/features.json.

    make bench-features                     all of them; about half an hour on two cores, and 21 GB for one of Feast's
    python -m benchmarks.features parity stream

Reads the lake of the settings (`kairos ingest --connector complete-journey` fills it) and leaves it alone.
"""

from __future__ import annotations

from typing import Final

from benchmarks.figures import measure_figures

FIGURES: Final = {
    "pit_join": "benchmarks.point_in_time:pit_join",
    "pit_join_large": "benchmarks.point_in_time:pit_join_large",
    "pit_equal": "benchmarks.point_in_time:pit_equal",
    "parity": "benchmarks.parity:parity",
    "spark_equal": "benchmarks.spark_equal:spark_equal",
    "pipeline": "benchmarks.pipeline:pipeline",
    "stream": "benchmarks.stream:stream",
    "packed_read": "benchmarks.packed:packed_read",
}
"""Figure -> what measures it"""
LIBRARIES: Final = ("feast", "duckdb", "ibis-framework", "pyarrow", "pyspark", "redis", "great-expectations", "prefect")

if __name__ == "__main__":
    measure_figures(__doc__, "benchmarks.features", FIGURES, "features.json", LIBRARIES)
