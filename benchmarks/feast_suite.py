"""Feast's own tests of offline stores, run against ours from a checkout of Feast.

    git clone --depth 1 https://github.com/feast-dev/feast /tmp/feast
    python -m benchmarks.feast_suite /tmp/feast

Nothing of Feast is copied: its universal tests take the store from the module that `FULL_REPO_CONFIGS_MODULE` names,
`benchmarks.feast_suite_store`. Its fixtures import more than Feast itself:
`pip install minio testcontainers python-keycloak pytest-env pytest-timeout pytest-lazy-fixtures pytest-xdist`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = ("integration/offline_store", "integration/materialization/test_universal_materialization.py")
NOT_OURS = {
    "integration/offline_store/test_non_entity_mode.py": "for the Ray store; like Feast's duckdb, ours wants rows",
    "integration/offline_store/test_dqm_validation.py": "needs Great Expectations 0.x, of before 2023",
    "integration/offline_store/test_s3_custom_endpoint.py": "reads from S3, by a MinIO container",
}


def main(checkout: Path) -> int:
    """Run the tests; pytest says how many pass, and why others are skipped."""
    python = checkout / "sdk" / "python"
    if not (python / "tests").is_dir():
        raise SystemExit(f"{checkout} is no checkout of Feast: {python / 'tests'} is missing")
    here = Path(__file__).resolve().parent.parent
    environment = {
        **os.environ,
        "FULL_REPO_CONFIGS_MODULE": "benchmarks.feast_suite_store",
        "FEAST_IS_LOCAL_TEST": "True",
        "IS_TEST": "True",
        "PYTHONPATH": os.pathsep.join([str(here), str(python)]),
    }
    for test, why in NOT_OURS.items():
        print(f"left out: {test}: {why}")
    command = [sys.executable, "-m", "pytest", "--integration", "-rsf", "-q", "-p", "no:cacheprovider"]
    ignored = [f"--ignore={python / 'tests' / test}" for test in NOT_OURS]
    return subprocess.run(
        [*command, *ignored, *sys.argv[2:], *(str(python / "tests" / test) for test in TESTS)],
        cwd=python,
        env=environment,
        check=False,
    ).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(main(Path(sys.argv[1]).resolve()))
