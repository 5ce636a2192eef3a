"""The whole pipeline on a slice of the real data: every step as its own flow, under a real Prefect server."""

from __future__ import annotations

import json

import bentoml
import pytest
from prefect.client.orchestration import get_client

from flows.catching_up import catch_up_flow
from flows.evaluate import evaluate_bundle
from flows.feature_readers import live_features
from flows.features import data_timeline
from flows.ingest_flow import ingest_flow
from flows.pipeline import PipelineReport
from flows.serving import recommend
from flows.status import status
from infra.settings import Settings
from models import bundle, registry
from models.errors import SeenHoldoutError

from .conftest import HOUSEHOLDS

METRICS = {"users", "ndcg@10", "hr@10", "recall@10", "mrr", "coverage", "novelty"}


def test_every_model_is_on_the_leaderboard_with_intervals(pipeline: PipelineReport) -> None:
    board = pipeline.leaderboard
    assert set(board) >= {"popularity", "own", "neighbours", "als", "sequence", "hybrid"}
    for pages in board.values():
        for page in ("all", "novel"):
            assert set(pages[page]) >= METRICS
            for metric in METRICS:
                figure = pages[page][metric]
                assert figure["low"] <= figure["value"] <= figure["high"]


def test_the_hybrid_beats_popularity_by_far(pipeline: PipelineReport) -> None:
    hybrid, popularity = (pipeline.leaderboard[name]["all"]["ndcg@10"] for name in ("hybrid", "popularity"))
    assert hybrid["low"] > popularity["value"] * 1.5


def test_the_report_has_what_readers_of_it_rely_on(pipeline: PipelineReport, slice_home: Settings) -> None:
    report = json.loads((slice_home.reports / "demo.json").read_text())
    for page in ("all", "novel"):
        for metric in ("ndcg@10", "hr@10"):
            assert set(report["holdout"][page][metric]) == {"value", "low", "high"}
            assert set(report["baselines"]["own"][page][metric]) == {"value", "low", "high"}
    assert report["rows"]["events"] > 10_000
    assert report["rows"]["quarantined"] == 0
    assert set(report["seconds"]) >= {"ingest", "features", "train", "publish", "evaluate", "total"}
    assert report["peak_rss_mb"] > 100
    assert report["model"] == pipeline.model
    assert {"versions", "seed"} <= set(report)


def test_the_bundle_is_champion_and_packed_in_a_bento(pipeline: PipelineReport, slice_home: Settings) -> None:
    assert registry.champion(slice_home.champion).tag == pipeline.model
    [bento] = bentoml.bentos.list()
    assert [str(model.tag) for model in bento.info.all_models] == [pipeline.model]


def test_the_champion_answers_with_what_judged_it_and_is_not_judged_on_it(
    pipeline: PipelineReport, slice_home: Settings
) -> None:
    assert "answers by what happened until" in catch_up_flow()  # another test may have gone back
    held = registry.champion(slice_home.champion)
    assert held.caught_up not in (None, held.tag)
    known = [bundle.manifest(registry.bundle_path(tag))["items_at"] for tag in (held.tag, held.serves)]
    assert known[0] < known[1]
    assert known[1] > data_timeline(slice_home).newest.timestamp()
    with pytest.raises(SeenHoldoutError, match="evaluate the champion"):
        evaluate_bundle(slice_home, held.serves)


def test_what_the_bundle_reads_is_known_of_users_and_items(pipeline: PipelineReport, slice_home: Settings) -> None:
    read = live_features(slice_home)[pipeline.model]
    assert {"user_activity:spend_30d", "item_popularity:price_level", "item_catalogue:category"} <= read


def test_the_same_data_again_add_nothing(pipeline: PipelineReport) -> None:
    again = ingest_flow("complete-journey", {"households": HOUSEHOLDS})
    assert (again.accepted, again.already_known) == (0, pipeline.ingest.accepted)


def test_recommendations_beside_what_was_bought_lately(pipeline: PipelineReport, slice_home: Settings) -> None:
    answer = recommend(slice_home, "1", 10)
    assert answer.known
    assert len({item.item_id for item in answer.items}) == 10
    assert answer.lately[0][0] == "purchase"
    assert not recommend(slice_home, "a stranger", 5).known


def test_status_knows_what_there_is(pipeline: PipelineReport, slice_home: Settings) -> None:
    parts = status(slice_home)
    assert parts["data"]["users"] == HOUSEHOLDS
    assert parts["features"]["state"] == parts["model"]["state"] == "ok"
    assert parts["model"]["champion"] == pipeline.model
    assert "kairos serve" in parts["service"]["state"]


async def test_each_step_ran_as_its_own_flow_and_left_its_artifacts(pipeline: PipelineReport) -> None:
    async with get_client() as client:
        runs = await client.read_flow_runs()
        artifacts = await client.read_artifacts()
    names = {run.name.partition("-2")[0] for run in runs if run.state and run.state.is_completed()}
    assert names >= {"pipeline", "features", "train", "publish", "evaluate"}
    assert {a.key for a in artifacts} >= {
        "leaderboard",
        "feature-counts",
        "champion",
        "ingest-counts",
        "ingest-data-docs",
    }
