"""The packed item table holds what Feast would answer, and versions change whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from feast.types import Array, FeastType, Float64, Int64, String
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.errors import DamagedTableError
from feature_repo.feature import MOMENT
from feature_repo.groups import ITEM_SERVICE
from feature_repo.packed import PackedItems, PackedView
from feature_repo.packed_files import KEPT, PackedFiles
from feature_repo.packed_source import pack
from feature_repo.packed_strings import LINE, read_strings, write_strings
from feature_repo.schema import ITEM_ID
from feature_repo.store import Features

from .conftest import FillLake, event

NOW = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
UNKNOWN = "never seen"
FIELDS: dict[str, FeastType] = {"stock": Float64, "sold": Int64, "colour": String}


@pytest.fixture
def materialised(features: Features, fill: FillLake, catalogue: None) -> Features:
    """Item a sells, with a price; d sells and is not in the catalogue; b and c are in it alone."""
    fill(
        [
            *(event(f"u{n}", "a", NOW - timedelta(days=n, hours=n), price=2.5 + n) for n in range(5)),
            event("u1", "d", NOW - timedelta(days=40)),
        ]
    )
    features.compute([NOW])
    features.apply()
    features.materialize(NOW)
    return features


def assert_equal(packed: PackedItems, items: Sequence[str], theirs: dict[str, list[object]]) -> None:
    """Every value, bit by bit; Feast's null and NaN are one, as in its online store."""
    numbers, texts = packed.read(items)
    columns = dict(zip(packed.number_names, numbers.T, strict=True))
    columns |= dict(zip(packed.text_names, texts.T, strict=True))
    assert set(columns) == set(theirs) - {ITEM_ID, MOMENT}
    for name, values in columns.items():
        for item, ours, feast in zip(items, values, theirs[name], strict=True):
            unknown = feast is None or feast != feast
            same = (ours is None or ours != ours) if unknown else ours == feast
            assert same, (item, name, ours, feast)


def test_every_value_is_feasts_online_and_point_in_time(materialised: Features) -> None:
    packed = pack(materialised, NOW)
    assert packed.ids == ("a", "b", "c", "d")
    items = ["d", UNKNOWN, "c", "a", "b", "a"]
    service = materialised.service(ITEM_SERVICE)
    online = materialised.feast.get_online_features(service, [{ITEM_ID: item} for item in items]).to_dict()
    assert_equal(packed, items, online)
    frame = materialised.items_at(items[:-1], NOW)
    assert_equal(packed, items[:-1], {name: frame[name].tolist() for name in frame.columns})


def test_what_one_reads_of_one_item(materialised: Features) -> None:
    packed = pack(materialised, NOW)
    numbers, texts = packed.read(["a", "d", UNKNOWN])
    purchases = packed.number_names.index("purchases_90d")
    assert numbers[:, purchases].tolist()[:2] == [5.0, 1.0]
    assert math.isnan(numbers[2, purchases])
    assert texts[:, packed.text_names.index("category")].tolist() == ["fruit", None, None]


def view(ttl: timedelta | None = None, **more: FeastType) -> PackedView:
    return PackedView.of("shelf", FIELDS | more, ttl)


def rows(at: datetime, *shelf: tuple[str, float | None, int | None, str | None]) -> dict[str, pa.Table]:
    items, stock, sold, colour = zip(*shelf, strict=True)
    columns = {
        ITEM_ID: pa.array(items, pa.string()),
        MOMENT: pa.array([at] * len(items), pa.timestamp("us", tz="UTC")),
        "stock": pa.array(stock, pa.float64()),
        "sold": pa.array(sold, pa.int64()),
        "colour": pa.array(colour, pa.string()),
    }
    return {"shelf": pa.table(columns)}


def packed_rows(*shelf: tuple[str, float | None, int | None, str | None]) -> PackedItems:
    return PackedItems.empty([view()]).updated(NOW, rows(NOW, *shelf))


Shelf = st.dictionaries(
    st.text(max_size=5),
    st.tuples(st.none() | st.floats(allow_nan=False), st.none() | st.integers(-(2**53), 2**53), st.none() | st.text()),
    min_size=1,
)


@given(first=Shelf, second=Shelf)
def test_any_rows_come_back_as_they_were_and_newer_ones_take_their_place(first: dict, second: dict) -> None:
    packed = packed_rows(*((item, *values) for item, values in first.items()))
    later = packed.updated(NOW, rows(NOW, *((item, *values) for item, values in second.items())))
    for table, expected in ((packed, first), (later, first | second)):
        numbers, texts = table.read(list(expected))
        found = [
            (None if stock != stock else stock, None if sold != sold else int(sold), colour)
            for (stock, sold), (colour,) in zip(numbers.tolist(), texts.tolist(), strict=True)
        ]
        assert found == list(expected.values())


def test_only_what_differs_counts_as_changed() -> None:
    packed = packed_rows(("a", 1.0, 2, "red"), ("b", None, 2, None), ("c", 1.0, 2, "red"))
    asked = rows(NOW, ("a", 1.0 + 1e-12, 2, "red"), ("b", None, 2, None), ("c", 1.0, 2, "blue"), ("d", 1.0, 1, "red"))
    assert packed.changed("shelf", asked["shelf"])[ITEM_ID].to_pylist() == ["c", "d"]


def test_a_view_with_a_list_is_never_known_to_be_unchanged() -> None:
    packed = PackedItems.empty([view(tags=Array(String))]).updated(NOW, rows(NOW, ("a", 1.0, 2, "red")))
    same = rows(NOW, ("a", 1.0, 2, "red"))["shelf"]
    assert packed.changed("shelf", same).num_rows == 1


def test_expired_values_are_unknown_and_soon_to_expire_ones_are_written_again() -> None:
    hour = timedelta(hours=1)
    packed = PackedItems.empty([view(ttl=hour)]).updated(NOW, rows(NOW, ("a", 1.0, 2, "red")))
    assert packed.at(NOW + hour).read(["a"])[1].tolist() == [["red"]]
    numbers, texts = packed.at(NOW + hour + timedelta(microseconds=1)).read(["a"])
    assert np.isnan(numbers).all()
    assert texts.tolist() == [[None]]
    later = {minutes: rows(NOW + timedelta(minutes=minutes), ("a", 1.0, 2, "red"))["shelf"] for minutes in (29, 31)}
    assert [packed.changed("shelf", table).num_rows for table in later.values()] == [0, 1]


def test_a_version_comes_back_as_it_was_written(tmp_path: Path) -> None:
    files = PackedFiles(tmp_path / "packed")
    assert files.current is None
    packed = packed_rows(("a", 1.5, 2, "röt"), ("b", None, None, None))
    version = files.publish(packed)
    assert files.current == version
    loaded = files.load(version)
    assert (loaded.moment, loaded.views, loaded.ids, loaded.values) == (NOW, packed.views, ("a", "b"), packed.values)
    for name in ("numbers", "codes", "moments"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(packed, name))


def test_strings_that_did_not_change_are_the_same_objects(tmp_path: Path) -> None:
    files = PackedFiles(tmp_path / "packed")
    first = packed_rows(("a", 1.5, 2, "red"), ("b", None, None, None))
    loaded = files.load(files.publish(first))
    again = files.load(files.publish(replace(first, moment=NOW + timedelta(minutes=1), numbers=first.numbers + 1)))
    assert again.ids is loaded.ids
    assert all(new is old for new, old in zip(again.values, loaded.values, strict=True))
    grown = files.load(files.publish(first.updated(NOW, rows(NOW, ("c", 1.0, 2, "red")))))
    assert grown.ids == ("a", "b", "c")
    assert grown.values[0] is loaded.values[0]


@pytest.mark.parametrize("count", [0, 1, LINE, 2 * LINE + 1])
def test_strings_come_back_whatever_is_in_them(tmp_path: Path, count: int) -> None:
    odd = (None, "", "a\nb\r\u2028\x85", '"[],', "ä")
    strings = tuple(odd[n % len(odd)] for n in range(count))
    write_strings(tmp_path / "strings", strings)
    assert read_strings(tmp_path / "strings") == strings


def test_old_versions_go_and_the_current_one_never(tmp_path: Path) -> None:
    files = PackedFiles(tmp_path / "packed")
    packed = packed_rows(("a", 1.0, 2, "red"))
    for minute in range(KEPT + 3):
        version = files.publish(replace(packed, moment=NOW + timedelta(minutes=minute)))
    kept = [path.name for path in (tmp_path / "packed").iterdir() if path.is_dir()]
    assert len(kept) == KEPT
    assert version in kept
    assert files.publish(replace(packed, moment=NOW + timedelta(minutes=minute))) == version
    assert files.load(version).ids == ("a",)


@pytest.mark.parametrize("name", ["numbers.npy", "ids.jsonl", "values-0.jsonl", "manifest.json"])
def test_a_damaged_version_is_told_and_not_taken(tmp_path: Path, name: str) -> None:
    files = PackedFiles(tmp_path / "packed")
    version = files.publish(packed_rows(("a", 1.0, 2, "red")))
    file = tmp_path / "packed" / version / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DamagedTableError, match=name if name != "manifest.json" else version):
        files.load(version)
    assert files.newest() is None
    file.unlink()
    with pytest.raises(DamagedTableError):
        files.load(version)
