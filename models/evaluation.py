"""The leaderboard: every source, the ranker's parts and the hybrid, through the code that serves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.schema import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID
from models import metrics
from models.batch import encode
from models.index import NOTHING
from models.ranker import Mode
from models.recommender import Recommender
from models.sources.base import Source, top_k
from models.sources.popularity import Popularity
from models.state import UserState

Answers = list[list[str]]
Answerer = Callable[[Sequence[UserState], Sequence[Collection[str]], int], Answers]
"""States, the items to leave out for each, k -> the item ids of each, best first."""
Report = dict[str, dict[str, dict[str, dict[str, float]]]]
"""model -> "all" | "novel" -> metric -> value, low, high"""
HYBRID: Final = "hybrid"
RESTING: Final = "hybrid, resting"
"""As the service answers: what was just bought rests, see `models.resting`."""
RANKER: Final = "ranker"
CLASSIC: Final = "α·CF + (1−α)·deep"
"""The network's own blend, of which the hybrid is made with the trees."""
TREES: Final = "trees"
_CHUNK: Final = 128
_THREADS: Final = 2


def items_of(
    events: pa.Table | pd.DataFrame, target: str, start: float, end: float, catalogue: Collection[str]
) -> dict[str, set[str]]:
    """user -> items with a target event in start <= time < end (epoch s), of the catalogue alone."""
    columns = [USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP]
    frame = events.select(columns).to_pandas() if isinstance(events, pa.Table) else events[columns]
    low, high = (pd.Timestamp(moment, unit="s", tz="UTC") for moment in (max(start, 0.0), end))
    stamps = pd.to_datetime(frame[TIMESTAMP], utc=True)
    frame = frame[(stamps >= low) & (stamps < high) & (frame[EVENT_TYPE] == target)]
    frame = frame[frame[ITEM_ID].isin(set(catalogue))]
    return {str(user): set(items) for user, items in frame.groupby(USER_ID)[ITEM_ID]}


def leaderboard(
    recommender: Recommender,
    states: Sequence[UserState],
    truth: Mapping[str, Collection[str]],
    bought: Mapping[str, Collection[str]],
    *,
    k: int = 10,
    seed: int = 7,
    resamples: int = 1000,
) -> Report:
    """Ranks the whole catalogue once per user and compares with what came after.

    Args:
        recommender: as it serves.
        states: users at the cut; those without truth are left out.
        truth: user -> items that the user took after the cut; items that the model doesn't know are left out.
        bought: user -> items that the user took before the cut: left out of the truth of "novel", and of the single
            sources' rankings; the ranker and the hybrid leave out what the state knows, as in service.
        k: how many count.
        seed: of the resampling.
        resamples: how many for the confidence intervals, per user.
    """
    known = recommender.vocabulary.items
    relevant = {user: {item for item in items if item in known} for user, items in truth.items()}
    states = [state for state in states if relevant.get(state.user_id)]
    share = _popularity_share(recommender)
    report: Report = {}
    for view in ("all", "novel"):
        before = [set(bought.get(state.user_id, ())) if view == "novel" else set() for state in states]
        wanted = [relevant[state.user_id] - out for state, out in zip(states, before, strict=True)]
        kept = [row for row, items in enumerate(wanted) if items]
        view_states, view_out = [states[row] for row in kept], [before[row] for row in kept]
        view_wanted = [wanted[row] for row in kept]
        rows = metrics.resampled_rows(len(kept), resamples, seed)
        for name, answer in _models(recommender, novel=view == "novel").items():
            answers = _in_parts(answer, view_states, view_out, k)
            report.setdefault(name, {})[view] = _figures(answers, view_wanted, share, len(known) - 1, k, rows)
    return report


def as_served(recommender: Recommender, states: Sequence[UserState], k: int, *, novel: bool) -> Answers:
    """The hybrid's answers, whatever was just bought; with `novel` without what the user had before."""
    return _in_parts(_ranked(recommender, "hybrid", novel=novel), states, [()] * len(states), k)


def _in_parts(answer: Answerer, states: Sequence[UserState], out: Sequence[Collection[str]], k: int) -> Answers:
    """The answers for all, a chunk of users per thread: numpy and torch let go of the interpreter meanwhile."""

    def part(start: int) -> Answers:
        return answer(states[start : start + _CHUNK], out[start : start + _CHUNK], k)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(chain.from_iterable(pool.map(part, range(0, len(states), _CHUNK))))


def _models(recommender: Recommender, novel: bool) -> dict[str, Answerer]:
    def ranked(mode: Mode, rest: bool = False) -> Answerer:
        return _ranked(recommender, mode, novel=novel, rest=rest)

    def single(source: Source) -> Answerer:
        return lambda states, out, k: source_answers(recommender, source, states, out, k)

    models = {name: single(source) for name, source in recommender.sources.items()}
    if recommender.ranker is not None:
        models[RANKER] = ranked("ranker")
        if recommender.ranker.trees is not None:
            models[CLASSIC] = ranked("classic")  # without trees the hybrid is just that
            models[TREES] = ranked("trees")
    models[HYBRID] = ranked("hybrid")
    models[RESTING] = ranked("hybrid", rest=True)
    return models


def _ranked(recommender: Recommender, mode: Mode, *, novel: bool, rest: bool = False) -> Answerer:
    def answer(states: Sequence[UserState], out: Sequence[Collection[str]], k: int) -> Answers:
        # Not `out`: what is new to a user, the served model has to know by itself.
        found = recommender.recommend(states, k, novel_only=novel, rest=rest, mode=mode)
        return [[item.item_id for item in one] for one in found]

    return answer


def source_answers(
    recommender: Recommender, source: Source, states: Sequence[UserState], out: Sequence[Collection[str]], k: int
) -> Answers:
    """One source alone over the whole catalogue, without the items in `out` (per user)."""
    vocabulary = recommender.vocabulary
    scores = source.scores(encode(states, vocabulary)).copy()
    for row, items in enumerate(out):
        scores[row, vocabulary.items.encode(list(items))] = NOTHING
    return [vocabulary.items.decode(ids[ids > 0].tolist()) for ids in top_k(scores, k)[0]]


def _figures(
    answers: Answers,
    wanted: Sequence[Collection[str]],
    share: Mapping[str, float],
    catalogue: int,
    k: int,
    rows: np.ndarray,
) -> dict[str, dict[str, float]]:
    pairs = list(zip(answers, wanted, strict=True))
    rarest = min(share.values(), default=1.0)
    per_user = {
        f"ndcg@{k}": [metrics.ndcg(a, w, k) for a, w in pairs],
        f"hr@{k}": [metrics.hit_rate(a, w, k) for a, w in pairs],
        f"recall@{k}": [metrics.recall(a, w, k) for a, w in pairs],
        "mrr": [metrics.reciprocal_rank(a, w, k) for a, w in pairs],
        "novelty": [metrics.novelty(a, share, k, rarest) for a in answers],
    }
    figures = {name: metrics.interval(np.array(values), rows).as_dict() for name, values in per_user.items()}
    count = float(len(wanted))
    figures["users"] = {"value": count, "low": count, "high": count}
    figures["coverage"] = metrics.coverage_interval(answers, catalogue, k, rows).as_dict()
    return figures


def _popularity_share(recommender: Recommender) -> dict[str, float]:
    """item -> share of the decayed events, from the popularity source."""
    source = recommender.sources[Popularity.name]
    scores = source.scores(encode([UserState.empty("", 0.0)], recommender.vocabulary))[0].astype(np.float64)
    weight = np.exp(scores)
    weight /= max(float(weight.sum()), 1e-300)
    return {
        item: float(weight[index])
        for index, item in enumerate(recommender.vocabulary.items.names, start=1)
        if weight[index] > 0
    }
