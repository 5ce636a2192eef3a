"""What each rule for answers costs and what it buys, beside the same households' answers without any.

The champion answers households of the demo's holdout, drawn by lot, over all items and through the code that serves.
Run `make demo` first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from feature_repo.schema import BRAND, CATEGORY, DEPARTMENT
from flows.evaluate import judged
from infra.settings import settings
from models import bundle, registry
from models.fairness import exposure_shares, exposures, shares
from models.metrics import coverage_interval, interval, ndcg, resampled_rows
from models.recommender import Ask, Recommendation, Recommender
from models.reranking import POOL
from models.rules import Fairness, Pin, Rules
from models.state import UserState
from models.vocabulary import ITEM_CATEGORICALS

K, USERS, TIMED_USERS = 10, 600, 50
SEED, RESAMPLES = 7, 1_000
CAMPAIGN: Final = 1_000
"""The pinned items are drawn by lot from so many of the most popular ones, the same for every household."""
NO_RULE: Final = "no rule"
FAIR: Final = (BRAND, DEPARTMENT)


def ruled(campaign: Sequence[str]) -> dict[str, Rules | None]:
    """Each rule at a few strengths, and three at once."""
    asked: dict[str, Rules | None] = {NO_RULE: None}
    asked |= {f"diversity {strength}": Rules(diversity=strength) for strength in (0.1, 0.3, 0.5, 0.7, 0.9)}
    asked |= {f"per_category {most}": Rules(per_category=most) for most in (3, 2, 1)}
    asked |= {f"pin {count}": Rules(pins=tuple(map(Pin, campaign[:count]))) for count in (1, 3)}
    asked |= {f"fair {by} {least}": Rules(fairness=Fairness(by, least)) for by in FAIR for least in (0.5, 0.8, 1.0)}
    asked["diversity 0.3, per_category 2, fair brand 0.8"] = Rules(0.3, (), 2, Fairness(BRAND, 0.8))
    return asked


@dataclass(frozen=True)
class Bed:
    """Who is asked, and what the answers are held against."""

    recommender: Recommender
    states: Sequence[UserState]
    truth: Mapping[str, set[str]]
    pools: Sequence[np.ndarray]
    """Per user [POOL, fields] the codes of the candidates of whom groups have their shares"""
    rows: np.ndarray
    """[RESAMPLES, users] see `metrics.resampled_rows`"""


def measure() -> dict[str, Any]:
    """The figure: the share of answers that keep to what was asked of them; the price of each rule is in `detail`.

    Floors of 1 are measured and do not count: places cannot be cut up so that each group gets its very share.
    """
    config = settings()
    tag = registry.champion(config.champion).tag
    recommender = bundle.load(registry.bundle_path(tag))
    everybody, truth, _ = judged(config, recommender)
    random = np.random.default_rng(SEED)
    drawn = np.sort(random.choice(len(everybody), min(USERS, len(everybody)), replace=False))
    states = [everybody[n] for n in drawn.tolist()]
    popular = [item.item_id for item in recommender.popular(CAMPAIGN)]
    campaign = [popular[n] for n in random.choice(len(popular), 3, replace=False).tolist()]
    found = _found(recommender, states)
    pools = [_codes(recommender, items[:POOL]) for items in found]
    bed = Bed(recommender, states, truth, pools, resampled_rows(len(states), RESAMPLES, SEED))
    plain = _ndcg(bed, [items[:K] for items in found])
    table, kept = {}, []
    for name, rules in ruled(campaign).items():
        asks = [Ask(state, K, rules=rules) for state in states]
        answers = [
            recommender.ruled(ask, items) if rules else items[:K] for ask, items in zip(asks, found, strict=True)
        ]
        keep = [_keeps(bed, n, answer, rules or Rules()) for n, answer in enumerate(answers)]
        table[name] = _row(bed, answers, plain)
        table[name] |= {"kept": round(float(np.mean(keep)), 4), "rerank_ms": _rerank_ms(bed, rules)}
        if not (rules and rules.fairness and rules.fairness.least == 1.0):
            kept += keep
        print(_line(name, table[name]), flush=True)
    value = round(float(np.mean(kept)), 4)
    return {
        "value": value,
        "unit": "of the answers keep to what was asked",
        "target": 1.0,
        "met": value >= 1.0,
        "detail": {"model": tag, "users": len(states), "k": K, "pinned": campaign, "rules": table},
    }


def _found(recommender: Recommender, states: Sequence[UserState]) -> list[list[Recommendation]]:
    """Per user all that the model compares, best first: what the rules are given, ranked once for all of them."""
    most = sum(recommender.candidates.new for _ in recommender.sources) + recommender.candidates.own
    answers = recommender.answered([Ask(state, most) for state in states])
    return [answer.items[: np.count_nonzero(answer.candidates)] for answer in answers]


def _codes(recommender: Recommender, answer: Sequence[Recommendation]) -> np.ndarray:
    """[n, fields]"""
    ids = recommender.vocabulary.items.encode([item.item_id for item in answer])
    return recommender.items.codes[ids]


def _ndcg(bed: Bed, answers: Sequence[Sequence[Recommendation]]) -> np.ndarray:
    """[users]"""
    pairs = zip(bed.states, answers, strict=True)
    return np.array([ndcg([item.item_id for item in answer], bed.truth[state.user_id], K) for state, answer in pairs])


def _row(bed: Bed, answers: Sequence[list[Recommendation]], plain: np.ndarray) -> dict[str, Any]:
    gain = _ndcg(bed, answers)
    codes = [_codes(bed.recommender, answer) for answer in answers]
    category = ITEM_CATEGORICALS.index(CATEGORY)
    named = [[item.item_id for item in answer] for answer in answers]
    catalogue = len(bed.recommender.vocabulary.items) - 1
    values = {
        f"ndcg@{K}": gain,
        "difference": gain - plain,
        "distance": np.array([_distance(one) for one in codes]),
        "categories": np.array([len(np.unique(one[:, category])) for one in codes], dtype=np.float64),
        **{
            f"least_exposed_{by}": np.array([_least(bed, n, one, Fairness(by, 1.0)) for n, one in enumerate(codes)])
            for by in FAIR
        },
    }
    row = {name: interval(each, bed.rows).as_dict() for name, each in values.items()}
    return row | {"coverage": coverage_interval(named, catalogue, K, bed.rows).as_dict()}


def _distance(codes: np.ndarray) -> float:
    """Of the pairs of items, the mean share of the categorical fields in which they differ."""
    apart = (codes[:, None] != codes[None]).mean(axis=2)
    return float(apart.sum() / max(len(codes) * (len(codes) - 1), 1))


def _least(bed: Bed, user: int, codes: np.ndarray, floor: Fairness) -> float:
    """The least exposed group's share of the exposure by its floor, of the groups whose floor is worth a place."""
    at = ITEM_CATEGORICALS.index(floor.by)
    got, weights = exposure_shares(codes[:, at]), exposures(len(codes))
    due = {group: floor.least * share for group, share in shares(bed.pools[user][:, at]).items() if group}
    return min(
        (got.get(group, 0.0) / share for group, share in due.items() if share * weights.sum() >= weights[-1]),
        default=1.0,
    )


def _keeps(bed: Bed, user: int, answer: Sequence[Recommendation], rules: Rules) -> bool:
    """Whether an answer is as the rules and `k` want it."""
    ids, codes = [item.item_id for item in answer], _codes(bed.recommender, answer)
    category = codes[:, ITEM_CATEGORICALS.index(CATEGORY)]
    counts = np.bincount(category[category > 0], minlength=1)
    return (
        len(set(ids)) == K
        and counts.max() <= (rules.per_category or K)
        and ids[: len(rules.pins)] == [pin.item_id for pin in rules.pins]
        and (rules.fairness is None or _least(bed, user, codes, rules.fairness) >= 1.0 - 1e-9)
    )


def _rerank_ms(bed: Bed, rules: Rules | None) -> float:
    """Median processor time of the stage that the rules are part of, of one request alone."""
    taken: list[float] = []

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        if stage == "rerank":
            taken.append((time.thread_time() - started) * 1e3)

    for state in bed.states[:TIMED_USERS]:
        bed.recommender.answered([Ask(state, K, rules=rules)], timed=timed)
    return round(float(np.median(taken)), 3)


def _line(name: str, row: Mapping[str, Any]) -> str:
    spread = {key: each for key, each in row.items() if isinstance(each, dict)}
    figures = [f"{key} {each['value']:.4f} [{each['low']:.4f}, {each['high']:.4f}]" for key, each in spread.items()]
    return f"{name}: {', '.join(figures)}, kept {row['kept']}, rerank_ms {row['rerank_ms']}"
