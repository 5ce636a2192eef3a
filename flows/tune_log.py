"""Every model's best choices on anybody's events, looked for on the validation split; the test is left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from flows.log_events import check_model, read_events, splitter, validation_of
from infra.settings import Settings
from models.entrants import ENTRANTS, REPEATING
from models.errors import TooLargeError
from models.places import Hide
from models.tuning import BudgetConfig, Tuned, tune

ALL: Final = "all"


@dataclass(frozen=True)
class Tuning:
    """What came out."""

    models: Mapping[str, Tuned]
    left_out: Mapping[str, str]
    """Model -> why it could not take part"""
    about: Mapping[str, Any]
    """The data, the split, the budget and the seed"""


def tune_log(
    config: Settings,
    connector: str,
    options: dict[str, Any],
    split: str,
    *,
    budget: BudgetConfig,
    model: str = ALL,
    keep_seen: bool = False,
    say: Callable[[str, float, float], None] = lambda text, done, total: None,
) -> Tuning:
    """Validate a file of events as an ingest does, and tune models on it.

    Args:
        connector: what reads the events.
        options: the connector's.
        split: `leave-one-out` or `temporal:DATE`; what it holds back as the test is not looked at.
        budget: the same for each model.
        model: a name of `models.entrants.ENTRANTS`, or `all`.
        keep_seen: whether what a user had already counts, and may come again.
        say: told how far it is.

    Raises:
        SplitError: there is no such split or model.
        IngestError: as of an ingest.
        EmptyTrainingDataError: a side of the split is empty.
    """
    check_model(model, ALL, keep_seen)
    divide = splitter(split, keep_seen)
    hide: Hide = "nothing" if keep_seen else "seen"
    validation = validation_of(divide(read_events(config, connector, options).events), split, keep_seen)
    names = [name for name in ENTRANTS if keep_seen or name not in REPEATING] if model == ALL else [model]
    config.home.mkdir(parents=True, exist_ok=True)
    found, left_out = {}, {}
    for name in names:
        try:
            found[name] = tune(name, validation, hide=hide, budget=budget, journal=config.tuning, say=say)
        except TooLargeError as error:
            left_out[name] = str(error)
    about = {
        "split": split,
        "keep_seen": keep_seen,
        "learned_from": len(validation.learned),
        "items": validation.learned.n_items - 1,
        "users_asked": len(validation),
        **asdict(budget),
    }
    return Tuning(found, left_out, about)
