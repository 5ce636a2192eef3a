"""How well the platform runs by itself, each figure in a process of its own; writes reports/ops.json.

    make bench-ops                      all of them, after make demo
    python -m benchmarks.ops gate_refuses

`gate_refuses` reads the home of the settings, which `make demo` fills, and leaves it as it was; the others make their
own. docs/operations.md says what each takes and needs.
"""

from __future__ import annotations

from typing import Final

from benchmarks.figures import measure_figures

FIGURES: Final = {
    "deployments": "benchmarks.ops.deployments:measure",
    "production_pipeline": "benchmarks.ops.production_pipeline:measure",
    "gate_refuses": "benchmarks.ops.gate_refuses:measure",
    "incremental": "benchmarks.ops.incremental:measure",
    "kill_flow": "benchmarks.ops.kill_flow:measure",
    "restore": "benchmarks.ops.restore:measure",
    "log_memory": "benchmarks.ops.log_memory:measure",
    "scale": "benchmarks.ops.scale:measure",
    "gate_noise": "benchmarks.ops.gate_noise:measure",
    "drift": "benchmarks.ops.drift:measure",
}
"""Figure -> what measures it"""
LIBRARIES: Final = ("prefect", "great-expectations", "duckdb", "pyarrow", "bentoml", "feast", "torch", "numpy", "redis")

if __name__ == "__main__":
    measure_figures(__doc__, "benchmarks.ops", FIGURES, "ops.json", LIBRARIES)
