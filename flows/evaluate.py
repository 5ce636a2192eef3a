"""The evaluation step: the published bundle ranks for every user of the holdout, beside every source of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.store import Features
from flows.features import data_timeline
from flows.frames import catch_up, states_at
from flows.json_file import write_json
from flows.leaderboard import Leaderboard, leaderboard_rows
from flows.naming import run_name
from flows.retries import again
from flows.time_limits import TIME_LIMITS_S
from flows.timeline import Timeline, just_before
from infra.settings import Settings, settings
from models import bundle, registry
from models.errors import SeenHoldoutError
from models.evaluation import items_of, leaderboard
from models.judged_probabilities import Judged, judge_probabilities
from models.recommender import Recommender
from models.state import UserState

Taken = dict[str, set[str]]
"""user -> items"""


@dataclass(frozen=True)
class Evaluation:
    """What the holdout says of a published bundle."""

    leaderboard: Leaderboard
    probabilities: Judged | None
    """None: the bundle has none."""


def evaluate_bundle(config: Settings, tag: str) -> Evaluation:
    """Rank once for every user at the cut, over the full catalogue, and compare with what they did after it.

    The bundle is read back from the model store, and ranks through the code that serves.

    Raises:
        NoChampionError: the store holds no such bundle.
        SeenHoldoutError: it has learned from days that it would be judged on.
    """
    folder, held = registry.bundle_path(tag), held_out(config)
    until = bundle.manifest(folder)["items_at"]
    if until is not None and until > held.cuts.cut.timestamp():
        raise SeenHoldoutError(
            f"{tag} knows what happened until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC, part of the "
            f"holdout from {held.cuts.cut:%Y-%m-%d %H:%M} on: evaluate the champion that it is a later state of"
        )
    recommender = bundle.load(folder)
    board: Leaderboard = leaderboard(recommender, *_judged(recommender, held), seed=config.seed)
    write_json(config.evaluation(tag), board)
    cut, end = held.cuts.cut.timestamp(), held.cuts.end.timestamp()
    probabilities = judge_probabilities(recommender, held.states, held.events, cut, end)
    if probabilities:
        write_json(config.evaluation(tag).with_suffix(".probabilities.json"), dict(probabilities))
    return Evaluation(board, probabilities)


@dataclass(frozen=True)
class HeldOut:
    """The data of an evaluation: the newest holdout."""

    cuts: Timeline
    events: pa.Table
    """Those before the cut, too."""
    states: list[UserState]
    """Users at the cut."""


def judged(config: Settings, recommender: Recommender) -> tuple[list[UserState], Taken, Taken]:
    """Whom a model is judged on: the users of the holdout as they were at the cut, what they took after it, and before.

    Items that the model does not know count for nobody.
    """
    return _judged(recommender, held_out(config))


def held_out(config: Settings) -> HeldOut:
    """What came after the cut, and users as they were at it."""
    cuts = data_timeline(config)
    features = Features.open(config)
    catch_up(features, [just_before(cuts.cut)])
    events = features.events(end=just_before(cuts.end))
    return HeldOut(cuts, events, states_at(features, events, cuts.cut))


def _judged(recommender: Recommender, held: HeldOut) -> tuple[list[UserState], Taken, Taken]:
    return judged_users(held, recommender.target, recommender.item_names)


def judged_users(held: HeldOut, target: str, catalogue: Collection[str]) -> tuple[list[UserState], Taken, Taken]:
    """As `judged`, by the event type that counts and the items that do."""
    cuts, events = held.cuts, held.events
    truth = items_of(events, target, cuts.cut.timestamp(), cuts.end.timestamp(), catalogue)
    bought = items_of(events, target, 0.0, cuts.cut.timestamp(), catalogue)
    return [state for state in held.states if state.user_id in truth], truth, bought


@task(name="evaluate-bundle", **again(1))
def _evaluate(tag: str) -> Evaluation:
    return evaluate_bundle(settings(), tag)


@flow(name="evaluate", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["evaluate"])
def evaluate_flow(tag: str | None = None) -> Evaluation:
    """Evaluate a published bundle, by default the champion, on the newest holdout."""
    found = _evaluate(tag or registry.champion(settings().champion).tag)
    rows = leaderboard_rows(found.leaderboard)
    create_table_artifact(key="leaderboard", table=rows, description="Holdout, full ranking")
    return found
