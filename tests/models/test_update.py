"""A model goes on from where it was: what it knew keeps its place, what is new enters, and nothing peeks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models import bundle
from models.errors import NotUpdatableError
from models.list_builder import Snapshot
from models.recommender import Recommender
from models.state import DAY_S
from models.training import TrainingConfig, train
from models.update import Lesson, update

STEP_S = 20 * DAY_S


@pytest.fixture(scope="module")
def growing(worlds: Callable):
    """A shop of which a fifth of the items and users is new in the last 20 days."""
    world = worlds(users=60, items=60, per_user=20, groups=4)
    stamps = pd.to_datetime(world.events["timestamp"], utc=True)
    early = stamps < pd.Timestamp(world.end - STEP_S, unit="s", tz="UTC")
    new_item = world.events["item_id"].str[1:].astype(int) >= 48
    new_user = world.events["user_id"].str[1:].astype(int) >= 48
    return replace(world, events=world.events[~(early & (new_item | new_user))].reset_index(drop=True))


@pytest.fixture(scope="module")
def earlier(growing, small_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a model that was trained 20 days before the end."""
    folder = tmp_path_factory.mktemp("earlier")
    cut = growing.end - STEP_S
    known = growing.items[growing.items["item_id"].str[1:].astype(int) < 48]
    snapshots = [Snapshot(s.cut, s.states, known) for s in growing.snapshots([cut - STEP_S])]
    model = train(growing.events, snapshots, known, final_cut=cut, config=small_config, run_dir=folder / "run")
    return bundle.save(model, folder / "bundle")


def updated(earlier: Path, growing, config: TrainingConfig, run: Path, *, taught: bool = True) -> Recommender:
    cut = growing.end - STEP_S
    whole = growing.snapshots([cut])[0]

    def read(users: Sequence[str]) -> Snapshot:
        return replace(whole, states=[state for state in whole.states if state.user_id in users])

    lesson = Lesson(bundle.load(earlier), cut, growing.end, read) if taught else None
    return update(
        bundle.load(earlier),
        growing.events,
        growing.items,
        final_cut=growing.end,
        lesson=lesson,
        config=config,
        run_dir=run,
    )


def test_new_items_and_users_enter(earlier: Path, growing, small_config: TrainingConfig, tmp_path: Path) -> None:
    old, new = bundle.load(earlier), updated(earlier, growing, small_config, tmp_path)
    known = old.vocabulary.items.names
    assert new.vocabulary.items.names[: len(known)] == known
    assert set(new.vocabulary.items.names) - set(known) == {f"i{number}" for number in range(48, 60)}
    states = growing.states(growing.end)
    answers = new.recommend(states, 10, novel_only=True)
    shown = {item.item_id for answer in answers for item in answer}
    assert shown & {f"i{number}" for number in range(48, 60)}
    of_new_users = [answer for state, answer in zip(states, answers, strict=True) if int(state.user_id[1:]) >= 48]
    assert len(of_new_users) == 12
    assert all(len(answer) == 10 for answer in of_new_users)


def test_a_lesson_teaches_and_none_leaves_the_ranker(
    earlier: Path, growing, small_config: TrainingConfig, tmp_path: Path
) -> None:
    old = bundle.load(earlier)
    taught, untaught = (
        updated(earlier, growing, small_config, tmp_path / str(flag), taught=flag) for flag in (True, False)
    )
    assert old.ranker is not None
    for name, before in old.ranker.state_dict().items():
        assert taught.ranker is not None
        assert untaught.ranker is not None
        after = untaught.ranker.state_dict()[name]
        assert np.array_equal(after[: len(before)] if before.dim() else after, before), name
    assert taught.ranker.out.weight.detach().numpy().tolist() != old.ranker.out.weight.detach().numpy().tolist()
    assert taught.metrics["ranker"]["lists"] > 0
    assert "ranker" not in untaught.metrics
    assert taught.probabilities is not None
    assert taught.probabilities.horizon_s == STEP_S


def test_it_ranks_for_the_group_as_a_full_training_does(
    earlier: Path, growing, small_config: TrainingConfig, tmp_path: Path
) -> None:
    """Only items of the user's own group are right, and a quarter would be by chance."""
    full = train(
        growing.events,
        growing.snapshots([growing.end - 2 * STEP_S, growing.end - STEP_S]),
        growing.items,
        final_cut=growing.end,
        config=small_config,
        run_dir=tmp_path / "full",
    )
    states = growing.states(growing.end)

    def share_right(model: Recommender) -> float:
        answers = model.recommend(states, 5, novel_only=True)
        return float(
            np.mean(
                [
                    int(item.item_id[1:]) % 4 == int(state.user_id[1:]) % 4
                    for state, answer in zip(states, answers, strict=True)
                    for item in answer
                ]
            )
        )

    assert share_right(updated(earlier, growing, small_config, tmp_path)) > 0.9 * share_right(full) > 0.5


def test_it_runs_on_the_devices_that_there_are_now(
    earlier: Path, growing, small_config: TrainingConfig, tmp_path: Path
) -> None:
    shutil.copytree(earlier, tmp_path / "bundle")
    file = tmp_path / "bundle" / "sources" / "sequence" / "sequence.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "devices": 7}))
    model = updated(tmp_path / "bundle", growing, small_config, tmp_path / "run", taught=False)
    assert model.sources["sequence"].config.devices == 1


def test_the_future_changes_nothing(earlier: Path, growing, small_config: TrainingConfig, tmp_path: Path) -> None:
    later = growing.events.assign(timestamp=growing.events["timestamp"] + pd.Timedelta(days=100), user_id="later")
    answers = []
    for number, events in enumerate((growing.events, pd.concat([growing.events, later]))):
        world = replace(growing, events=events)
        model = updated(earlier, world, small_config, tmp_path / str(number))
        answers.append(model.recommend(growing.states(growing.end), 10))
    assert answers[0] == answers[1]


def test_an_updated_model_is_saved_and_read(earlier: Path, growing, small_config: TrainingConfig, tmp_path) -> None:
    model = updated(earlier, growing, small_config, tmp_path / "run")
    states = growing.states(growing.end)
    read = bundle.load(bundle.save(model, tmp_path / "bundle"))
    for ours, again in zip(model.recommend(states, 10), read.recommend(states, 10), strict=True):
        assert [item.item_id for item in ours] == [item.item_id for item in again]
        assert [item.score for item in ours] == pytest.approx([item.score for item in again], abs=1e-3)


def test_what_a_model_lacks_is_named(earlier: Path, growing, small_config: TrainingConfig, tmp_path: Path) -> None:
    carts = growing.events.assign(event_type="cart")
    both = pd.concat([growing.events, carts])
    with pytest.raises(NotUpdatableError, match=r"predicts purchase.*predict cart"):
        updated(earlier, replace(growing, events=carts), small_config, tmp_path)
    with pytest.raises(NotUpdatableError, match=r"heads for.*cart"):
        updated(earlier, replace(growing, events=both), small_config, tmp_path, taught=False)
    without = replace(bundle.load(earlier), ranker=None)
    with pytest.raises(NotUpdatableError, match="no ranker"):
        update(
            without,
            growing.events,
            growing.items,
            final_cut=growing.end,
            lesson=None,
            config=small_config,
            run_dir=tmp_path,
        )
