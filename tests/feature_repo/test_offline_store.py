"""Point-in-time joins by hand: what Feast's own store leaves to chance, fails on, or does not offer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, ValueType
from feast.errors import EntityTimestampInferenceException

from feature_repo.offline_store.errors import EntityFrameError, SourceError
from tests.feature_repo.offline_store_project import USER, asked, at, known, open_store, source, values, view

NAN = float("nan")


def test_every_row_is_kept_in_its_order(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 1, 1), ("a", 3, 3), ("b", 2, 2))), "value")])
    entities = asked(("b", 9), ("a", 2), ("nobody", 9), ("a", 2), (None, 9), ("a", NAN), ("a", 0), ("a", 3))
    got = store.get_historical_features(entities, ["v:value"]).to_arrow()
    assert values(got, "user") == list(entities["user"])
    assert values(got) == [2, 1, None, 1, None, None, None, 3]


def test_order_holds_for_many_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    users = [f"u{i}" for i in range(1000)]
    store.apply([USER, view(source(tmp_path, "v", known(*((u, 0, i) for i, u in enumerate(users)))), "value")])
    wanted = [(i * 7919) % 1000 for i in range(300_000)]
    entities = pd.DataFrame({"user": [users[i] for i in wanted], "event_timestamp": at(1)})
    assert values(store.get_historical_features(entities, ["v:value"]).to_arrow()) == wanted


def test_a_value_holds_for_its_ttl_and_no_microsecond_longer(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 0, 1))), "value", ttl=timedelta(hours=2))])
    entities = pd.DataFrame({"user": "a", "event_timestamp": [at(2), at(2) + pd.Timedelta(microseconds=1)]})
    assert values(store.get_historical_features(entities, ["v:value"]).to_arrow()) == [1, None]


def test_nanoseconds_count(tmp_path: Path) -> None:
    store, tick = open_store(tmp_path), pd.Timedelta(nanoseconds=1)
    rows = pd.DataFrame({"user": "a", "event_timestamp": [at(1), at(1) + tick], "value": [1, 2]})
    store.apply([USER, view(source(tmp_path, "v", rows), "value", ttl=timedelta(hours=1))])
    moments = [at(1) - tick, at(1), at(1) + tick, at(2) + tick, at(2) + 2 * tick]
    entities = pd.DataFrame({"user": "a", "event_timestamp": moments})
    got = store.get_historical_features(entities, ["v:value"]).to_arrow()
    assert values(got) == [None, 1, 2, 2, None]
    assert got["event_timestamp"].to_pandas().to_list() == moments


def test_of_rows_that_tie_the_last_in_the_files_counts(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    for name, value in (("1", 1), ("2", 2)):
        known(("a", 1, value * 10), ("a", 1, value)).to_parquet(tmp_path / "day" / f"{name}.parquet")
    store = open_store(tmp_path)
    folder = source(tmp_path, "v", known(("a", 0, 0)))
    folder.file_options.uri = "day"
    store.apply([USER, view(folder, "value")])
    assert values(store.get_historical_features(asked(("a", 1)), ["v:value"]).to_arrow()) == [2]


def test_the_row_created_last_counts_and_one_without_is_older(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    rows = known(("a", 1, 1), ("a", 1, 2), ("a", 1, 3)).assign(created=[at(5), at(4), pd.NaT])
    store.apply([USER, view(source(tmp_path, "v", rows, created_timestamp_column="created"), "value")])
    assert values(store.get_historical_features(asked(("a", 2)), ["v:value"]).to_arrow()) == [1]
    then = store.get_historical_features(
        asked(("a", 2), ("a", 4), ("a", 6)), ["v:value"], filter_by_created_timestamp=True
    )
    assert values(then.to_arrow()) == [None, 2, 1]


def test_a_join_key_map_may_name_one_key_of_two(tmp_path: Path) -> None:
    shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
    rows = known(("a", 0, 1), ("b", 0, 2)).assign(shop=[1, 2])
    store, visits = open_store(tmp_path), view(source(tmp_path, "visits", rows), "value", entities=[USER, shop])
    friends = visits.with_name("friends").with_join_key_map({"user": "friend"})
    store.apply([USER, shop, visits, FeatureService(name="s", features=[friends])])
    entities = pd.DataFrame({"friend": ["a", "b", "b"], "shop": [1, 1, 2], "event_timestamp": at(1)})
    got = store.get_historical_features(entities, store.get_feature_service("s")).to_arrow()
    assert values(got) == [1, None, 2]


@pytest.mark.parametrize("kind", ["naive", "text", "other zone", "arrow", "sql"])
def test_entity_frames_of_every_kind(tmp_path: Path, kind: str) -> None:
    store = open_store(tmp_path)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 1, 1), ("a", 2, 2))), "value")])
    frame = asked(("a", 1.5), ("b", 1), ("a", 2))
    time = frame["event_timestamp"]
    frame.to_parquet(tmp_path / "rows.parquet")
    entities = {
        "naive": frame.assign(event_timestamp=time.dt.tz_localize(None)),
        "text": frame.assign(event_timestamp=time.astype(str)),
        "other zone": frame.assign(event_timestamp=time.dt.tz_convert("Asia/Tokyo")),
        "arrow": pa.Table.from_pandas(frame),
        "sql": f"SELECT * FROM '{tmp_path}/rows.parquet';",
    }[kind]
    assert values(store.get_historical_features(entities, ["v:value"]).to_arrow()) == [1, None, 2]


def test_another_name_for_the_moment(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 1, 1))), "value")])
    entities = asked(("a", 2)).rename(columns={"event_timestamp": "label_time"})
    assert values(store.get_historical_features(entities, ["v:value"]).to_arrow()) == [1]


def test_batches_are_the_whole_in_parts(tmp_path: Path) -> None:
    store = open_store(tmp_path, memory_limit="200MB", temp_directory=str(tmp_path / "spill"), threads=1)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 1, 1), ("a", 2, 2))), "value")])
    entities = pd.DataFrame({"user": "a", "event_timestamp": [at(1), at(2), at(0)] * 4000})
    job = store.get_historical_features(entities, ["v:value"])
    batches = list(job.to_arrow_batches(rows=2048))
    assert len(batches) > 1
    assert pa.Table.from_batches(batches) == job.to_arrow()


def test_no_rows_asked_for(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 1, 1))), "value")])
    job = store.get_historical_features(asked(("a", 1)).head(0), ["v:value"])
    assert job.to_arrow().num_rows == 0
    assert job.to_arrow_batches().read_all().column_names == ["user", "event_timestamp", "value"]


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.apply([USER, view(source(tmp_path, "v", known(("a", 1, 1))), "value", "absent")])
    right = asked(("a", 1))
    for frame, features, error, words in (
        (right.rename(columns={"user": "who"}), ["v:value"], EntityFrameError, "no join key 'user'; it has who"),
        (right.assign(user=1), ["v:value"], EntityFrameError, "'user' is BIGINT in the entity frame and VARCHAR"),
        (right.assign(value=1), ["v:value"], EntityFrameError, "value, which the entity frame or another view has"),
        (right.drop(columns="event_timestamp"), ["v:value"], EntityTimestampInferenceException, "event_timestamp"),
        (None, ["v:value"], EntityFrameError, "no entity frame"),
        (right, ["v:absent"], SourceError, "no column 'absent'"),
    ):
        with pytest.raises(error, match=words):
            store.get_historical_features(frame, features).to_arrow()
    (tmp_path / "v.parquet").unlink()
    with pytest.raises(SourceError, match=r"cannot read .*v\.parquet"):
        store.get_historical_features(right, ["v:value"]).to_arrow()
