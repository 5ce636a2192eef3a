from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import FieldCodesError, FieldRankerFileError, LabelsError
from models.field_ranker import FieldRanker, FieldRankerConfig
from models.field_training import FieldRows, FieldTrainingConfig, fit_field_ranker
from models.metrics import auc

FIELDS = {"user": 10, "item": 20, "hour": 3}
NETWORK = FieldRankerConfig(dim=4, gate=8, hidden=(16, 8), groups=2, dropout=0.0)
TRAINING = FieldTrainingConfig(epochs=12, batch_size=128, learning_rate=1e-2, decay=1e-4, patience=12)


def rows(count: int, seed: int, *, noise: bool = False) -> FieldRows:
    """Users and items are odd or even, and like what is as they are; with noise nobody likes anything."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, size, count) for size in FIELDS.values()], axis=1)
    labels = rng.integers(0, 2, count) if noise else (codes[:, 0] + codes[:, 1] + 1) % 2
    return FieldRows(codes, labels)


@pytest.fixture(scope="module")
def fitted() -> FieldRanker:
    """Of 2,000 rows."""
    return fit_field_ranker(FIELDS, rows(2000, 0), rows(500, 1), NETWORK, TRAINING)[0]


def additive(training: FieldRows, asked: FieldRows) -> np.ndarray:
    """The best sum over the fields: what no model without interactions can beat."""

    def one_hot(codes: np.ndarray) -> np.ndarray:
        return np.concatenate([np.eye(size)[column] for column, size in zip(codes.T, FIELDS.values(), strict=True)], 1)

    weights = np.linalg.lstsq(one_hot(training.codes), training.labels - 0.5)[0]
    return one_hot(asked.codes) @ weights


def test_an_interaction_that_a_sum_over_fields_cannot_say(fitted: FieldRanker) -> None:
    asked = rows(1000, 2)
    assert auc(fitted.score(asked.codes), asked.labels) > 0.99
    assert auc(additive(rows(2000, 0), asked), asked.labels) < 0.6


def test_chance_on_noise() -> None:
    training, validation, asked = (rows(1000, seed, noise=True) for seed in (0, 1, 2))
    ranker, _ = fit_field_ranker(FIELDS, training, validation, NETWORK, replace(TRAINING, epochs=3))
    assert auc(ranker.score(asked.codes), asked.labels) == pytest.approx(0.5, abs=0.06)


def test_a_seed_is_a_model() -> None:
    def scores(seed: int) -> np.ndarray:
        config = replace(TRAINING, epochs=2, seed=seed)
        network = replace(NETWORK, dropout=0.3)
        return fit_field_ranker(FIELDS, rows(500, 0), rows(100, 1), network, config)[0].score(rows(50, 2).codes)

    assert np.array_equal(scores(1), scores(1))
    assert not np.array_equal(scores(1), scores(2))


def test_the_best_epoch_is_kept() -> None:
    validation = rows(300, 1, noise=True)
    ranker, figures = fit_field_ranker(
        FIELDS, rows(500, 0, noise=True), validation, NETWORK, replace(TRAINING, patience=2)
    )
    assert figures["epochs"] < TRAINING.epochs
    assert auc(ranker.score(validation.codes), validation.labels) == pytest.approx(figures["validation_auc"], abs=1e-6)


def test_a_last_batch_of_one_row() -> None:
    ranker, _ = fit_field_ranker(FIELDS, rows(129, 0), rows(100, 1), NETWORK, replace(TRAINING, epochs=2))
    assert np.isfinite(ranker.score(rows(50, 2).codes)).all()


def test_saved_and_loaded(fitted: FieldRanker, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    codes = rows(50, 3).codes
    assert np.array_equal(FieldRanker.load(tmp_path).score(codes), fitted.score(codes))
    assert fitted.score(codes[:0]).shape == (0,)
    (tmp_path / "field_ranker.npz").unlink()
    with pytest.raises(FieldRankerFileError, match=r"field_ranker\.npz"):
        FieldRanker.load(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 20, 0], "item: 20 in row 1, expected a whole number 0..19"),
        ([-1, 0, 0], "user: -1 in row 1, expected a whole number 0..9"),
        ([0, np.nan, 0], "item: nan in row 1"),
        ([0, 0, 1.5], "hour: 1.5 in row 1, expected a whole number 0..2"),
        ([0, 0], r"shape \(2, 2\), expected \[rows, 3\]: user, item, hour"),
    ],
)
def test_bad_codes_are_named(row, message, fitted: FieldRanker) -> None:
    codes = np.array([np.zeros(len(row)), row])
    codes = codes if np.mod(codes, 1).any() else codes.astype(int)
    with pytest.raises(FieldCodesError, match=message):
        fitted.score(codes)
    with pytest.raises(FieldCodesError, match=message):
        fit_field_ranker(FIELDS, FieldRows(codes, np.array([0, 1])), rows(10, 0), NETWORK, TRAINING)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(10), "labels: only 0, expected 0 and 1 both"),
        (np.array([0.0] * 9 + [np.nan]), "labels: nan in row 9"),
        (np.zeros(9), "labels: 9 rows, expected as many as codes, 10"),
    ],
)
def test_bad_labels_are_named(labels, message) -> None:
    good = rows(10, 0)
    bad = FieldRows(good.codes, labels)
    for training, validation in ((bad, good), (good, bad)):
        with pytest.raises(LabelsError, match=message):
            fit_field_ranker(FIELDS, training, validation, NETWORK, TRAINING)


def test_a_condition_that_is_no_field() -> None:
    with pytest.raises(FieldCodesError, match="conditions: 'shop' is no field, expected two of user, item, hour"):
        FieldRanker(FIELDS, replace(NETWORK, conditions=("user", "shop")))


def test_auc_by_hand() -> None:
    # Of four pairs two are in order and one is a tie.
    assert auc(np.array([0.9, 0.4, 0.4, 0.5]), np.array([1, 1, 0, 0])) == (2 + 0.5) / 4
