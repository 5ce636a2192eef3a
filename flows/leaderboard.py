"""The leaderboard of an evaluation, as data and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Leaderboard = dict[str, dict[str, dict[str, Any]]]
"""Model -> page (`all`, `novel`) -> metric -> `{"value", "low", "high"}` or a number."""
PAGES = ("all", "novel")
SHOWN = ("ndcg@10", "hr@10")
SEGMENT_TABLES = {"ndcg@10": "NDCG@10 by segment", "popularity_lift@10": "Popularity lift of the first 10"}
"""Metric -> heading"""
RATING_TABLE = "Ratings, errors on those held back"


def shown_interval(entry: Mapping[str, float]) -> str:
    """A value with its interval in brackets."""
    return f"{entry['value']:.4f} [{entry['low']:.4f}, {entry['high']:.4f}]"


def shown_difference(entry: Mapping[str, float] | None) -> str:
    """A difference from the best with its interval and its p-value, corrected for many models; None: it is the best."""
    if entry is None:
        return "best"
    return f"{entry['value']:+.4f} [{entry['low']:+.4f}, {entry['high']:+.4f}], p={entry['p_holm']:.3f}"


def by_gain(models: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """The models' names, the largest NDCG@10 first."""
    return sorted(models, key=lambda name: -models[name]["ndcg@10"]["value"])


def segment_rows(
    names: Sequence[str],
    segments: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
    cuts: Mapping[str, str],
    metric: str,
) -> list[dict[str, str]]:
    """A row for each segment where any model has the metric, a column for each model.

    Args:
        names: of the models, in order.
        segments: model -> segment -> metric -> value, low, high.
        cuts: segment -> what is in it.
    """
    rows = []
    for segment, what in cuts.items():
        found = [segments[name][segment].get(metric) for name in names]
        if any(found):
            shown = [f"{entry['value']:.4f}" if entry else "–" for entry in found]
            rows.append({"segment": f"{segment} ({what})", **dict(zip(names, shown, strict=True))})
    return rows


def rating_rows(ratings: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, str]]:
    """A row for each predictor of ratings, in their order."""
    return [
        {"predictor": name} | {metric.upper(): shown_interval(entry) for metric, entry in figures.items()}
        for name, figures in ratings.items()
    ]


def probability_rows(heads: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    """A row for each head that has probabilities."""
    return [
        {
            "head": head,
            "candidates": f"{found['candidates']:,}",
            "taken": f"{found['taken']:.5f}",
            "said": f"{found['said']:.5f}",
            **{
                f"{name} {when}": f"{found[f'{name} {when}']:.5f}"
                for name in ("log loss", "ece")
                for when in ("before", "after")
            },
        }
        for head, found in heads.items()
    ]


def leaderboard_rows(board: Leaderboard) -> list[dict[str, str]]:
    """The leaderboard as a table, best on all items first, intervals in brackets."""

    best_first = sorted(board.items(), key=lambda row: -row[1]["all"]["ndcg@10"]["value"])
    return [
        {"model": name}
        | {f"{page} {metric}": shown_interval(pages[page][metric]) for page in PAGES for metric in SHOWN}
        for name, pages in best_first
    ]
