"""The whole pipeline on profile production, over the machine's Redis and PostgreSQL: the tests that CI runs of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from infra.settings import PROJECT_ROOT

TESTS: Final = "tests/flows/test_production.py"


def measure() -> dict[str, Any]:
    """The figure: how many of them pass; without the servers they fail, as in CI, and are not skipped."""
    with tempfile.TemporaryDirectory(prefix="kairos-production-") as folder:
        report = Path(folder) / "tests.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", TESTS, "-p", "no:xdist", f"--junitxml={report}"],
            cwd=PROJECT_ROOT, env=os.environ | {"CI": "1"}, check=False,
        )  # fmt: skip
        [suite] = ElementTree.parse(report).getroot()  # noqa: S314 - pytest wrote it just now
        tests = {
            case.attrib["name"]: not any(case.find(what) is not None for what in ("failure", "error", "skipped"))
            for case in suite.iter("testcase")
        }
    passed = sum(tests.values())
    return {
        "value": passed,
        "unit": f"of {len(tests)} tests pass",
        "target": len(tests),
        "met": passed == len(tests) > 0,
        "detail": {"passed": tests, "seconds": float(suite.attrib["time"])},
    }
