"""Every scheduled flow has a limit of its own, which its page names."""

from __future__ import annotations

import importlib
import re

import yaml

from flows.notices import FAILED
from flows.registration import DEPLOYMENTS
from flows.time_limits import TIME_LIMITS_S
from infra.settings import PROJECT_ROOT

FLOWS = {
    each["name"]: each["entrypoint"].removesuffix(".py").replace("/", ".").replace(".py:", ":")
    for each in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]
}
"""Deployment -> module:flow"""


def test_every_flow_ends_at_its_limit() -> None:
    for name, entry in FLOWS.items():
        module, _, flow = entry.partition(":")
        assert getattr(importlib.import_module(module), flow).timeout_seconds == TIME_LIMITS_S.get(name), name
    assert FLOWS.keys() - TIME_LIMITS_S.keys() == {"pipeline"}  # whose parts have theirs


def test_whoever_is_told_of_failures_is_told_of_runs_at_their_limit() -> None:
    assert "prefect.flow-run.TimedOut" in FAILED


def test_the_page_names_them() -> None:
    page = (PROJECT_ROOT / "docs" / "schedules.md").read_text()
    told = dict(re.findall(r"^\| `([\w-]+)` \|[^|]*\| ([^|]*) \|", page, re.MULTILINE))
    wanted = {
        name: f"{limit / 3600:.0f} h" if (limit := TIME_LIMITS_S[name]) >= 3600 else f"{limit / 60:.0f} min"
        for name in FLOWS
        if name in TIME_LIMITS_S
    }
    assert {name: told[name] for name in wanted} == wanted
