from pathlib import Path

import numpy as np
import pytest

from models.boosted import Boosted, BoostedConfig, RankedRows, rows_of
from models.items import ItemTable

LISTS, CANDIDATES, FEATURES = 120, 20, 4
SMALL = BoostedConfig(trees=60, patience=20, least_in_leaf=5, threads=1)


def _lists(table: ItemTable, rule, seed: int) -> tuple[RankedRows, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    items = rng.integers(1, len(table.codes), (LISTS, CANDIDATES)).astype(np.int32)
    features = rng.standard_normal((LISTS, CANDIDATES, FEATURES)).astype(np.float16)
    labels = rule(features, rng) & (items > 0)
    codes, inside = table.codes[items], items > 0
    rows = RankedRows(
        rows_of(features, codes)[inside], labels[inside].astype(np.int8), inside.sum(axis=1).astype(np.int32)
    )
    return rows, features, codes, np.where(inside, labels, False)


def _hits_first(model: Boosted, features, codes, labels) -> float:
    scores = model.score(features, codes)
    has_one = labels.any(axis=1)
    return float(np.take_along_axis(labels, scores.argmax(axis=1)[:, None], axis=1)[has_one].mean())


def _both(features, rng):
    return (features[..., 0] * features[..., 1]) > 1.0  # says nothing in one feature alone


def _noise(features, rng):
    return rng.random(features.shape[:2]) < 0.1


@pytest.fixture
def table(trained) -> ItemTable:
    return trained.items


def test_learns_what_two_features_say_together(table: ItemTable) -> None:
    training, validation, test = (_lists(table, _both, seed) for seed in (1, 2, 3))
    model = Boosted.fit(training[0], validation[0], SMALL)
    assert _hits_first(model, *test[1:]) > 0.8


def test_stays_at_chance_on_noise(table: ItemTable) -> None:
    training, validation, test = (_lists(table, _noise, seed) for seed in (1, 2, 3))
    model = Boosted.fit(training[0], validation[0], SMALL)
    assert _hits_first(model, *test[1:]) < 0.3


def test_the_same_seed_gives_the_same_trees_and_a_file_keeps_them(table: ItemTable, tmp_path: Path) -> None:
    training, validation, (_, features, codes, _) = (_lists(table, _both, seed) for seed in (1, 2, 3))
    first, again = (Boosted.fit(training[0], validation[0], SMALL) for _ in range(2))
    expected = first.score(features, codes)
    np.testing.assert_array_equal(again.score(features, codes), expected)
    first.save(tmp_path / "trees.txt")
    read = Boosted.load(tmp_path / "trees.txt")
    assert read.trees == first.trees
    np.testing.assert_allclose(read.score(features, codes), expected, rtol=1e-6)
