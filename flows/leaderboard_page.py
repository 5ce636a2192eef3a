"""The evaluation of models as a page for people: a table with bars, whole in one file, nothing loaded from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment

SHOWN: Final = (
    "ndcg@10", "hr@10", "recall@10", "map@10", "mrr@10", "auc", "coverage@10", "novelty@10", "head_share@10", "gini@10",
)  # fmt: skip
_PAGE: Final = Path(__file__).with_name("leaderboard.html")


def write_page(
    file: Path,
    title: str,
    models: Mapping[str, Mapping[str, Mapping[str, float]]],
    about: Mapping[str, Any],
    left_out: Mapping[str, str],
) -> None:
    """Write the page, best NDCG first.

    Args:
        models: model -> metric -> value, low, high.
        about: what was evaluated.
        left_out: model -> why.
    """
    metrics = [name for name in SHOWN if all(name in figures for figures in models.values())]
    ordered = sorted(models.items(), key=lambda entry: -entry[1]["ndcg@10"]["value"])
    largest = {name: max(figures[name]["high"] for figures in models.values()) for name in metrics}
    page = Environment(autoescape=True).from_string(_PAGE.read_text(encoding="utf-8"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        page.render(title=title, models=ordered, about=about, left_out=left_out, metrics=metrics, largest=largest),
        encoding="utf-8",
    )
