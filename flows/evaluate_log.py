"""Models on anybody's events: split, fit, rank everything, compare. The code that the benchmarks run, too."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.lake import Lake
from feature_repo.schema import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID
from flows.connectors import connector as connector_by_name
from flows.errors import SplitError
from flows.ingest import ingest
from infra.settings import Settings
from models.attributes import ItemAttributes
from models.entrants import ENTRANTS, HYBRID, LENGTH, REPEATING, WITH_ATTRIBUTES, fitted
from models.errors import EmptyTrainingDataError, TableError
from models.ids import IdMap
from models.interactions import Interactions, frame_of, interactions_of
from models.metrics import resampled_rows
from models.places import Hide, places_of
from models.split import Holdout, at_moment, leave_last_out
from models.trial import Catalogue, figures_of
from models.vocabulary import Vocabulary

LEAVE_ONE_OUT: Final = "leave-one-out"
TEMPORAL: Final = "temporal:"
KS: Final = (10, 20)
RESAMPLES: Final = 1_000


@dataclass(frozen=True)
class LogEvaluation:
    """What came out."""

    models: dict[str, dict[str, dict[str, float]]]
    """Model -> metric -> value, low, high"""
    left_out: Mapping[str, str]
    """Model -> why it could not take part"""
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
    say: Callable[[str], None] = lambda text: None,
) -> LogEvaluation:
    """Validate a file of events as an ingest does, and evaluate models on it. The home is left alone.

    Args:
        connector: what reads the events.
        options: the connector's.
        split: `leave-one-out` or `temporal:DATE`.
        model: a name of `models.entrants`, or `hybrid`: all of them and their weighted sum.
        keep_seen: whether what a user had already counts, and may come again.
        say: told what is being done.

    Raises:
        SplitError: there is no such split or model, or the data do not allow it.
        IngestError: as of an ingest.
        EmptyTrainingDataError: a side of the split is empty.
        TableError: `model` reads the items' attributes, and they tell nothing apart.
    """
    known = (*ENTRANTS, *WITH_ATTRIBUTES)
    if model != HYBRID and model not in known:
        raise SplitError(f"--model {model}: there is no such model; expected {HYBRID} or one of {', '.join(known)}")
    if model in WITH_ATTRIBUTES and options.get("items") is None:
        raise SplitError(f"--model {model} reads what is said of the items: add --items FILE")
    if model in REPEATING and not keep_seen:
        raise SplitError(f"--model {model} knows nothing but what a user had already: add --keep-seen")
    divide = _splitter(split, keep_seen)
    hide: Hide = "nothing" if keep_seen else "seen"
    started = time.perf_counter()
    events, ids, table = _read(config, connector, options)
    test = divide(events)
    validation, attributes = None, None
    left_out: dict[str, str] = {}
    if table is not None:
        try:
            attributes = ItemAttributes.of(table, ids)
        except TableError as error:
            if model in WITH_ATTRIBUTES:
                raise
            left_out |= dict.fromkeys(WITH_ATTRIBUTES, str(error))
    if model == HYBRID:
        try:
            validation = _validation(test, split, keep_seen)
        except EmptyTrainingDataError as error:
            left_out[HYBRID] = f"there is nothing to fit its weights on: {error}"
    found = fitted(model, test.learned, validation, hide=hide, attributes=attributes, say=say)
    catalogue = Catalogue.of(test.learned)
    rows = resampled_rows(len(test), RESAMPLES, config.seed)
    models = {}
    for name, score in found.scorers.items():
        say(f"ranking by {name}")
        places = places_of(score, test, hide=hide, length=LENGTH)
        models[name] = {metric: asdict(each) for metric, each in figures_of(places, catalogue, KS, rows).items()}
    about = {
        "split": split,
        "keep_seen": keep_seen,
        "events": len(events),
        "learned_from": len(test.learned),
        "items": events.n_items - 1,
        "users": len(events.users),
        "users_asked": len(test),
        "seed": config.seed,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return LogEvaluation(models, {**found.left_out, **left_out}, about)


def _splitter(split: str, keep_seen: bool) -> Callable[[Interactions], Holdout]:
    if split == LEAVE_ONE_OUT:
        return lambda events: leave_last_out(events, least=3, novel=not keep_seen)
    if split.startswith(TEMPORAL):
        text = split.removeprefix(TEMPORAL)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise SplitError(f"--split {split}: {text!r} is no date; expected e.g. {TEMPORAL}2024-06-01") from None
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return lambda events: at_moment(events, at, novel=not keep_seen)
    raise SplitError(f"--split {split}: there is no such split; expected {LEAVE_ONE_OUT} or {TEMPORAL}DATE")


def _validation(test: Holdout, split: str, keep_seen: bool) -> Holdout:
    """The same once more within what may be learned from."""
    if split == LEAVE_ONE_OUT:
        return leave_last_out(test.learned, novel=not keep_seen)
    # The last fifth of what is before the moment, at most 31 days.
    learned, moment = test.learned, float(test.now[0])
    span = min((moment - float(learned.time.min())) / 5, 31 * 86_400.0)
    return at_moment(learned, moment - span, novel=not keep_seen)


def _read(config: Settings, connector: str, options: dict[str, Any]) -> tuple[Interactions, IdMap, pd.DataFrame | None]:
    """The events, the id map of their items, and the table of the items where there is one."""
    with tempfile.TemporaryDirectory(prefix="kairos-evaluate-") as folder:
        scratch = config.model_copy(update={"home": Path(folder)})
        ingest(connector_by_name(connector, **options), scratch, now=datetime.now(UTC))
        columns = [USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP]
        frame = frame_of(pq.read_table(scratch.lake / "events", columns=columns), float("inf"))
        items = Lake(scratch.lake).items
        table = pq.read_table(items).to_pandas() if items.exists() else None
    ids = IdMap(sorted(frame[ITEM_ID].unique()))
    return interactions_of(frame, Vocabulary(ids, {})), ids, table
