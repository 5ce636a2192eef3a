"""The choices of each model that rank best on validation, looked for by a tree-structured Parzen estimator (Bergstra et
al., 2011) through Optuna. Every model gets the same budget, and its first trial is its default.

Trials are kept in a journal: a search that was cut short goes on where it was, and comes to the same end.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from models.entrants import ENTRANTS, LENGTH, K, entrant, fit
from models.errors import NanScoreError
from models.places import Hide, places_of
from models.search_spaces import SPACES, Space
from models.split import Holdout

_SECONDS: Final = "seconds"

Say = Callable[[str, float, float], None]
"""Told what is being done, how much of the budget is used, and how much there is."""


@dataclass(frozen=True)
class BudgetConfig:
    """What the search for each model may cost. Trials of earlier runs of the same search count."""

    trials: int = 20
    """Configurations that are tried, the default among them."""
    minutes: float | None = None
    """Instead of a number of trials: begin another one until fits and rankings have taken so long."""
    seed: int = 7


@dataclass(frozen=True)
class Tuned:
    """What was found for one model."""

    choices: dict[str, Any]
    """Field of the configuration -> the best value"""
    validation_ndcg: float
    """With them, NDCG@10 on validation"""
    default_ndcg: float
    """With the default's"""
    trials: int
    seconds: float
    """Of all trials' fits and rankings"""


def tune(
    name: str,
    validation: Holdout,
    *,
    hide: Hide,
    budget: BudgetConfig = BudgetConfig(),
    journal: Path | None = None,
    say: Say = lambda text, done, total: None,
) -> Tuned:
    """Looks for the best choices of one model.

    Args:
        name: of `models.entrants.ENTRANTS`.
        validation: what is learned from and what is asked; nothing later is looked at.
        hide: what may not come again.
        budget: what it may cost.
        journal: file that trials are kept in; None: they are forgotten.
        say: told how far it is.

    Raises:
        TooLargeError: the model does not fit into memory.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = SPACES[name]
    config = ENTRANTS[name]().config
    default = {field: getattr(config, field) for field in space}
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))) if journal else None,
        study_name=f"{name}-{_fingerprint(validation, space, default, hide, budget.seed)}",
        direction="maximize",
        load_if_exists=True,
    )
    for cut_short in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(cut_short.number, state=TrialState.FAIL)
    while True:
        complete = _complete(study)
        used, total = _used(complete, budget)
        best = f", best {max(trial.value or 0.0 for trial in complete):.4f}" if complete else ""
        say(f"{name}: trial {len(complete) + 1}{best}", used, total)
        if complete and (used >= total or not space):
            break
        if not complete and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(default)
        # Seeded for each trial by its place: whether the search was cut short before does not matter.
        study.sampler = optuna.samplers.TPESampler(seed=budget.seed + len(complete))
        trial = study.ask(dict(space))
        failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        if sum(each.params == trial.params for each in failed) > 1:
            # It ended the process twice, for want of memory perhaps; without this it would do so for ever.
            trial.set_user_attr(_SECONDS, 0.0)
            study.tell(trial, 0.0)
            continue
        started = time.perf_counter()
        value = _ndcg(name, trial.params, validation, hide)
        trial.set_user_attr(_SECONDS, time.perf_counter() - started)
        study.tell(trial, value)
    first = min(complete, key=lambda trial: trial.number)
    found = study.best_trial
    return Tuned(found.params, found.value or 0.0, first.value or 0.0, len(complete), round(_seconds(complete), 1))


def _ndcg(name: str, choices: dict[str, Any], validation: Holdout, hide: Hide) -> float:
    source = fit(entrant(name, choices), validation.learned)
    try:
        places = places_of(source.scores, validation, hide=hide, length=LENGTH, top=K)
    except NanScoreError:  # choices with which a training runs away are worth nothing
        return 0.0
    return float(places.ndcg(K).mean())


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _used(complete: Iterable[optuna.trial.FrozenTrial], budget: BudgetConfig) -> tuple[float, float]:
    """How much of the budget is used, and how much there is: trials, or seconds."""
    if budget.minutes is None:
        return len(list(complete)), budget.trials
    return _seconds(complete), 60.0 * budget.minutes


def _seconds(complete: Iterable[optuna.trial.FrozenTrial]) -> float:
    return float(sum(trial.user_attrs[_SECONDS] for trial in complete))


def _fingerprint(validation: Holdout, space: Space, default: dict[str, Any], hide: Hide, seed: int) -> str:
    """Of all that a trial's figure depends on: where one thing is another, it is another search."""
    digest = hashlib.sha256()
    learned = validation.learned
    for column in (learned.user, learned.item, learned.kind, learned.time, validation.users, validation.truth_item):
        digest.update(column.tobytes())
    ranges = {field: distribution_to_json(each) for field, each in space.items()}
    digest.update(repr((ranges, default, hide, seed)).encode())
    return digest.hexdigest()[:16]
