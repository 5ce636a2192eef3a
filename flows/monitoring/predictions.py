"""The champion's answers to a fixed sample of users, beside its answers when it went into service.

The model is the same, so what moves is what it reads: the online features, the item table, what users do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from feature_repo import schema as s
from feature_repo.lake import Lake
from feature_repo.store import Features
from flows.bundles import answering
from flows.json_file import write_json
from flows.monitoring.distance import distance
from flows.monitoring.measured import Look, Measured, above
from flows.serving import clock_start
from infra.settings import Settings
from infra.thresholds import PredictionLimits, thresholds
from models import bundle, registry
from models.recommender import Recommendation
from models.state import UserState

K: Final = 10
"""Length of the answers"""
ACTIVE_DAYS: Final = 90
"""The sample is drawn from those who did something in the newest so many days of the data."""
_TENTHS: Final = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class Told:
    """What was answered, in sum.

    Attributes:
        users: who was asked.
        unknown: how many of them the online store knew nothing of.
        edges: [bins - 1] between the bins of the scores.
        scores: [bins] scores in each.
        sources: source -> how often it proposed what was shown.
        items: item -> to how many users it was shown.
    """

    users: Sequence[str]
    unknown: int
    edges: Sequence[float]
    scores: Sequence[int]
    sources: Mapping[str, int]
    items: Mapping[str, int]

    @classmethod
    def of(
        cls,
        users: Sequence[str],
        unknown: int,
        answers: Sequence[Sequence[Recommendation]],
        edges: Sequence[float] = (),
    ) -> Told:
        """Sum answers up.

        Args:
            answers: [users] one each.
            edges: of the scores' bins; by default tenths of these scores.
        """
        shown = [item for answer in answers for item in answer]
        scores = np.array([item.score for item in shown], dtype=np.float64)
        if not edges and len(scores):
            edges = np.unique(np.quantile(scores, _TENTHS)).tolist()
        counts = np.bincount(np.searchsorted(edges, scores), minlength=len(edges) + 1)
        sources = Counter(source for item in shown for source in item.sources)
        items = Counter(item.item_id for item in shown)
        # `asdict` would make another counter of a counter's entries.
        return cls(users, unknown, edges, counts.tolist(), dict(sources), dict(items))

    def save(self, file: Path) -> None:
        write_json(file, asdict(self))

    @classmethod
    def read(cls, file: Path) -> Told | None:
        """None: there is no such file."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None


def look_at_predictions(config: Settings, now: datetime) -> Look:
    """Ask the champion; the first look after it went into service is what later ones are compared with.

    Args:
        now: UTC.

    Raises:
        NoChampionError: none is in service.
        FeatureError: the online store or Feast's registry cannot be reached.
    """
    limits, champion = thresholds(config).predictions, registry.champion(config.champion)
    tag, since = champion.tag, datetime.fromisoformat(champion.since).astimezone(UTC)
    # One that is back after a rollback is not held to the features of weeks ago.
    file = config.monitoring / "champions" / f"{champion.version}-{since:%Y%m%dT%H%M%S.%fZ}.json"
    before = Told.read(file)
    users = before.users if before else sample(config, limits.users)
    if len(users) < limits.least_users:
        return Look("predictions", now, f"{len(users)} users are too few to ask {tag}")
    told = ask(config, answering(champion), users, now, before.edges if before else ())
    if before is None:
        told.save(file)
        return Look(
            "predictions", now, f"answers of {tag} to {len(users)} users: the first, later ones are compared with them"
        )
    about = f"answers of {tag} to {len(users)} users, beside its first"
    return Look("predictions", now, about, tuple(compare(told, before, limits)))


def sample(config: Settings, most: int) -> list[str]:
    """Users of the newest days of the data, always the same ones of the same data."""
    lake = Lake(config.lake)
    since = f"(SELECT max({s.TIMESTAMP}) FROM ({lake.events_sql})) - INTERVAL {ACTIVE_DAYS} DAY"
    query = (
        f"SELECT DISTINCT {s.USER_ID} FROM ({lake.events_sql}) WHERE {s.TIMESTAMP} > {since} "
        f"AND {s.EVENT_TYPE} <> '{s.IMPRESSION}' ORDER BY md5({s.USER_ID}) LIMIT {most}"
    )
    with duckdb.connect() as con:
        return [user for (user,) in con.sql(query).fetchall()]


def ask(config: Settings, tag: str, users: Sequence[str], now: datetime, edges: Sequence[float] = ()) -> Told:
    """What a published bundle answers by the online features as they are."""
    folder = registry.bundle_path(tag)
    recommender, names = bundle.load(folder), bundle.manifest(folder)["features"]
    features, at = Features.open(config), (clock_start(config) or now).astimezone(UTC)
    states = [UserState.from_row(user, features.online_user(user, names, at), at.timestamp()) for user in users]
    unknown = sum(state.is_unknown for state in states)
    return Told.of(users, unknown, recommender.recommend(states, K), edges)


def compare(ours: Told, theirs: Told, limits: PredictionLimits) -> list[Measured]:
    """Answers of now beside those of before, to the same users."""
    users = len(theirs.users)
    sources = sorted({*ours.sources, *theirs.sources})
    proposed = [np.array([told.sources.get(source, 0) for source in sources], float) for told in (ours, theirs)]
    scores = [np.array(told.scores, float) for told in (ours, theirs)]
    busiest = [max(told.items.values(), default=0) / users for told in (ours, theirs)]
    return [
        Measured("distance: scores", distance(*scores), high=limits.distance),
        Measured("distance: sources", distance(*proposed), high=limits.distance),
        above("users without features", ours.unknown / users, [theirs.unknown / users], limits.unknown_users),
        Measured("different items shown", len(ours.items), low=len(theirs.items) / limits.coverage),
        Measured("users who are shown the busiest item", busiest[0], high=busiest[1] * limits.busiest),
    ]
