"""Models against each other on one split: fitted once, weighed on validation, looked at once on the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import psutil

from models import blend
from models.metrics import resampled_rows
from models.places import Hide, Places, Scorer, places_of
from models.sources.base import Source
from models.split import Holdout
from models.trial import Catalogue, figures_of

SEED: Final = 7
RESAMPLES: Final = 1_000
CLASSIC: Final = "hybrid, α·CF + (1−α)·deep"
LEARNED: Final = "hybrid, learned"


@dataclass(frozen=True)
class Contest:
    """Who takes part."""

    models: Mapping[str, Callable[[], Source]]
    """Name -> how one is made, before it is fitted"""
    collaborative: str
    """The one of `models` that the classic hybrid weighs against the deep one"""
    deep: str
    ks: Sequence[int]
    """Lengths of lists that count; the first is what the hybrids' weights are chosen by."""
    length: int
    """Events of a session"""
    hide: Hide = "seen"
    refit: bool = False
    """Whether the models are fitted once more, on all that may be learned from, before the test. Without, they know
    nothing of the events that were held back for validation, although the test's histories have them."""


def held(contest: Contest, validation: Holdout, test: Holdout, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Fit, weigh, rank.

    Args:
        contest: who takes part.
        validation: what models are fitted on, and what the hybrids' weights are fitted on.
        test: what is reported.

    Returns:
        Name -> its figures on the test, NDCG on validation, and what it cost.
    """
    catalogue = Catalogue.of(test.learned if contest.refit else validation.learned)
    rows = resampled_rows(len(test), RESAMPLES, SEED)
    table: dict[str, Any] = {}

    def judge(name: str, early: Scorer, late: Scorer, **known: Any) -> None:
        k = contest.ks[0]
        started = time.perf_counter()
        on_validation = _places(early, validation, contest).ndcg(k).mean()
        places = _places(late, test, contest)
        took = time.perf_counter() - started
        figures = figures_of(places, catalogue, contest.ks, rows)
        table[name] = {
            "figures": {metric: asdict(each) for metric, each in figures.items()},
            f"validation ndcg@{k}": round(float(on_validation), 4),
            "score_s": round(took, 1),
            **known,
        }
        shown = "  ".join(f"{metric} {figures[metric].value:.4f}" for metric in (f"hr@{k}", f"recall@{k}", f"ndcg@{k}"))
        say(f"  {name:32} {shown}  validation {on_validation:.4f}")

    early, late = {}, {}
    for name, make in contest.models.items():
        started = time.perf_counter()
        early[name] = late[name] = make().fit(validation.learned, _after(validation))
        if contest.refit:
            late[name] = make().fit(test.learned, _after(test))
        took = time.perf_counter() - started
        judge(name, early[name].scores, late[name].scores, fit_s=round(took, 1), memory_mb=_memory_mb())
    k, length = contest.ks[0], contest.length
    hybrids = {
        CLASSIC: blend.classic(early, contest.collaborative, contest.deep, validation, k, length, hide=contest.hide),
        LEARNED: blend.learned(early, validation, k, length, hide=contest.hide),
    }
    for name, hybrid in hybrids.items():
        judge(name, hybrid.scores, replace(hybrid, sources=late).scores, weights=hybrid.weights)
    return table


def _after(holdout: Holdout) -> float:
    return float(holdout.learned.time.max()) + 1.0


def better_hybrid(table: Mapping[str, Any]) -> str:
    """The name of the hybrid with the higher NDCG on validation."""

    def on_validation(name: str) -> float:
        [value] = [value for key, value in table[name].items() if key.startswith("validation ")]
        return float(value)

    return max((CLASSIC, LEARNED), key=on_validation)


def figure_of(
    table: Mapping[str, Any], targets: Mapping[str, float], published: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The figures of the hybrid that validation prefers, beside what they are to reach and what papers say."""
    chosen = better_hybrid(table)
    found = table[chosen]["figures"]
    reached = {metric: round(found[metric]["value"], 4) for metric in targets}
    last = list(targets)[-1]
    return {
        "value": reached[last],
        "unit": last,
        "target": targets[last],
        "met": all(reached[metric] >= wanted for metric, wanted in targets.items()),
        "detail": {
            "ours": chosen,
            "reached": reached,
            "to_reach": dict(targets),
            "published": published,
            "models": table,
        },
    }


def _places(score: Scorer, holdout: Holdout, contest: Contest) -> Places:
    return places_of(score, holdout, hide=contest.hide, length=contest.length)


def _memory_mb() -> int:
    return round(psutil.Process().memory_info().rss / 1e6)
