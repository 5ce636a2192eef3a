"""Models on anybody's events: split, fit, rank everything, compare. The code that the benchmarks run, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from flows.evaluate_ratings import evaluate_ratings
from flows.log_events import LogEvents, check_model, moment_of, read_events, splitter, validation_of
from flows.tuned import tuned_choices
from infra.settings import Settings
from models.attributes import ItemAttributes
from models.entrants import HYBRID, LENGTH, WITH_ATTRIBUTES, fitted
from models.errors import EmptyTrainingDataError, TableError
from models.metrics import resampled_rows
from models.places import Hide, places_of
from models.segments import Segments
from models.significance import against_best
from models.trial import Catalogue, figures_of

KS: Final = (10, 20)
RESAMPLES: Final = 1_000


@dataclass(frozen=True)
class LogEvaluation:
    """What came out."""

    models: dict[str, dict[str, dict[str, float]]]
    """Model -> metric -> value, low, high"""
    left_out: Mapping[str, str]
    """Model -> why it could not take part"""
    against_best: dict[str, dict[str, float]]
    """Model -> its NDCG@10 minus the best one's: value, low, high, p, p_holm; without the best one"""
    segments: dict[str, dict[str, dict[str, dict[str, float]]]]
    """Model -> segment -> metric -> value, low, high"""
    cuts: Mapping[str, str]
    """Segment -> how many are in it, and which"""
    ratings: dict[str, dict[str, dict[str, float]]]
    """Predictor of ratings -> metric -> value, low, high; empty where nothing was rated"""
    about: dict[str, Any]
    """The data, the split and the seed"""


def evaluate_log(
    config: Settings,
    connector: str,
    options: dict[str, Any],
    split: str,
    *,
    model: str = HYBRID,
    keep_seen: bool = False,
    tuned: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> LogEvaluation:
    """Validate a file of events as an ingest does, and evaluate models on it. The home is left alone.

    Args:
        connector: what reads the events.
        options: the connector's.
        split: `leave-one-out` or `temporal:DATE`.
        model: a name of `models.entrants`, or `hybrid`: all of them and their weighted sum.
        keep_seen: whether what a user had already counts, and may come again.
        tuned: a report of `kairos tune` with the choices to make, for the models that it has.
        say: told what is being done.

    Raises:
        SplitError: there is no such split or model, or the data do not allow it.
        IngestError: as of an ingest.
        EmptyTrainingDataError: a side of the split is empty.
        TunedReportError: the report cannot be used here.
        ConfigError: it makes choices that a model does not have.
        TableError: `model` reads the items' attributes, and they tell nothing apart.
    """
    check_model(model, HYBRID, keep_seen, has_items=options.get("items") is not None)
    divide = splitter(split, keep_seen)
    choices = tuned_choices(tuned, split, keep_seen) if tuned else {}
    hide: Hide = "nothing" if keep_seen else "seen"
    started = time.perf_counter()
    read = read_events(config, connector, options)
    events = read.events
    test = divide(events)
    validation = None
    left_out: dict[str, str] = {}
    attributes = _attributes(read, model, left_out)
    if model == HYBRID:
        try:
            validation = validation_of(test, split, keep_seen)
        except EmptyTrainingDataError as error:
            left_out[HYBRID] = f"there is nothing to fit its weights on: {error}"
    found = fitted(model, test.learned, validation, hide=hide, tuned=choices, attributes=attributes, say=say)
    catalogue = Catalogue.of(test.learned)
    rows = resampled_rows(len(test), RESAMPLES, config.seed)
    segments = Segments.of(test, catalogue)
    models, by_user, by_segment = {}, {}, {}
    for name, score in found.scorers.items():
        say(f"ranking by {name}")
        places = places_of(score, test, hide=hide, length=LENGTH)
        models[name] = {metric: asdict(each) for metric, each in figures_of(places, catalogue, KS, rows).items()}
        by_user[name] = places.ndcg(KS[0])
        by_segment[name] = {
            segment: {metric: asdict(each) for metric, each in figures.items()}
            for segment, figures in segments.figures(places, RESAMPLES, config.seed).items()
        }
    ratings = {}
    if read.ratings is not None:
        say("ratings")
        try:
            ratings = evaluate_ratings(read.ratings, moment_of(split), RESAMPLES, config.seed)
        except EmptyTrainingDataError as error:
            left_out["predicting ratings"] = str(error)
    about = {
        "split": split,
        "keep_seen": keep_seen,
        "tuned": ", ".join(name for name in found.scorers if name in choices) or "none",
        "events": len(events),
        "learned_from": len(test.learned),
        "items": events.n_items - 1,
        "users": len(events.users),
        "users_asked": len(test),
        "seed": config.seed,
        "seconds": round(time.perf_counter() - started, 1),
    }
    against = {name: asdict(each) for name, each in against_best(by_user, rows).items()}
    return LogEvaluation(models, {**found.left_out, **left_out}, against, by_segment, segments.cuts, ratings, about)


def _attributes(read: LogEvents, model: str, left_out: dict[str, str]) -> ItemAttributes | None:
    """What the table of the items says; where it tells nothing apart, the models that read it are left out."""
    if read.items is None:
        return None
    try:
        return ItemAttributes.of(read.items, read.ids)
    except TableError as error:
        if model in WITH_ATTRIBUTES:
            raise
        left_out |= dict.fromkeys(WITH_ATTRIBUTES, str(error))
        return None
