"""The whole way of the data in one flow: ingest, features, train, publish, evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import flow

from flows.evaluate import evaluate_flow
from flows.features import FeatureReport, features_flow
from flows.ingest import IngestReport
from flows.ingest_flow import ingest_flow
from flows.json_file import write_json
from flows.leaderboard import Leaderboard
from flows.measure import Measure, machine
from flows.naming import run_name
from flows.present import console
from flows.publish import publish_flow
from flows.train import train_flow
from infra.settings import Settings
from models.evaluation import HYBRID, RESTING
from models.judged_probabilities import Judged

LIBRARIES = ("prefect", "feast", "great-expectations", "lightning", "torch", "bentoml", "duckdb", "ibis-framework")
METRICS = ("users", "ndcg@10", "hr@10", "recall@10", "mrr", "coverage", "novelty")


@dataclass(frozen=True)
class PipelineReport:
    """What one run of the whole pipeline did."""

    ingest: IngestReport
    features: FeatureReport
    model: str
    leaderboard: Leaderboard
    probabilities: Judged | None
    measure: Measure


@flow(name="pipeline", flow_run_name=run_name)
def pipeline_flow(connector: str = "event-log", options: dict[str, Any] | None = None) -> PipelineReport:
    """Run every step, each as its own flow. By default the data are the events that the service took.

    Args:
        connector: where the events come from, one of the connectors' names.
        options: the connector's arguments.
    """
    with Measure(announce=lambda step: console.print(f"{step} ...")) as measure:
        with measure.step("ingest"):
            ingested = ingest_flow(connector, options or {}, progress=True)
        with measure.step("features"):
            features = features_flow()
        with measure.step("train"):
            folder = train_flow()
        with measure.step("publish"):
            tag = publish_flow(folder)
        with measure.step("evaluate"):
            evaluation = evaluate_flow(tag)
    return PipelineReport(ingested, features, tag, evaluation.leaderboard, evaluation.probabilities, measure)


def report_json(report: PipelineReport, config: Settings) -> dict[str, Any]:
    """The run's report: the holdout's figures of the hybrid and of every baseline, rows, times, memory, versions."""
    figures = {
        name: {
            page: {metric: metrics[metric] for metric in METRICS if metric in metrics}
            for page, metrics in pages.items()
        }
        for name, pages in report.leaderboard.items()
    }
    return {
        "holdout": figures.pop(HYBRID),
        "as_served": figures.pop(RESTING),
        "baselines": figures,
        "probabilities": report.probabilities,
        "rows": {
            "events": report.ingest.accepted + report.ingest.already_known,
            "quarantined": report.ingest.rejected,
            "features": report.features.rows,
        },
        "seconds": {name: round(seconds, 2) for name, seconds in report.measure.seconds.items()},
        "peak_rss_mb": round(report.measure.peak_rss_mb),
        "model": report.model,
        "machine": machine(),
        "versions": {library: version(library) for library in LIBRARIES},
        "seed": config.seed,
        "cut": report.features.timeline.cut.isoformat(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_report(content: dict[str, Any], config: Settings, name: str) -> Path:
    """Write `reports/NAME.json`, whole or not at all; returns its path."""
    path = config.reports / f"{name}.json"
    write_json(path, content)
    return path
