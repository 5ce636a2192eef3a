"""The leaderboard of an evaluation, as data and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Leaderboard = dict[str, dict[str, dict[str, Any]]]
"""Model -> page (`all`, `novel`) -> metric -> `{"value", "low", "high"}` or a number."""
PAGES = ("all", "novel")
SHOWN = ("ndcg@10", "hr@10")


def shown_interval(entry: Mapping[str, float]) -> str:
    """A value with its interval in brackets."""
    return f"{entry['value']:.4f} [{entry['low']:.4f}, {entry['high']:.4f}]"


def leaderboard_rows(board: Leaderboard) -> list[dict[str, str]]:
    """The leaderboard as a table, best on all items first, intervals in brackets."""

    best_first = sorted(board.items(), key=lambda row: -row[1]["all"]["ndcg@10"]["value"])
    return [
        {"model": name}
        | {f"{page} {metric}": shown_interval(pages[page][metric]) for page in PAGES for metric in SHOWN}
        for name, pages in best_first
    ]
