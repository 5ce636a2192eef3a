"""Features are held to what their files expect of them before they go online."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.types import Array, Float64, String
from typer.testing import CliRunner

from feature_repo import schema as s
from feature_repo.event import Event, to_arrow
from feature_repo.feature import MOMENT, USER, Expect, Feature
from feature_repo.features import discover
from feature_repo.manifest import Manifest
from feature_repo.snapshots import snapshot
from feature_repo.store import Features
from flows.cli import app
from flows.errors import FeatureQualityError
from flows.quality import check
from flows.quality.accepted import Accepted
from flows.quality.check import QualityReport, accept_drift, check_features
from flows.quality.spread import Spread
from infra.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT_AT = datetime(2025, 12, 31, tzinfo=UTC)


def made_up(**expects: Expect) -> Feature:
    """A feature whose snapshots the tests write by hand."""
    fields = {"visits": Float64, "shares": Array(Float64), "label": String}
    return Feature("made_up", USER, "history", lambda table: table, fields, "Made up", expects=expects)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def write(config: Settings, **columns: Sequence[object]) -> None:
    path = snapshot(config.features, "made_up", MOMENT_AT)
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"visits": pa.float64(), "shares": pa.list_(pa.float64()), "label": pa.string()}
    pq.write_table(pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()}), path)
    rows = len(next(iter(columns.values())))
    Manifest("made_up", MOMENT_AT, "", rows, "duckdb", "", NOW, batches=[]).save(path)


def look(config: Settings, feature: Feature, run: str = "run-1") -> QualityReport:
    return check_features(config, MOMENT_AT, run, now=NOW, features=[feature])


def test_what_is_as_expected_is_accepted(config: Settings) -> None:
    write(config, visits=[0, 3, None, 7])
    report = look(config, made_up(visits=Expect(at_least=0, at_most=7, null_share=0.25)))
    assert (report.checked, report.compared) == ({"made_up": 3}, [])
    accepted = Accepted.of(config.accepted_features, "made_up")
    assert accepted is not None
    assert (accepted.run, accepted.moment) == ("run-1", MOMENT_AT)
    assert (
        json.loads((config.accepted_features / "made_up.json").read_text())["columns"]["visits"]["null_share"] == 0.25
    )


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        (Expect(at_least=0), "column visits: smallest value is -2, expected at least 0"),
        (Expect(at_most=5), "column visits: largest value is 9, expected at most 5"),
        (Expect(null_share=0.1), "column visits: share of values that are not null is 0.75, expected at least 0.9"),
    ],
)
def test_what_is_not_is_told_with_value_and_pages(config: Settings, expect: Expect, told: str) -> None:
    write(config, visits=[-2, 1, None, 9])
    with pytest.raises(FeatureQualityError) as refused:
        look(config, made_up(visits=expect))
    message = str(refused.value)
    assert f"feature made_up, {told}" in message
    assert "the online store is as it was" in message
    page = Path(message.rpartition("Data Docs: ")[2])
    assert "run-1" in page.read_text()
    assert Accepted.of(config.accepted_features, "made_up") is None


def test_lists_are_looked_at_value_by_value(config: Settings) -> None:
    write(config, shares=[[0.5, 0.5], [0.2, 1.2], []])
    with pytest.raises(FeatureQualityError, match=r"column shares: largest value is 1\.2, expected at most 1"):
        look(config, made_up(shares=Expect(at_most=1)))
    with pytest.raises(FeatureQualityError, match=r"not null is 0\.8, expected at least 1"):  # the empty list
        look(config, made_up(shares=Expect(null_share=0)))


def test_texts_can_be_held_to_a_share_of_nulls(config: Settings) -> None:
    write(config, label=["a", None])
    with pytest.raises(FeatureQualityError, match="column label"):
        look(config, made_up(label=Expect(null_share=0.4)))


def test_nulls_alone_break_no_range(config: Settings) -> None:
    write(config, visits=[None, None])
    assert look(config, made_up(visits=Expect(at_least=0, at_most=1))).checked == {"made_up": 0}


def test_no_rows_are_fine_unless_there_were_some(config: Settings) -> None:
    feature = made_up(visits=Expect(at_least=0, null_share=0))
    write(config, visits=[])
    assert look(config, feature).checked == {"made_up": 0}
    write(config, visits=[1, 2])
    look(config, feature, "run-2")
    write(config, visits=[])
    with pytest.raises(FeatureQualityError, match="number of rows is 0, expected at least 1, as in the accepted run"):
        look(config, feature, "run-3")


def test_drift_is_measured_against_the_run_accepted_last(config: Settings) -> None:
    feature = made_up(visits=Expect(drift=0.5))
    write(config, visits=range(2_000))
    assert look(config, feature, "run-1").compared == []
    write(config, visits=range(10, 2_010))
    assert look(config, feature, "run-2").compared == ["made_up"]
    write(config, visits=[v * 100 for v in range(2_000)])
    for run in ("run-3", "run-4"):  # the refused run is no measure for the next
        with pytest.raises(FeatureQualityError, match=r"expected at most 0.5 since run run-2.*accept-drift") as refused:
            look(config, feature, run)
        assert refused.value.drift_alone


def test_values_that_are_wrong_are_no_mere_drift(config: Settings) -> None:
    feature = made_up(visits=Expect(drift=0.5, at_most=10_000))
    write(config, visits=range(2_000))
    look(config, feature, "run-1")
    write(config, visits=[v * 100 for v in range(2_000)])
    with pytest.raises(FeatureQualityError, match="drift") as refused:
        look(config, feature, "run-2")
    assert not refused.value.drift_alone


def test_a_drift_that_is_meant_can_be_accepted(config: Settings) -> None:
    feature = made_up(visits=Expect(drift=0.5))
    write(config, visits=range(2_000))
    look(config, feature)
    write(config, visits=[v * 100 for v in range(2_000)])
    assert accept_drift(config, "by hand", features=[feature]) == ["made_up"]
    look(config, feature, "run-2")


def test_nulls_are_part_of_the_distribution(config: Settings) -> None:
    feature = made_up(visits=Expect(drift=0.5))
    write(config, visits=range(2_000))
    look(config, feature)
    write(config, visits=[v if v % 2 else None for v in range(2_000)])
    with pytest.raises(FeatureQualityError, match="drift"):
        look(config, feature, "run-2")


def test_few_values_are_no_drift(config: Settings) -> None:
    feature = made_up(visits=Expect(drift=0.01))
    write(config, visits=range(999))
    look(config, feature)
    write(config, visits=[7] * 999)
    assert look(config, feature).compared == []


def test_the_spread_by_hand() -> None:
    spread = Spread.of(pa.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, None], pa.float64()).to_pandas())
    assert spread.edges == pytest.approx([0, 1.9, 2.8, 3.7, 4.6, 5.5, 6.4, 7.3, 8.2, 9.1])
    assert spread.counts == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert spread.null_share == pytest.approx(1 / 13)
    assert sum(spread.weights) == pytest.approx(1)


def test_an_expectation_of_no_field_is_told(config: Settings) -> None:
    write(config, visits=[1])
    with pytest.raises(FeatureQualityError, match="expects names 'vists', which is none of its fields: visits"):
        look(config, made_up(vists=Expect(at_least=0)))


def bring(config: Settings, name: str, *hours: int) -> None:
    events = [
        Event(event_id=f"e{h}", user_id="u", item_id="i", event_type="purchase", timestamp=NOW + timedelta(hours=h))
        for h in hours
    ]
    (config.lake / "events").mkdir(parents=True, exist_ok=True)
    table = to_arrow(events)
    batch = pa.array([name] * len(events), pa.string())
    table = table.set_column(table.schema.get_field_index(s.BATCH_ID), s.EVENTS.field(s.BATCH_ID), batch)
    pq.write_table(table, config.lake / "events" / f"{name}.parquet")


def test_a_run_that_breaks_its_expectations_does_not_go_online(
    process_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.features import features_flow

    bring(process_home, "first", *range(10))
    features_flow()
    online = Features.open(process_home)
    assert online.online_rows("user_activity", s.USER_ID, ["u"]).loc["u"].purchases_7d == 10
    manifest = Manifest.of(next((process_home.features / "user_activity").glob("*.parquet")))
    assert manifest is not None
    assert manifest.run.startswith("features-")

    bring(process_home, "second", 10)
    strict = {
        name: replace(feature, expects={"purchases_7d": Expect(at_most=10)} if name == "user_activity" else {})
        for name, feature in discover().items()
    }
    monkeypatch.setattr(check, "discover", lambda: strict)
    with pytest.raises(FeatureQualityError, match="feature user_activity, column purchases_7d: largest value is 11"):
        features_flow()
    assert online.online_rows("user_activity", s.USER_ID, ["u"]).loc["u"].purchases_7d == 10
    assert MOMENT in pq.read_schema(snapshot(process_home.features, "user_activity", NOW + timedelta(hours=10))).names


def test_a_drift_can_be_accepted_while_events_come_in(process_home: Settings) -> None:
    bring(process_home, "first", *range(10))
    Features.open(process_home).compute([NOW + timedelta(hours=9)])
    bring(process_home, "second", 10)
    done = CliRunner().invoke(app, ["features", "accept-drift"])
    assert done.exit_code == 0, done.output
    accepted = Accepted.of(process_home.accepted_features, "user_activity")
    assert accepted is not None
    assert accepted.moment == NOW + timedelta(hours=9)


def test_where_one_was_never_computed_none_is_accepted(config: Settings) -> None:
    write(config, visits=range(2_000))
    computed = made_up(visits=Expect(drift=0.5))
    with pytest.raises(FeatureQualityError, match="feature added was never computed: run `kairos features`"):
        accept_drift(config, "by hand", features=[computed, replace(computed, name="added")])
    assert Accepted.of(config.accepted_features, "made_up") is None
