"""The search for a model's choices: what it tries first, what it may cost, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from models.entrants import ENTRANTS, LENGTH, entrant, fit
from models.errors import ConfigError
from models.places import places_of
from models.search_spaces import SPACES
from models.split import Holdout, leave_last_out
from models.tuning import BudgetConfig, tune
from tests.models.logs import log_of

BUDGET = BudgetConfig(trials=4)


@pytest.fixture(scope="module")
def validation() -> Holdout:
    """What is popular changes from week to week, so that the half-life of popularity matters."""
    rng = np.random.default_rng(5)
    rows = [
        (user, int(1 + (10 * (day // 7) + rng.integers(0, 10)) % 60), "view", float(day))
        for user in range(40)
        for day in range(user % 7, 56, 7)
    ]
    return leave_last_out(log_of(rows, 61))


def test_every_entrant_has_a_space_of_its_own_fields_with_the_default_inside() -> None:
    assert set(SPACES) == set(ENTRANTS)
    for name, space in SPACES.items():
        config = ENTRANTS[name]().config
        for field, values in space.items():
            assert values._contains(values.to_internal_repr(getattr(config, field))), (name, field)


def test_the_first_trial_is_the_default_and_the_best_is_no_worse(validation: Holdout) -> None:
    found = tune("popularity", validation, hide="seen", budget=BUDGET)
    assert found.trials == BUDGET.trials
    assert found.default_ndcg == pytest.approx(ndcg("popularity", {}, validation))
    assert found.validation_ndcg == pytest.approx(ndcg("popularity", found.choices, validation))
    assert found.validation_ndcg > found.default_ndcg  # what was popular for weeks is not what comes next


def ndcg(name: str, choices: dict[str, float], validation: Holdout) -> float:
    source = fit(entrant(name, choices), validation.learned)
    return float(places_of(source.scores, validation, length=LENGTH, top=10).ndcg(10).mean())


def test_cut_short_it_goes_on_to_the_same_end(validation: Holdout, tmp_path: Path) -> None:
    whole = tune("popularity", validation, hide="seen", budget=BUDGET)
    journal = tmp_path / "tuning.journal"
    steps: list[str] = []
    tune("popularity", validation, hide="seen", budget=BudgetConfig(trials=2), journal=journal)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    [search] = optuna.get_all_study_names(storage)
    optuna.load_study(study_name=search, storage=storage).ask()  # begun and never ended, as when the process is killed
    resumed = tune(
        "popularity", validation, hide="seen", budget=BUDGET, journal=journal,
        say=lambda text, done, total: steps.append(f"{done:.0f} of {total:.0f}"),
    )  # fmt: skip
    assert replace(resumed, seconds=0.0) == replace(whole, seconds=0.0)
    assert steps == ["2 of 4", "3 of 4", "4 of 4"]


def test_other_data_are_another_search(validation: Holdout, tmp_path: Path) -> None:
    journal = tmp_path / "tuning.journal"
    tune("popularity", validation, hide="seen", budget=BUDGET, journal=journal)
    part = validation.part(np.arange(20))
    found = tune("popularity", part, hide="seen", budget=BudgetConfig(trials=1), journal=journal)
    assert (found.trials, found.default_ndcg) == (1, pytest.approx(ndcg("popularity", {}, part)))


def test_without_time_there_is_the_default_alone(validation: Holdout) -> None:
    found = tune("popularity", validation, hide="seen", budget=BudgetConfig(minutes=0.0))
    assert (found.trials, found.choices) == (1, {"half_life_days": 60.0})


def test_where_there_is_nothing_to_choose_one_trial_is_enough(validation: Holdout) -> None:
    found = tune("recent", validation, hide="nothing", budget=BUDGET)
    assert (found.trials, found.choices) == (1, {})


@pytest.mark.parametrize(
    ("choices", "wrong"),
    [
        ({"halflife": 3.0}, "there is no 'halflife' to choose; expected one of half_life_days"),
        ({"half_life_days": "long"}, "half_life_days is 'long'; expected a value of type float"),
        ({"half_life_days": True}, "half_life_days is True; expected a value of type float"),
    ],
)
def test_a_choice_that_there_is_not_is_told(choices: dict[str, object], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        entrant("popularity", choices)
