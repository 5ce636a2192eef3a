"""From an edited file to Feast's registry: what changes is told before, what breaks a model is refused, and the
registry holds the old definitions or the new ones, never half of each."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest

from feature_repo.errors import FeatureFileError, FeaturesBusyError, LiveFeatureError
from feature_repo.registry import one_registry_writer
from feature_repo.snapshots import snapshot
from feature_repo.store import Features
from infra.settings import Settings
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.edited import FeatureFolder, counting, feature_folder
from tests.feature_repo.servers import production

NOW = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)
AS_TEXT = counting("counts", "n=String", "n=history.count().cast('string')")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureFolder:
    return feature_folder(tmp_path / "features", monkeypatch, beside_ours=False)


def planned(features: Features) -> list[tuple[str, str, str | None, str]]:
    """Without the features of the moment of asking, which are always there."""
    found = [(c.kind, c.view, c.field, c.detail) for c in features.changes()]
    return [change for change in found if change[1] != "request_time"]


def test_a_plan_tells_what_is_new_changed_and_removed(folder: FeatureFolder, features: Features) -> None:
    folder.write("a", counting("counts", "n=Float64, m=Float64", "n=history.recency.mean(), m=history.age_days.max()"))
    assert planned(features) == [("new", "counts", None, "n, m")]
    features.apply()
    assert features.changes() == []
    folder.write("a", counting("counts", "n=Int64, o=Int64", "**dict.fromkeys('no', history.count())"))
    assert planned(features) == [
        ("removed", "counts", "m", "Float64"),
        ("changed", "counts", "n", "type Float64 -> Int64"),
        ("new", "counts", "o", "Int64"),
        ("changed", "counts", None, "what it computes"),
    ]
    folder.remove("a")
    assert planned(features) == [("removed", "counts", None, "n, m")]


def test_a_ttl_and_an_expression_are_changes_and_a_comment_is_none(folder: FeatureFolder, features: Features) -> None:
    folder.write("a", counting("counts"))
    features.apply()
    folder.write("a", "# said better\n" + counting("counts"))
    assert features.changes() == []
    folder.write("a", counting("counts", more="ttl=timedelta(days=2),"))
    assert planned(features) == [("changed", "counts", None, "ttl for ever -> 2 days, 0:00:00")]
    features.apply()
    assert features.changes() == []
    folder.write("a", counting("counts", columns="n=history.count().cast('float64') + 1"))
    assert planned(features)[-1] == ("changed", "counts", None, "what it computes")


@pytest.mark.parametrize("edit", ["remove the file", "rename the field", "rename the feature", "change the type"])
def test_what_a_live_bundle_reads_stays(folder: FeatureFolder, features: Features, edit: str) -> None:
    folder.write("a", counting("counts"))
    features.apply()
    if edit == "remove the file":
        folder.remove("a")
    elif edit == "rename the field":
        folder.write("a", counting("counts", "m=Float64", "m=history.count().cast('float64')"))
    elif edit == "rename the feature":
        folder.write("a", counting("tally"))
    else:
        folder.write("a", AS_TEXT)
    before = (features.settings.feast / "registry.db").read_bytes()
    with pytest.raises(
        LiveFeatureError, match=r"kairos:b1 reads counts:n: (removed|changed \(type Float64 -> String\))"
    ):
        features.apply({"kairos:b1": {"counts:n"}})
    assert (features.settings.feast / "registry.db").read_bytes() == before
    features.apply({"kairos:b1": {"others:n"}})
    assert features.changes() == []


def test_a_view_that_no_file_makes_any_more_leaves_the_registry(folder: FeatureFolder, features: Features) -> None:
    folder.write("a", counting("first"))
    folder.write("b", counting("second", "m=Float64", "m=history.count().cast('float64')"))
    features.apply()
    folder.remove("b")
    features.apply()
    assert [view.name for view in features.feast.list_batch_feature_views()] == ["first"]
    assert [source.name for source in features.feast.list_data_sources() if "second" in source.name] == []
    assert "second:m" not in features.feature_names()


def test_a_wrong_file_changes_nothing(folder: FeatureFolder, features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - DAY)])
    folder.write("a", counting("counts"))
    features.compute([NOW])
    features.apply()
    before = (features.settings.feast / "registry.db").read_bytes()
    folder.write("b", "def\n")
    for act in (lambda: features.compute([NOW]), features.apply, features.changes):
        with pytest.raises(FeatureFileError, match=r"b\.py:\d+: not Python"):
            act()
    assert (features.settings.feast / "registry.db").read_bytes() == before


@pytest.mark.parametrize("at", ["apply_feature_service", "commit"])
def test_a_crash_in_mid_apply_leaves_the_old_registry(
    folder: FeatureFolder, features: Features, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    folder.write("a", counting("counts"))
    features.apply()
    file = features.settings.feast / "registry.db"
    before = file.read_bytes()
    folder.write("a", AS_TEXT)

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(features.feast.registry, at, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            features.apply()
    assert file.read_bytes() == before
    features.feast.registry.commit()  # whoever commits next in this process writes no half
    assert ("changed", "counts", "n", "type Float64 -> String") in planned(features)
    assert [path for path in file.parent.iterdir() if "partial" in path.name] == []
    features.apply()
    assert features.changes() == []


def test_a_crash_in_mid_apply_leaves_the_old_registry_in_postgresql(
    tmp_path: Path, folder: FeatureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a", counting("counts"))
    with production(tmp_path / "home") as settings:
        features = Features.open(settings)
        features.apply()
        folder.write("a", AS_TEXT)
        folder.write("b", counting("others", "m=Float64", "m=history.recency.mean()"))
        before = [change for change in features.changes() if change.view != "request_time"]

        def crash(*_: object, **__: object) -> None:
            raise RuntimeError("power cut")

        with monkeypatch.context() as patch:
            patch.setattr(features.feast.registry, "apply_feature_service", crash)
            with pytest.raises(RuntimeError, match="power cut"):
                features.apply()
        assert [change for change in Features.open(settings).changes() if change.view != "request_time"] == before
        features.apply()
        assert Features.open(settings).changes() == []
        folder.remove("b")
        features.apply()
        assert [view.name for view in Features.open(settings).feast.list_batch_feature_views()] == ["counts"]


def _hold(settings: Settings, held: Signal, release: Signal) -> None:
    features = Features.open(settings)
    with one_registry_writer(features.feast, settings):
        held.set()
        release.wait(60)


@contextmanager
def another_process_holds(settings: Settings) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(settings, held, release))
    process.start()
    try:
        assert held.wait(120)
        assert process.pid
        yield process.pid
    finally:
        release.set()
        process.join()


def assert_held(features: Features, message: str) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(FeaturesBusyError, match=message),
        one_registry_writer(features.feast, features.settings, wait_s=0.2),
    ):
        pass
    assert time.monotonic() - begun >= 0.2


def test_who_holds_the_registry_is_named(features: Features) -> None:
    with another_process_holds(features.settings) as pid:
        assert_held(features, rf"registry\.db is held by process {pid} since 20.*one writer at a time")
    with one_registry_writer(features.feast, features.settings, wait_s=0.2):
        pass


def test_who_holds_the_registry_in_postgresql_is_named(tmp_path: Path) -> None:
    with production(tmp_path / "home") as settings:
        features = Features.open(settings)
        with another_process_holds(settings) as pid:
            assert_held(features, rf"registry, project .* is held by process {pid} on .* since 20.*one writer")
        with one_registry_writer(features.feast, settings, wait_s=0.2):
            pass


def test_old_codes_snapshots_go_and_backfilled_moments_are_computed_again(
    folder: FeatureFolder, features: Features, fill: FillLake
) -> None:
    fill([event("u", "a", NOW - 9 * DAY)])
    folder.write("a", counting("counts"))
    features.compute([NOW - 2 * DAY])
    features.compute([NOW - 5 * DAY], backfill=True)
    folder.write("a", AS_TEXT)
    assert {m.moment for m in features.missing([NOW])} == {NOW - 5 * DAY, NOW}
    features.compute([NOW])
    features.apply()
    root = features.settings.features
    assert sorted((root / "counts").glob("*.parquet")) == [snapshot(root, "counts", m) for m in (NOW - 5 * DAY, NOW)]
    assert features.users_at(["u"], NOW - 4 * DAY).loc["u"].n == "1"


def test_what_was_once_the_newest_goes_after_a_month(folder: FeatureFolder, features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - 99 * DAY)])
    folder.write("a", counting("counts"))
    kept = [NOW - 60 * DAY, NOW - 20 * DAY, NOW]
    features.compute([NOW - 80 * DAY, NOW - 40 * DAY, *kept[1:]])
    features.compute(kept[:1], backfill=True)
    assert features.prune([NOW - 80 * DAY, NOW]) == 1
    root = features.settings.features
    assert sorted((root / "counts").glob("*.parquet")) == [
        snapshot(root, "counts", moment) for moment in (NOW - 80 * DAY, *kept)
    ]


def test_one_file_is_all_that_a_feature_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: Features, fill: FillLake
) -> None:
    """Beside the features of the package: batch output, training frame, online store, what a request asks for."""
    fill([event("u", "a", NOW - 2 * DAY), event("u", "b", NOW - DAY), event("v", "a", NOW - DAY)])
    ours = feature_folder(tmp_path / "features", monkeypatch, beside_ours=True)
    ours.write("user_visits", counting("user_visits", "visits=Float64", "visits=history.count().cast('float64')"))
    assert features.compute([NOW])["user_visits"] == 2
    assert features.apply().count("user_visits") == 1
    assert features.users_at(["v", "u", "nobody"], NOW)["visits"].fillna(0).tolist() == [1, 2, 0]
    features.materialize(NOW)
    assert "user_visits:visits" in features.feature_names()
    online = features.online_user("u", features.feature_names(), NOW)
    assert (online["visits"], online["events_7d"]) == (2, 2)
