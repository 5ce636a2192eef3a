"""The evaluation step: the published bundle ranks for every user of the holdout, beside every source of its own."""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.store import Features
from flows.features import data_timeline
from flows.json_file import write_json
from flows.leaderboard import Leaderboard, leaderboard_rows
from flows.naming import run_name
from flows.timeline import just_before
from flows.train import catch_up, states_at
from infra.settings import Settings, settings
from models import bundle, registry
from models.evaluation import items_of, leaderboard
from models.recommender import Recommender
from models.state import UserState

Taken = dict[str, set[str]]
"""user -> items"""


def evaluate_bundle(config: Settings, tag: str) -> Leaderboard:
    """Rank once for every user at the cut, over the full catalogue, and compare with what they did after it.

    The bundle is read back from the model store, and ranks through the code that serves.

    Raises:
        NoChampionError: the store holds no such bundle.
    """
    recommender = bundle.load(registry.bundle_path(tag))
    states, truth, bought = judged(config, recommender)
    board: Leaderboard = leaderboard(recommender, states, truth, bought, seed=config.seed)
    write_json(config.evaluation(tag), board)
    return board


def judged(config: Settings, recommender: Recommender) -> tuple[list[UserState], Taken, Taken]:
    """Whom a model is judged on: the users of the holdout as they were at the cut, what they took after it, and before.

    Items that the model does not know count for nobody.
    """
    cuts = data_timeline(config)
    features = Features.open(config)
    catch_up(features, cuts)
    events = features.events(end=just_before(cuts.end))
    catalogue = recommender.item_names
    truth = items_of(events, recommender.target, cuts.cut.timestamp(), cuts.end.timestamp(), catalogue)
    bought = items_of(events, recommender.target, 0.0, cuts.cut.timestamp(), catalogue)
    return [state for state in states_at(features, events, cuts.cut) if state.user_id in truth], truth, bought


@task(name="evaluate-bundle", retries=1, retry_delay_seconds=5)
def _evaluate(tag: str) -> Leaderboard:
    return evaluate_bundle(settings(), tag)


@flow(name="evaluate", flow_run_name=run_name)
def evaluate_flow(tag: str | None = None) -> Leaderboard:
    """Evaluate a published bundle, by default the champion, on the newest holdout."""
    board = _evaluate(tag or registry.champion(settings().champion).tag)
    create_table_artifact(key="leaderboard", table=leaderboard_rows(board), description="Holdout, full ranking")
    return board
