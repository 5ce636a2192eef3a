"""A training goes on from the champion where that will do, and says why where it begins anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bentoml
import pytest
import torch
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from flows.bundles import known_until, newest_bundle, publish_bundle
from flows.catching_up import catch_up_champion, catch_up_if_possible
from flows.connectors import connector
from flows.decisions import Decision, record
from flows.features import data_timeline
from flows.going_on import Base, base_of, next_lesson
from flows.ingest import ingest
from flows.monitoring.freshness import answers_behind
from flows.train import begin, train_bundle
from infra.settings import Settings
from models import bundle, registry
from models.errors import NotUpdatableError
from models.gate import Finding
from models.ranker import RankerConfig
from models.ranker_training import RankerTrainingConfig
from models.sources.als import AlsConfig
from models.sources.encoder import SequenceConfig
from models.training import TrainingConfig

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SMALL = TrainingConfig(
    als=AlsConfig(factors=4, iterations=2, threads=1),
    sequence=SequenceConfig(dim=8, layers=1, epochs=1, batch_size=16, negatives=16),
    ranker=RankerConfig(hidden=8, cross_layers=1, cross_rank=2),
    fit=RankerTrainingConfig(list_size=20, epochs=1, batch_size=16),
)
STEP_DAYS = 10


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A hundred days of 30 users, 5 items of 30 new in the last 12; the model in service knows the first 82."""
    root = tmp_path_factory.mktemp("going-on")
    rows = []
    for n in range(100, 0, -1):
        items = 30 if n <= 12 else 25
        stamp = f"{NOW - timedelta(days=n):%Y-%m-%d}"
        rows += [f"u{u},i{(n * 7 + u * 3) % items},purchase,{stamp}" for u in range(30)]
    (root / "events.csv").write_text("\n".join(["user_id,item_id,behavior,timestamp", *rows]))
    (root / "items.csv").write_text("item_id,category\n" + "\n".join(f"i{n},c{n % 3}" for n in range(30)))
    (root / "models").mkdir()
    BentoMLContainer.model_store.set(ModelStore(root / "models"))
    config = Settings(home=root / "home", snapshot_days=STEP_DAYS, training_cuts=2, holdout_days=18)
    files = connector("csv", path=root / "events.csv", items=root / "items.csv")
    ingest(files, config, now=NOW, progress=False)
    crown(config, train_bundle(config, SMALL, anew=True))
    yield config
    BentoMLContainer.model_store.reset()


@pytest.fixture
def config(home: Settings, tmp_path: Path) -> Settings:
    """The home as it was, to be changed."""
    shutil.copytree(home.home, tmp_path / "home")
    return home.model_copy(update={"home": tmp_path / "home"})


def later(config: Settings, days: int) -> Settings:
    """As if so many days had passed: the cut moves."""
    return config.model_copy(update={"holdout_days": config.holdout_days - days})


def crown(config: Settings, folder: Path) -> str:
    tag = publish_bundle(folder)
    registry.crown(config.champion, tag)
    return tag


def origin(folder: Path) -> dict[str, Any]:
    return bundle.manifest(folder)["origin"]


def test_a_training_anew_goes_on_from_nothing(home: Settings) -> None:
    [first] = home.bundles.iterdir()
    assert origin(first)["because"] == "asked for"
    assert origin(first)["goes_on_from"] is None
    assert origin(first)["teacher"] == first.name


def test_nights_go_on_and_a_horizon_later_the_ranker_learns(config: Settings) -> None:
    [first] = config.bundles.iterdir()
    champion = registry.champion(config.champion).tag
    night = train_bundle(later(config, 4), SMALL)
    assert origin(night)["goes_on_from"] == champion
    assert origin(night)["teacher"] == first.name
    assert origin(night)["anew_at"] == bundle.manifest(first)["items_at"] < bundle.manifest(night)["items_at"]
    assert "ranker" not in bundle.manifest(night)["metrics"]
    weights = [torch.load(folder / "ranker.pt", weights_only=True) for folder in (first, night)]
    assert torch.equal(weights[0]["out.weight"], weights[1]["out.weight"])

    crown(config, night)
    taught = train_bundle(later(config, STEP_DAYS + 3), SMALL)
    assert bundle.manifest(taught)["metrics"]["ranker"]["lists"] > 0
    assert origin(taught)["teacher"] == taught.name
    items = {name: set(bundle.load(folder).item_names) for name, folder in (("first", first), ("taught", taught))}
    assert items["taught"] - items["first"] == {f"i{n}" for n in range(25, 30)}


def test_with_nothing_new_it_is_the_same_model(config: Settings) -> None:
    [first] = config.bundles.iterdir()
    again = train_bundle(config, SMALL)
    assert origin(again)["goes_on_from"] == registry.champion(config.champion).tag
    weights = [torch.load(folder / "sources/sequence/sequence.pt", weights_only=True) for folder in (first, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_where_it_begins_anew_it_says_why(config: Settings) -> None:
    def why(config: Settings, model: TrainingConfig = SMALL) -> str:
        base = base_of(config, begin(config, model, data_timeline(config)))
        assert isinstance(base, str)
        return base

    next_night = later(config, 4)
    other = replace(SMALL, ranker=replace(SMALL.ranker, hidden=16))
    assert why(next_night, other).endswith("other choices: ranker")
    assert why(next_night.model_copy(update={"full_training_days": 3})) == (
        "the last training that began anew is 4 days old"
    )
    assert "later events" in why(later(config, -2))
    champion = registry.champion(config.champion).tag
    record(config, Decision.of("kairos:worse", champion, [Finding("quality", False, "worse")], False))
    assert why(next_night).startswith("kairos:worse was refused")
    shutil.rmtree(config.decisions)
    assert "no cuts to learn from" in why(next_night.model_copy(update={"training_cuts": 0}))
    shutil.rmtree(config.bundles)
    assert "next lesson begins with is gone" in why(next_night)
    config.champion.unlink()
    assert "no model in service" in why(next_night)


def test_a_damaged_champion_is_no_base(config: Settings) -> None:
    [first] = config.bundles.iterdir()
    tag = crown(config, first)
    file = registry.bundle_path(tag) / "items.npz"
    file.write_bytes(file.read_bytes()[:-1])
    base = base_of(later(config, 4), begin(later(config, 4), SMALL, data_timeline(later(config, 4))))
    assert isinstance(base, str)
    assert "items.npz" in base


def test_a_damaged_teacher_teaches_nothing(config: Settings) -> None:
    [first] = config.bundles.iterdir()
    crown(config, train_bundle(later(config, 4), SMALL))
    (first / "items.npz").write_bytes(b"")
    base = base_of(later(config, 5), begin(later(config, 5), SMALL, data_timeline(later(config, 5))))
    assert isinstance(base, Base)
    with pytest.raises(NotUpdatableError, match="cannot be read"):
        base.load(taught=True)


def test_a_champion_that_teaches_is_read_once(config: Settings) -> None:
    base = base_of(later(config, 4), begin(later(config, 4), SMALL, data_timeline(later(config, 4))))
    assert isinstance(base, Base)
    model, teacher = base.load(taught=True)
    assert teacher is model


def test_snapshots_of_the_next_lesson_are_kept(config: Settings) -> None:
    [first] = config.bundles.iterdir()
    cut = datetime.fromtimestamp(bundle.manifest(first)["items_at"], UTC)
    assert next_lesson(config) == [cut - timedelta(microseconds=1)]
    shutil.rmtree(first)
    assert next_lesson(config) == []


def test_a_head_that_the_model_lacks_asks_for_a_training_anew(config: Settings, tmp_path: Path) -> None:
    (tmp_path / "carts.csv").write_text(
        "user_id,item_id,behavior,timestamp\n"
        + "\n".join(f"u{n % 30},i{n % 25},cart,{NOW - timedelta(days=30 + n % 20):%Y-%m-%d}" for n in range(60))
    )
    ingest(connector("csv", path=tmp_path / "carts.csv"), config, now=NOW, progress=False)
    assert "heads" in origin(train_bundle(later(config, 4), SMALL))["because"]


def test_what_is_in_service_learns_the_days_that_judged_it(config: Settings) -> None:
    [first] = config.bundles.iterdir()
    champion = registry.champion(config.champion).tag
    newest = data_timeline(config).newest
    assert answers_behind(config, newest) == newest - known_until(champion) > timedelta(0)
    held = catch_up_champion(config, SMALL)
    assert answers_behind(config, newest) == -timedelta(microseconds=1)
    assert (held.tag, held) == (champion, registry.champion(config.champion))
    known, now = (bundle.load(registry.bundle_path(tag)) for tag in (held.tag, held.serves))
    assert set(now.item_names) - set(known.item_names) == {f"i{n}" for n in range(25, 30)}
    about = bundle.manifest(registry.bundle_path(held.serves))
    assert about["origin"]["goes_on_from"] == champion
    assert catch_up_champion(config, SMALL) == held  # nothing has happened since

    # What comes next begins with what was judged, and is published in its turn.
    assert newest_bundle(config) == first
    base = base_of(later(config, 4), begin(later(config, 4), SMALL, data_timeline(later(config, 4))))
    assert isinstance(base, Base)
    assert (base.name, base.teacher) == (champion, first)


def test_one_that_is_held_answers_as_it_was_judged(config: Settings) -> None:
    held = registry.champion(config.champion)
    registry.catch_up(config.champion, held.tag, of=held.tag)
    assert catch_up_champion(config, SMALL).serves == held.tag
    assert answers_behind(config, data_timeline(config).newest) is None
    registry.catch_up(config.champion, None, of=held.tag)
    assert catch_up_champion(config, SMALL).serves != held.tag


def test_one_that_is_gone_is_made_anew(config: Settings) -> None:
    gone = catch_up_champion(config, SMALL).serves
    bentoml.models.delete(gone)
    newest, champion = data_timeline(config).newest, registry.champion(config.champion).tag
    assert answers_behind(config, newest) == newest - known_until(champion)
    held = catch_up_champion(config, SMALL)
    assert held.serves not in (gone, held.tag)
    registry.bundle_path(held.serves)


def test_where_the_champion_cannot_go_on_it_answers_as_it_is(config: Settings) -> None:
    held = registry.champion(config.champion)
    said = catch_up_if_possible(config)  # with the settings' choices, not those of this champion
    assert "was trained with other choices" in said
    assert said.startswith(f"{held.tag} answers as before")
    assert registry.champion(config.champion) == held
