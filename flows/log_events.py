"""A file of events for comparing models: read as an ingest reads it, and split into what is known and what is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.lake import Lake
from feature_repo.schema import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID, VALUE
from flows.connectors import connector as connector_by_name
from flows.errors import SplitError
from flows.ingest import ingest
from infra.settings import Settings
from models.entrants import ENTRANTS, REPEATING, WITH_ATTRIBUTES
from models.ids import IdMap
from models.interactions import Interactions, frame_of, interactions_of
from models.ratings import Ratings, ratings_of
from models.split import Holdout, at_moment, leave_last_out
from models.vocabulary import Vocabulary

LEAVE_ONE_OUT: Final = "leave-one-out"
TEMPORAL: Final = "temporal:"


@dataclass(frozen=True)
class LogEvents:
    """What a file says."""

    events: Interactions
    ratings: Ratings | None
    """None: nothing was rated with a value"""
    ids: IdMap
    """Of the items"""
    items: pd.DataFrame | None
    """What is said of them, where there is a table"""


def read_events(config: Settings, connector: str, options: dict[str, Any]) -> LogEvents:
    """The events that an ingest would take, in a place of their own.

    Raises:
        IngestError: as of an ingest.
    """
    with tempfile.TemporaryDirectory(prefix="kairos-evaluate-") as folder:
        scratch = config.model_copy(update={"home": Path(folder)})
        ingest(connector_by_name(connector, **options), scratch, now=datetime.now(UTC))
        table = pq.read_table(scratch.lake / "events", columns=[USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP, VALUE])
        kept = Lake(scratch.lake).items
        items = pq.read_table(kept).to_pandas() if kept.exists() else None
    frame = frame_of(table, float("inf"))
    ids = IdMap(sorted(frame[ITEM_ID].unique()))
    return LogEvents(interactions_of(frame, Vocabulary(ids, {})), ratings_of(table), ids, items)


def check_model(model: str, all_of_them: str, keep_seen: bool, *, has_items: bool | None = None) -> None:
    """Whether there is such a model, and something for it to say.

    Args:
        has_items: whether there is a table of the items; None: models that read one cannot take part.

    Raises:
        SplitError: there is not.
    """
    known = ENTRANTS if has_items is None else (*ENTRANTS, *WITH_ATTRIBUTES)
    if model != all_of_them and model not in known:
        raise SplitError(
            f"--model {model}: there is no such model; expected {all_of_them} or one of {', '.join(known)}"
        )
    if model in WITH_ATTRIBUTES and not has_items:
        raise SplitError(f"--model {model} reads what is said of the items: add --items FILE")
    if model in REPEATING and not keep_seen:
        raise SplitError(f"--model {model} knows nothing but what a user had already: add --keep-seen")


def splitter(split: str, keep_seen: bool) -> Callable[[Interactions], Holdout]:
    """What divides events as asked.

    Raises:
        SplitError: there is no such split.
    """
    at = moment_of(split)
    if at is None:
        return lambda events: leave_last_out(events, least=3, novel=not keep_seen)
    return lambda events: at_moment(events, at, novel=not keep_seen)


def moment_of(split: str) -> float | None:
    """From when on a split holds back, epoch seconds; None: it holds back the last of each user.

    Raises:
        SplitError: there is no such split.
    """
    if split == LEAVE_ONE_OUT:
        return None
    if split.startswith(TEMPORAL):
        text = split.removeprefix(TEMPORAL)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise SplitError(f"--split {split}: {text!r} is no date; expected e.g. {TEMPORAL}2024-06-01") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise SplitError(f"--split {split}: there is no such split; expected {LEAVE_ONE_OUT} or {TEMPORAL}DATE")


def validation_of(test: Holdout, split: str, keep_seen: bool) -> Holdout:
    """The same once more within what may be learned from.

    Raises:
        EmptyTrainingDataError: nothing is left to be asked.
    """
    if split == LEAVE_ONE_OUT:
        return leave_last_out(test.learned, novel=not keep_seen)
    # The last fifth of what is before the moment, at most 31 days.
    learned, moment = test.learned, float(test.now[0])
    span = min((moment - float(learned.time.min())) / 5, 31 * 86_400.0)
    return at_moment(learned, moment - span, novel=not keep_seen)
