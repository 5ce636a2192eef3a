"""What the command line shows: tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from flows.json_file import write_json
from flows.leaderboard import (
    RATING_TABLE,
    SEGMENT_TABLES,
    Leaderboard,
    by_gain,
    leaderboard_rows,
    probability_rows,
    rating_rows,
    segment_rows,
    shown_difference,
    shown_interval,
)
from flows.leaderboard_page import write_page

if TYPE_CHECKING:
    from flows.evaluate_log import LogEvaluation
    from flows.replay_answer import Replayed  # which imports the models, and they take seconds
    from flows.serving import Answer
    from flows.tune_log import Tuning
    from models.judged_probabilities import Judged

console = Console()


def show_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table with a column per key of the first row."""
    table = Table(title=title, title_justify="left", header_style="bold")
    if rows:
        for name in rows[0]:
            table.add_column(name, overflow="fold")  # not cut where the terminal is narrow
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


@contextmanager
def snapshot_progress() -> Iterator[Callable[[int, int, str, datetime | None], None]]:
    """A bar over the snapshots of a run; the callback that moves it."""
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True) as bar:
        task = bar.add_task("snapshots", total=None)

        def move(done: int, total: int, feature: str, moment: datetime | None) -> None:
            when = f" {moment:%Y-%m-%d}" if moment else ""
            bar.update(task, completed=done, total=total, description=f"{feature}{when}")

        yield move


@contextmanager
def step_progress() -> Iterator[Callable[[str, float, float], None]]:
    """A bar for work in steps; the callback takes the step, how much of it is done and how much there is."""
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, done, total: bar.update(task, completed=done, total=total, description=step)


def show_leaderboard(board: Leaderboard) -> None:
    show_rows("Holdout, full ranking, 95 % intervals", leaderboard_rows(board))


def show_probabilities(judged: Judged | None) -> None:
    """How far the heads' probabilities are off, before calibration and after; nothing where there are none."""
    if judged:
        title = f"Probabilities over {judged['days']:g} days, {judged['users']:,} users with all of their candidates"
        show_rows(title, probability_rows(judged["heads"]))


def show_log_evaluation(found: LogEvaluation) -> None:
    """The models, best first, how far each is behind the best, and their figures by segment."""
    about, best_first = found.about, by_gain(found.models)
    title = f"{about['users_asked']:,} users asked, {about['items']:,} items ranked, 95 % intervals"
    rows = [
        {"model": name}
        | {metric: shown_interval(found.models[name][metric]) for metric in ("ndcg@10", "hr@10", "recall@20")}
        | {"ndcg@10 against the best": shown_difference(found.against_best.get(name))}
        for name in best_first
    ]
    show_rows(title, rows)
    for metric, heading in SEGMENT_TABLES.items():
        show_rows(heading, segment_rows(best_first, found.segments, found.cuts, metric))
    if found.ratings:
        show_rows(RATING_TABLE, rating_rows(found.ratings))
    for name, why in found.left_out.items():
        console.print(f"{name} took no part: {why}", soft_wrap=True)


def write_log_evaluation(file: Path, found: LogEvaluation, title: str) -> None:
    """As JSON or as a page, by the file's suffix."""
    if file.suffix == ".html":
        write_page(file, title, found)
    else:
        write_json(file, asdict(found))


def show_tuning(found: Tuning) -> None:
    """Each model's best figure beside its default's, best first."""
    best_first = sorted(found.models.items(), key=lambda entry: -entry[1].validation_ndcg)
    rows = [
        {
            "model": name,
            "ndcg@10": f"{tuned.validation_ndcg:.4f}",
            "by default": f"{tuned.default_ndcg:.4f}",
            "trials": tuned.trials,
            "seconds": tuned.seconds,
            "choices": ", ".join(
                f"{field}={value:.4g}" if isinstance(value, float) else f"{field}={value}"
                for field, value in tuned.choices.items()
            ),
        }
        for name, tuned in best_first
    ]
    show_rows(f"Validation, {found.about['users_asked']:,} users asked", rows)
    for name, why in found.left_out.items():
        console.print(f"{name} took no part: {why}", soft_wrap=True)


def show_answer(answer: Answer) -> None:
    """Recommendations beside what the user did lately."""
    title = f"For user {answer.user}" if answer.known else f"User {answer.user} is new here: what is popular"
    heads = list(next(iter(answer.chances.values()), {}))
    shown = [f"p({head})" for head in heads]
    table = Table("", "recommended", "score", *shown, "proposed by", "lately", title=title, title_justify="left")
    for i in range(max(len(answer.items), min(len(answer.lately), 10))):
        item = answer.items[i] if i < len(answer.items) else None
        kind, past = answer.lately[i] if i < len(answer.lately) else ("", "")
        table.add_row(
            str(i + 1),
            (answer.names.get(item.item_id) or item.item_id) if item else "",
            f"{item.score:.3f}" if item else "",
            *(f"{answer.chances[item.item_id][head]:.3f}" if item else "" for head in heads),
            ", ".join(item.sources) if item else "",
            f"{kind} {answer.names.get(past) or past}",
        )
    console.print(table)
    if answer.about_chances:
        console.print(answer.about_chances)


def show_replayed(replayed: Replayed) -> None:
    """The logged list beside the one of now."""
    request, answer = replayed.request, replayed.answer
    title = (
        f"{answer.endpoint} for {f'user {request.user_id}' if request.user_id else 'nobody'}, "
        f"{request.at:%Y-%m-%d %H:%M:%S} UTC, {request.model}, {answer.variant}, served by {answer.step}"
    )
    table = Table("", "logged", "score", "replayed", "score", "", title=title, title_justify="left")
    for place, (logged, again) in enumerate(zip_longest(replayed.logged, replayed.again), 1):
        # With the id: several items may have one name.
        cells = [
            cell
            for line in (logged, again)
            for cell in ((f"{line[0]} {replayed.names.get(line[0], '')}", f"{line[1]:.6g}") if line else ("", ""))
        ]
        table.add_row(str(place), *cells, "" if logged == again else "differs")
    console.print(table)
    console.print(replayed.verdict)


def show_seconds(seconds: Mapping[str, float], peak_rss_mb: float) -> None:
    total = seconds["total"]
    rows = [{"step": name, "seconds": f"{s:.1f}", "share": f"{s / total:.0%}"} for name, s in seconds.items()]
    show_rows(f"Where the time went; peak memory {peak_rss_mb / 1000:.1f} GB", rows)


def show_status(parts: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        {"part": part, "what": what, "": _shown(value)}
        for part, known in parts.items()
        for what, value in known.items()
    ]
    show_rows("Kairos", rows)


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        days = (datetime.now(UTC) - value).total_seconds() / 86_400
        return f"{value:%Y-%m-%d %H:%M} UTC, {days:.1f} days ago"
    return f"{value:,}" if isinstance(value, int) else str(value)
