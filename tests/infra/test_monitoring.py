"""Alerts and dashboards ask for what the service counts, and every alert says what to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import prometheus_client
import pytest
import yaml
from bentoml._internal.configuration.helpers import get_default_config
from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

from flows.alarms import PREFIX, Alarm
from flows.monitoring.metrics import registry_of
from infra.settings import PROJECT_ROOT, Settings
from infra.thresholds import thresholds
from services import metrics

PROMETHEUS = PROJECT_ROOT / "infra" / "prometheus"
DASHBOARDS = sorted((PROJECT_ROOT / "infra" / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = PROJECT_ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
ALARMS_ALONE = {"batch-refused", "features-refused", "features-drifted", "challenger-refused"}
"""Prometheus has no alert of them"""
PROMETHEUS_OWN = {"up", "ALERTS"}
NAMES = re.compile(r"\b(?:kairos|bentoml)_\w+\b")


def panels(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["panels"]


PANELS = {
    f"{file.stem}: {panel['title']}: {target['refId']}": target["expr"]
    for file in DASHBOARDS
    for panel in panels(file)
    for target in panel["targets"]
}
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in ALERTS} | PANELS


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("promtool is not installed; .ci/run takes it from Debian's package prometheus")
    done = subprocess.run([program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def of(registry: Any) -> set[str]:
    """Every name that a registry exports, with the parts of histograms."""
    names = set()
    for family in registry.collect():
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
        names |= {family.name + end for end in ends.get(family.type, ("",))}
    return names


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """What `/metrics` has, our own names and those of BentoML's layer around every service, and what the jobs write."""
    theirs = prometheus_client.CollectorRegistry()
    kinds = ("Counter", "Gauge", "Histogram", "Summary")
    client = SimpleNamespace(**{kind: partial(getattr(prometheus_client, kind), registry=theirs) for kind in kinds})
    namespace = get_default_config(version=2)["services"]["metrics"]["namespace"]
    RunnerTrafficMetricsMiddleware(None, namespace=namespace)._setup(metrics_client=client, duration_buckets=(1.0,))
    return of(theirs) | of(prometheus_client.REGISTRY) | of(registry_of([]))


@pytest.mark.parametrize("asked", EXPRESSIONS)
def test_every_name_is_exported(asked: str, exported: set[str]) -> None:
    expression = EXPRESSIONS[asked]
    names = set(NAMES.findall(expression))
    assert names <= exported
    assert names or any(own in expression for own in PROMETHEUS_OWN)


def test_everything_of_ours_is_on_a_dashboard_and_in_the_docs(exported: set[str]) -> None:
    page, shown = (PROJECT_ROOT / "docs" / "monitoring.md").read_text(), " ".join(PANELS.values())
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported if name.startswith("kairos_")}
    assert {name for name in ours if name not in shown or f"`{name}`" not in page} == set()


@pytest.mark.parametrize("counter", ["FAILURES", "EVENTS", "SWAPS", "REFRESHES"])
def test_what_is_counted_begins_at_nought(counter: str) -> None:
    """Prometheus sees no increase where a counter appears with its first refusal."""
    code = "\n".join(path.read_text() for path in (PROJECT_ROOT / "services").glob("*.py"))
    counted = {
        value
        for labels in re.findall(rf"\b{counter}\.labels\((.+?)\)\.inc", code)
        for value in re.findall(r'"(\w+)"', labels)
    }
    begun = {next(iter(s.labels.values())) for f in getattr(metrics, counter).collect() for s in f.samples}
    assert counted
    assert counted <= begun


def test_what_stands_in_the_thresholds_too_is_the_same_number() -> None:
    service = thresholds(Settings()).service
    shared = {"KairosEventsWaiting": service.events_waiting, "KairosItemTableOld": service.item_table_s}
    assert {name: float(EXPRESSIONS[name].split("> ")[1]) for name in shared} == shared


def test_the_rules_are_in_order() -> None:
    promtool("check", "rules", "alerts.yml")


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", "alerts.test.yml")
    tested = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("name", ["prometheus.yml", "kubernetes.yml"])
def test_prometheus_can_be_started_with(name: str) -> None:
    # The key is not here, so the syntax alone.
    promtool("check", "config", "--syntax-only", name)


def test_dashboards_ask_what_prometheus_understands(tmp_path: Path) -> None:
    asked = [expression.replace("$__rate_interval", "1m") for expression in PANELS.values()]
    rules = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(asked)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", str(file))


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_dashboards_read_the_provisioned_source(file: Path) -> None:
    folder = PROJECT_ROOT / "infra" / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    shown = panels(file)
    assert {panel["datasource"]["uid"] for panel in shown} == {source["uid"]}
    assert len({panel["id"] for panel in shown}) == len({panel["title"] for panel in shown}) == len(shown)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    named = {rule["annotations"]["runbook"]: rule["alert"] for rule in ALERTS}
    there = {str(page.relative_to(PROJECT_ROOT)): page for page in RUNBOOKS.glob("*.md") if page.name != "README.md"}
    assert named.keys() == there.keys() - {f"docs/runbooks/{alarm}.md" for alarm in ALARMS_ALONE}
    index = (RUNBOOKS / "README.md").read_text()
    for page, alert in named.items():
        assert there[page].read_text().startswith(f"# {alert}\n")
        assert f"[{alert}]({there[page].name})" in index
        assert f"[{alert}](runbooks/{there[page].name})" in (PROJECT_ROOT / "docs" / "monitoring.md").read_text()


@pytest.mark.parametrize("alarm", get_args(Alarm))
def test_every_alarm_of_the_schedules_has_a_runbook(alarm: str) -> None:
    page = (RUNBOOKS / f"{alarm}.md").read_text()
    schedules, index = ((PROJECT_ROOT / "docs" / name).read_text() for name in ("schedules.md", "runbooks/README.md"))
    assert f"[`{PREFIX}.{alarm}`](runbooks/{alarm}.md)" in schedules
    if alarm in ALARMS_ALONE:
        assert page.startswith(f"# {PREFIX}.{alarm}\n")
        assert f"[{PREFIX}.{alarm}]({alarm}.md)" in index
    else:
        assert alarm in index


@pytest.mark.parametrize("part", ["means", "notice", "look", "mend", "over"])
def test_runbooks_have_every_part(part: str) -> None:
    for page in RUNBOOKS.glob("*.md"):
        if page.name != "README.md":
            headings = [line for line in page.read_text().splitlines() if line.startswith("## ")]
            assert any(part in heading for heading in headings), f"{page.name}: {part}"
