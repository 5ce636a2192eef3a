"""The leaderboard of an evaluation, as data and as a table."""

from __future__ import annotations

from typing import Any

Leaderboard = dict[str, dict[str, dict[str, Any]]]
"""Model -> page (`all`, `novel`) -> metric -> `{"value", "low", "high"}` or a number."""
PAGES = ("all", "novel")
SHOWN = ("ndcg@10", "hr@10")


def leaderboard_rows(board: Leaderboard) -> list[dict[str, str]]:
    """The leaderboard as a table, best on all items first, intervals in brackets."""

    def shown(page: dict[str, Any], metric: str) -> str:
        entry = page[metric]
        return f"{entry['value']:.4f} [{entry['low']:.4f}, {entry['high']:.4f}]"

    best_first = sorted(board.items(), key=lambda row: -row[1]["all"]["ndcg@10"]["value"])
    return [
        {"model": name} | {f"{page} {metric}": shown(pages[page], metric) for page in PAGES for metric in SHOWN}
        for name, pages in best_first
    ]
