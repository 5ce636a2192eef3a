"""The evaluation of models as a page for people: a plot, tables with bars, whole in one file, nothing loaded from
outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment

from flows.interval_plot import plot_of
from flows.leaderboard import RATING_TABLE, SEGMENT_TABLES, by_gain, rating_rows, segment_rows, shown_difference

if TYPE_CHECKING:
    from flows.evaluate_log import LogEvaluation

SHOWN: Final = (
    "ndcg@10", "hr@10", "recall@10", "map@10", "mrr@10", "auc", "coverage@10", "novelty@10", "head_share@10", "gini@10",
)  # fmt: skip
_PAGE: Final = Path(__file__).with_name("leaderboard.html")


def write_page(file: Path, title: str, found: LogEvaluation) -> None:
    """Write the page, best NDCG first."""
    names = by_gain(found.models)
    models = [(name, found.models[name]) for name in names]
    metrics = [metric for metric in SHOWN if all(metric in figures for _, figures in models)]
    gains = [(name, figures["ndcg@10"]) for name, figures in models]
    page = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE.read_text(encoding="utf-8"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        page.render(
            title=title,
            found=found,
            models=models,
            metrics=metrics,
            largest={metric: max(figures[metric]["high"] for _, figures in models) for metric in metrics},
            plot=plot_of([(name, gain["value"], gain["low"], gain["high"]) for name, gain in gains]),
            against=[(name, shown_difference(found.against_best.get(name))) for name in names],
            more=[
                *(
                    (heading, segment_rows(names, found.segments, found.cuts, metric))
                    for metric, heading in SEGMENT_TABLES.items()
                ),
                (RATING_TABLE, rating_rows(found.ratings)),
            ],
        ),
        encoding="utf-8",
    )
