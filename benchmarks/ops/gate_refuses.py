"""Whether the gate keeps out what is worse: the demo's champion against itself, spoiled in twenty ways."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.ops.worse import WAYS, published
from flows.gate import judge
from infra.settings import settings
from models import registry


def measure() -> dict[str, Any]:
    """The figure: how many of the spoiled challengers are refused, each by a check that is meant for it."""
    config = settings()
    champion = registry.bundle_path(registry.champion(config.champion).tag)
    found = {}
    for name, way in WAYS.items():
        with tempfile.TemporaryDirectory() as scratch:
            tag = published(champion, way, Path(scratch))
        try:
            decision = judge(config, tag)
        finally:
            bentoml.models.delete(tag)
        said_no = {finding.check for finding in decision.findings if not finding.passed}
        found[name] = {"refused": bool(said_no & set(way.refused_by)), "reasons": decision.reasons}
        print(f"  {name}: {'; '.join(decision.reasons) or 'ACCEPTED'}", flush=True)
    refused = sum(each["refused"] for each in found.values())
    return {
        "value": refused,
        "unit": f"of {len(found)} worse challengers refused for their own reason",
        "target": len(WAYS),
        "met": refused == len(WAYS),
        "detail": {"challengers": found},
    }
