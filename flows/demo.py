"""The demo: the whole pipeline, then what came out of it. The code that it runs is the code that production runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from feature_repo.lake import Lake
from flows.connectors import connector as connector_by_name
from flows.errors import OtherDataError
from flows.pipeline import PipelineReport, pipeline_flow, report_json, write_report
from flows.present import console, show_answer, show_leaderboard, show_probabilities, show_seconds
from flows.serving import recommend
from infra.settings import Settings

SHOWN_ITEMS = 10
COMPLETE_JOURNEY = "complete-journey"
NDCG_TARGETS = {"all": 0.435, "novel": 0.047}
"""On Complete Journey: above the best simple rule, and the level of LambdaMART over hand-made features."""


def run_demo(config: Settings, connector: str, options: dict[str, Any]) -> PipelineReport:
    """Run the pipeline on a connector's data, write `reports/demo.json`, show the results.

    Can be killed and run again: what is done is not done twice.

    Raises:
        OtherDataError: the home already holds other data.
    """
    connector_by_name(connector, **options)  # a wrong path or column is told before the home is claimed
    claim_home(config, connector, options)
    start = time.perf_counter()
    console.print(f"Kairos demo on {connector} data, kept in {config.home}. A few minutes; see them in detail with:")
    console.print(f"  tensorboard --logdir {config.runs}\n", highlight=False)
    report = pipeline_flow(connector, options)
    user = Lake(config.lake).newest_user()
    answer = recommend(config, user, SHOWN_ITEMS)
    report.measure.seconds["total"] = time.perf_counter() - start
    content = report_json(report, config)
    if connector == COMPLETE_JOURNEY:
        content["figures"] = figures(content)
    path = write_report(content, config, "demo")

    show_leaderboard(report.leaderboard)
    show_probabilities(report.probabilities)
    show_answer(answer)
    show_seconds(report.measure.seconds, report.measure.peak_rss_mb)
    console.print(f"Report: {path}\nData Docs: {report.ingest.data_docs}", soft_wrap=True, highlight=False)
    prefix = "" if config.home == Settings().home.absolute() else f"KAIROS_HOME={config.home} "
    console.print(
        f"\nNext: {prefix}make serve | {prefix}.venv/bin/kairos recommend {user} | {prefix}.venv/bin/kairos status"
    )
    return report


def figures(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The demo's figures beside what they are to reach, by name."""
    found = {f"ndcg@10 {page}": (content["holdout"][page]["ndcg@10"], target) for page, target in NDCG_TARGETS.items()}
    return {
        name: {"value": f["value"], "unit": "ndcg@10", "target": target, "met": f["value"] >= target, "detail": f}
        for name, (f, target) in found.items()
    }


def claim_home(config: Settings, connector: str, options: dict[str, Any]) -> None:
    """One demo's data per home: two shops' events in one lake would train one model on both.

    Raises:
        OtherDataError: the home was claimed by a demo on other data.
    """
    marker = config.home / "demo.json"
    paths = {name: str(Path(options[name]).resolve()) for name in ("path", "items", "users") if name in options}
    claim = json.dumps({"connector": connector, **options, **paths}, sort_keys=True)
    if marker.exists() and marker.read_text() != claim:
        raise OtherDataError(
            f"{config.home} holds the demo of {marker.read_text()}: "
            f"choose another home, e.g. KAIROS_HOME=.kairos-mine kairos demo ..., or remove {config.home}"
        )
    config.home.mkdir(parents=True, exist_ok=True)
    marker.write_text(claim)
