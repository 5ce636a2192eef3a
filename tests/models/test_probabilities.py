"""The ranker's heads as probabilities: learned on users held out, kept in the bundle, told of given items."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import expit

from models import training
from models.bundle import MANIFEST, load, save
from models.calibration import Calibration, calibration_error, log_loss
from models.chances import chances
from models.errors import BundleError
from models.judged_probabilities import judge_probabilities
from models.probabilities import Probabilities
from models.ranker_probabilities import head_rows
from models.ranker_training import Lists, RankerTrainingConfig, spared_users
from models.recommender import Recommender
from models.state import DAY_S, UserState
from models.training import TrainingConfig, train

HORIZON_DAYS = 15.0


@dataclass
class Taught:
    """A model with what it and its probabilities were learned from."""

    model: Recommender
    world: object
    cut: float
    learned: list[Lists]
    spared: list[Lists]


@pytest.fixture(scope="module")
def taught(worlds: Callable, small_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """Carts end before the last cut: nobody held out has any."""
    kinds = ("view", "view", "cart", "purchase", "purchase")
    world = worlds(users=160, items=40, per_user=18, groups=4, kinds=kinds)
    cut = world.end - HORIZON_DAYS * DAY_S
    last = pd.Timestamp(cut - HORIZON_DAYS * DAY_S, unit="s", tz="UTC")
    late = (world.events["timestamp"] >= last) & (world.events["event_type"] == "cart")
    world = replace(world, events=world.events[~late].reset_index(drop=True))
    fit = replace(small_config.fit, list_size=10, validation_share=0.3)
    seen: dict[str, list[Lists]] = {}
    with pytest.MonkeyPatch.context() as patch:
        fit_ranker, fit_probabilities = training.fit_ranker, training.fit_probabilities

        def ranker_fitted(ranker, lists, *more):
            seen["learned"] = list(lists)
            return fit_ranker(ranker, lists, *more)

        def probabilities_fitted(ranker, lists, *more):
            seen["spared"] = list(lists)
            return fit_probabilities(ranker, seen["spared"], *more)

        patch.setattr(training, "fit_ranker", ranker_fitted)
        patch.setattr(training, "fit_probabilities", probabilities_fitted)
        model = train(
            world.events,
            world.snapshots([cut - 2 * HORIZON_DAYS * DAY_S, cut - HORIZON_DAYS * DAY_S]),
            world.items,
            final_cut=cut,
            config=replace(small_config, fit=fit, trees=None),
            run_dir=tmp_path_factory.mktemp("run"),
        )
    return Taught(model, world, cut, **seen)


def _meaning(taught: Taught) -> Probabilities:
    assert taught.model.probabilities is not None
    return taught.model.probabilities


def test_they_are_learned_on_complete_lists_of_users_not_learned_from(taught: Taught) -> None:
    with_lists = np.unique(np.concatenate([part.user for part in taught.learned]))
    spared = np.concatenate([part.user for part in taught.spared])
    held = training.held_users(taught.learned, RankerTrainingConfig(validation_share=0.3))
    assert len(spared)
    assert not set(spared) & (set(with_lists) - set(held))
    for part in taught.spared:
        assert (part.items > 0).sum(axis=1).min() > 10  # not thinned out to the list size
    assert any(not part.labels[row, :, -1].any() for part in taught.spared for row in range(len(part)))


def test_they_come_true_more_often_than_the_raw_heads_say(taught: Taught) -> None:
    meaning, ranker = _meaning(taught), taught.model.ranker
    assert ranker is not None
    logits, labels = head_rows(ranker, taught.spared, taught.model.items)
    for head, calibration in meaning.heads.items():
        at = ranker.heads.index(head)
        raw, said, label = expit(logits[:, at]), calibration(logits[:, at]), labels[:, at]
        assert ((said > 0) & (said < 1)).all()
        assert log_loss(said, label) <= log_loss(raw, label) + 1e-9
        assert calibration_error(said, label) <= calibration_error(raw, label) + 0.002
        assert said.mean() == pytest.approx(label.mean(), rel=0.05)
        assert (np.diff(said[np.argsort(logits[:, at])]) >= 0).all()


def test_a_head_that_nobody_held_out_used_has_none(taught: Taught) -> None:
    assert taught.model.ranker is not None
    assert taught.model.ranker.heads == ("click", "cart", "purchase")
    assert set(_meaning(taught).heads) == {"click", "purchase"}
    assert _meaning(taught).horizon_s == HORIZON_DAYS * DAY_S


def test_what_was_learned_holds_in_the_next_time(taught: Taught) -> None:
    states = taught.world.states(taught.cut)
    events = pa.Table.from_pandas(taught.world.events)
    found = judge_probabilities(taught.model, states, events, taught.cut, taught.world.end)
    assert found is not None
    assert found["days"] == HORIZON_DAYS
    for head in found["heads"].values():
        assert head["ece after"] < head["ece before"]
        assert head["log loss after"] < head["log loss before"]
        assert head["said"] == pytest.approx(head["taken"], rel=0.5)
    shorter = judge_probabilities(taught.model, states, events, taught.cut, taught.cut + DAY_S)
    assert shorter is not None
    assert shorter["days"] == pytest.approx(1.0)
    assert shorter["heads"]["purchase"]["taken"] < found["heads"]["purchase"]["taken"]
    assert judge_probabilities(taught.model, states, events, taught.world.end + DAY_S, taught.world.end + 9e9) is None


def test_chances_of_what_is_known_and_of_nothing_else(taught: Taught) -> None:
    states = [*taught.world.states(taught.cut)[:3], UserState.empty("nobody", taught.cut)]
    items = [["i7", "i1", "ghost"], [], ["i2"], ["i1"]]
    found = chances(taught.model, states, items)
    assert [set(one) for one in found] == [{"i1", "i7"}, set(), {"i2"}, set()]
    for of_item in (*found[0].values(), *found[2].values()):
        assert set(of_item) == {"click", "purchase"}
        assert all(0 < probability < 1 for probability in of_item.values())
    [alone] = chances(taught.model, states[:1], items[:1])
    assert alone == found[0]
    plain = replace(taught.model, probabilities=None)
    assert chances(plain, states, items) == [{}] * 4


@pytest.fixture(scope="module")
def bundled(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(taught.model, tmp_path_factory.mktemp("bundle") / "b")


def test_the_bundle_keeps_them(taught: Taught, bundled: Path) -> None:
    loaded = load(bundled)
    assert loaded.probabilities == taught.model.probabilities
    states, items = taught.world.states(taught.cut)[:4], [["i1", "i2", "i3"]] * 4
    # On ONNX Runtime, not on torch: the last digits may differ.
    for one, other in zip(chances(loaded, states, items), chances(taught.model, states, items), strict=True):
        for item, of_item in other.items():
            assert one[item] == pytest.approx(of_item, abs=1e-4)


@pytest.mark.parametrize(("harm", "says"), [("missing", "purchase.json"), ("garbled", "no calibration")])
def test_a_bundle_without_its_calibrations_says_so(bundled: Path, tmp_path: Path, harm: str, says: str) -> None:
    folder = shutil.copytree(bundled, tmp_path / "b")
    file = folder / "probabilities" / "purchase.json"
    file.write_text("{") if harm == "garbled" else file.unlink()
    with pytest.raises(BundleError, match=says):
        load(folder)


def test_a_bundle_of_before_has_none(bundled: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundled, tmp_path / "b")
    content = json.loads((folder / MANIFEST).read_text())
    del content["probabilities"]
    (folder / MANIFEST).write_text(json.dumps(content))
    assert load(folder).probabilities is None


def test_spared_users_by_hand(taught: Taught) -> None:
    lists = [replace(taught.learned[0], user=np.arange(10, dtype=np.int32))]
    config = RankerTrainingConfig(validation_share=0.5)
    held = training.held_users(lists, config)
    found = spared_users(lists, np.arange(4, 30, dtype=np.int32), config)
    assert set(found[found < 10]) == set(held[held >= 4])
    assert len(found[found >= 10]) == 10  # of 20 without a list
    assert not len(spared_users(lists, np.arange(30, dtype=np.int32), replace(config, validation_share=0.0)))


def test_a_calibration_rises_with_its_logit(taught: Taught) -> None:
    logits = np.linspace(-20, 20, 401)
    for calibration in _meaning(taught).heads.values():
        assert isinstance(calibration, Calibration)
        assert (np.diff(calibration(logits)) >= 0).all()
