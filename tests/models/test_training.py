from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from models.errors import EmptyTrainingDataError, TableError
from models.list_builder import Snapshot
from models.state import DAY_S
from models.training import TrainingConfig, train


@pytest.mark.parametrize(
    ("kinds", "target", "heads"),
    [
        (("view",), "view", ("click",)),
        (("rating",), "rating", ("purchase",)),
        (("view", "cart"), "cart", ("click", "cart")),
        (("click", "purchase"), "purchase", ("click", "purchase")),
    ],
)
def test_any_kind_of_events(kinds, target, heads, worlds, small_config: TrainingConfig, tmp_path: Path) -> None:
    world = worlds(users=10, items=20, per_user=5, groups=2, kinds=kinds)
    snapshots = world.snapshots([world.end - 30 * DAY_S])
    items = world.items[["item_id"]]
    snapshots = [Snapshot(s.cut, s.states, items) for s in snapshots]
    model = train(
        pa.Table.from_pandas(world.events), snapshots, items, final_cut=world.end, config=small_config, run_dir=tmp_path
    )
    assert model.target == target
    assert model.ranker is not None
    assert model.ranker.heads == heads
    answers = model.recommend(world.states(world.end), 5, novel_only=True)
    assert all(len(answer) == 5 for answer in answers)
    assert list((tmp_path / "checkpoints").glob("*.ckpt"))
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_without_a_cut_the_sources_are_fused(world, small_config: TrainingConfig, tmp_path: Path) -> None:
    model = train(world.events, [], world.items, final_cut=world.end, config=small_config, run_dir=tmp_path)
    assert model.ranker is None
    assert all(len(answer) == 10 for answer in model.recommend(world.states(world.end), 10))


def test_the_future_changes_nothing(world, small_config: TrainingConfig, tmp_path: Path) -> None:
    cut = world.end - 20 * DAY_S
    stamps = pd.to_datetime(world.events["timestamp"], utc=True)
    past = world.events[stamps < pd.Timestamp(cut, unit="s", tz="UTC")]
    answers = []
    for events in (world.events, past):
        snapshots = world.snapshots([cut - 20 * DAY_S])
        model = train(events, snapshots, world.items, final_cut=cut, config=small_config, run_dir=tmp_path)
        answers.append(model.recommend(world.states(cut), 10))
    assert answers[0] == answers[1]


def test_bad_input_names_what_is_wrong(world, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="item_id"):
        train(world.events.drop(columns="item_id"), [], world.items, final_cut=world.end, run_dir=tmp_path)
    with pytest.raises(EmptyTrainingDataError, match="before the cut"):
        train(world.events, [], world.items, final_cut=0.0, run_dir=tmp_path)
    with pytest.raises(TableError, match="item_id"):
        train(world.events, [], pd.DataFrame({"x": [1]}), final_cut=world.end, run_dir=tmp_path)


def test_without_trees_the_network_ranks_alone(world, small_config: TrainingConfig, tmp_path: Path) -> None:
    config = replace(small_config, trees=None)
    snapshots = world.snapshots([world.end - 20 * DAY_S])
    model = train(world.events, snapshots, world.items, final_cut=world.end, config=config, run_dir=tmp_path)
    assert model.ranker is not None
    assert model.ranker.trees is None
    states = world.states(world.end)
    assert model.recommend(states, 5) == model.recommend(states, 5, mode="classic")
