"""The figure `fuzz`: schemathesis asks for everything in the service's own OpenAPI document, rightly and wrongly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from benchmarks.serving.numbers import figure
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import SEED
from infra.settings import settings

SCHEMA: Final = "/docs.json"
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
SECONDS_PER_EXAMPLE: Final = 2.0
"""Bounds the whole run, with the number of examples."""
SHOWN: Final = 20


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: operations of the API with an answer of 5xx or one that the document does not tell of."""
    report = settings().home.parent / "fuzz.xml"
    with running() as service:
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}{SCHEMA}"]
        limits = [
            *("--max-examples", str(plan.fuzz_examples), "--seed", str(SEED), "--workers", "1"),
            *("--checks", ",".join(CHECKS), "--continue-on-failure", "--generation-database", "none"),
            *("--report", "junit", "--report-junit-path", str(report), "--no-color"),
            *("--request-timeout", "30", "--suppress-health-check", "all"),
        ]
        done = subprocess.run(
            [*command, *limits],
            cwd=report.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=600 + SECONDS_PER_EXAMPLE * 20 * plan.fuzz_examples,
        )
        is_alive = service.get("/livez")[0] == 200
    if not report.exists():
        raise SystemExit(f"schemathesis wrote no report:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314  (our own process wrote it)
    failed = {case.get("name"): _reasons(case) for case in cases if _reasons(case)}
    return {
        "fuzz": figure(
            len(failed),
            "operations with a failure",
            0,
            not failed and bool(cases) and is_alive and done.returncode == 0,
            checks=CHECKS,
            operations=[case.get("name") for case in cases],
            failures=failed,
            examples_per_operation=plan.fuzz_examples,
            summary=_summary(done.stdout),
            exit_status=done.returncode,
        )
    }


def _reasons(case: ElementTree.Element) -> list[str]:
    found = [*case.iter("failure"), *case.iter("error")]
    return [(one.get("message") or one.text or "")[:1_000] for one in found]


def _summary(output: str) -> list[str]:
    """The lines of counts at the end of schemathesis' output."""
    _, _, tail = output.rpartition(" SUMMARY ")
    return [line.strip() for line in tail.splitlines() if re.search(r"\d", line)][:SHOWN]
