"""Answers and freshness of a whole installation, and the flow: what is out of order is kept, exported and told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from feature_repo import schema as s
from flows import cli, monitor
from flows.errors import MonitorError
from flows.monitor import monitor_flow
from flows.monitoring import predictions
from flows.monitoring.freshness import look_at_freshness
from flows.monitoring.measured import KEPT, Look, Measured, newest, newly_broken
from flows.monitoring.metrics import FILE
from flows.monitoring.predictions import K, Told, compare, look_at_predictions, sample
from flows.pipeline import PipelineReport
from infra.settings import Settings, settings
from infra.thresholds import thresholds
from models import registry
from models.recommender import Recommendation
from tests.flows.heard import heard
from tests.flows.shop_days import DAY, FIRST, bring, day

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)
STAGES = {"features", "online", "training", "catch-up", "evaluation", "backup", "log"}


@pytest.fixture
def copy(pipeline: PipelineReport, slice_home: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The installation once more, to break; the settings of the process are its."""
    home = tmp_path / "home"
    left_out = shutil.ignore_patterns("bentoml", "runs", "gx", "platform", "monitoring")
    shutil.copytree(slice_home.home, home, ignore=left_out, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAIROS_HOME", str(home))
        settings.cache_clear()
        yield settings()
    settings.cache_clear()


def names(look: Look | None) -> set[str]:
    assert look is not None
    return {measured.name for measured in look.broken}


def forget_users(config: Settings) -> None:
    """Empty the online store."""
    with closing(sqlite3.connect(config.feast / "online.db")) as con, con:
        for (table,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            con.execute(f'DELETE FROM "{table}"')


def test_the_champion_answers_as_at_first_until_its_features_are_gone(copy: Settings) -> None:
    first = look_at_predictions(copy, NOW)
    assert first.measures == ()
    assert "the first" in first.about
    again = look_at_predictions(copy, LATER)
    assert again.said == ""
    assert {measured.name: measured.value for measured in again.measures}["distance: scores"] == 0
    forget_users(copy)
    gone = look_at_predictions(copy, LATER)
    assert names(gone) >= {"users without features", "different items shown"}


def test_the_sample_is_of_active_users_and_always_the_same(copy: Settings) -> None:
    users = sample(copy, 60)
    assert len(set(users)) == 60
    assert users == sample(copy, 60)
    assert users[:20] == sample(copy, 20)


def answers(scores: list[float], source: str) -> list[list[Recommendation]]:
    return [[Recommendation(f"i{n}{place}", score, (source,)) for place in range(K)] for n, score in enumerate(scores)]


def test_answers_are_compared_by_score_source_and_item() -> None:
    limits = thresholds(Settings()).predictions
    users = [f"u{n}" for n in range(100)]
    before = Told.of(users, 2, answers([n / 100 for n in range(100)], "own"))
    assert before.scores == [100] * 10
    same = Told.of(users, 5, answers([n / 100 for n in range(100)], "own"), before.edges)
    assert not any(measured.broken for measured in compare(same, before, limits))
    other = Told.of(users, 20, answers([0.01 * n + 0.5 for n in range(100)], "popularity"), before.edges)
    found = {measured.name: measured for measured in compare(other, before, limits)}
    assert {name for name, measured in found.items() if measured.broken} == {
        "distance: scores", "distance: sources", "users without features",
    }  # fmt: skip
    assert found["distance: sources"].value == pytest.approx(1.0)
    one = Told.of(users, 2, answers([n / 100 for n in range(100)], "own")[:1] * 100, before.edges)
    assert {m.name for m in compare(one, before, limits) if m.broken} >= {
        "different items shown", "users who are shown the busiest item",
    }  # fmt: skip


def test_every_stage_is_measured_and_one_that_stands_still_is_named(copy: Settings, pipeline: PipelineReport) -> None:
    look = look_at_freshness(copy, datetime.now(UTC))
    assert {measured.name for measured in look.measures} == STAGES  # history: nobody waits for newer events
    assert look.said == ""
    not_evaluated_since(datetime.now(UTC) - timedelta(days=7), copy, pipeline.model)
    assert names(look_at_freshness(copy, datetime.now(UTC))) == {"evaluation"}
    registry.crown(copy.champion, pipeline.model)  # back after a rollback: that is not late yet
    assert names(look_at_freshness(copy, datetime.now(UTC))) == set()


def test_newer_events_make_the_features_late_and_then_the_shop(copy: Settings) -> None:
    """Events of now: the data are history no longer."""
    moment = datetime.now(UTC)
    rows = {s.USER_ID: "1", s.ITEM_ID: "1", s.EVENT_TYPE: s.PURCHASE, s.TIMESTAMP: pd.Timestamp(moment).as_unit("us")}
    bring(copy, pd.DataFrame([rows | {s.EVENT_ID: "new"}]), moment)
    assert names(look_at_freshness(copy, moment)) == {"features", "online", "training", "catch-up"}
    late = look_at_freshness(copy, moment + timedelta(hours=30))
    assert "events" in names(late)


def test_a_delivery_that_ends_early_is_no_history(tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "home", backups=tmp_path / "backups")
    bring(config, day(0), FIRST + 30 * DAY)
    assert "history" in look_at_freshness(config, FIRST + 30 * DAY).about  # it was old when it came, as all there is
    bring(config, day(30), FIRST + 31 * DAY)
    bring(config, day(31), FIRST + 60 * DAY)
    found = look_at_freshness(config, FIRST + 60 * DAY)
    assert "history" not in found.about
    assert "events" in names(found)


@pytest.mark.parametrize("pointer", ["[]", "{", '{"tag": "kairos:gone"}'])
def test_a_damaged_pointer_is_a_training_that_never_was(pointer: str, tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "home", backups=tmp_path / "backups")
    bring(config, day(0), FIRST)
    config.champion.parent.mkdir(parents=True, exist_ok=True)
    config.champion.write_text(pointer)
    values = {m.name: m.value for m in look_at_freshness(config, FIRST + 3 * DAY).measures}
    assert values["training"] == 3 * 86_400
    assert values.keys() >= {"features", "online", "backup", "log"}


def test_features_that_never_were_are_behind_since_the_history_came(tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "home", backups=tmp_path / "backups")
    bring(config, day(0), FIRST + 3_000 * DAY)
    values = {m.name: m.value for m in look_at_freshness(config, FIRST + 3_007 * DAY).measures}
    assert values["features"] == values["online"] == 7 * 86_400


def test_a_champion_that_is_back_is_compared_with_its_first_answers_since_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Settings(home=tmp_path / "home")
    users = [f"u{n}" for n in range(100)]
    monkeypatch.setattr(predictions, "sample", lambda *_: users)
    monkeypatch.setattr(predictions, "ask", lambda *_: Told.of(users, 0, answers([0.5] * 100, "own")))
    for since in (NOW, LATER):
        config.champion.parent.mkdir(parents=True, exist_ok=True)
        config.champion.write_text(json.dumps({"tag": "kairos:a", "since": since.isoformat(), "before": []}))
        assert look_at_predictions(config, LATER).measures == ()
        assert look_at_predictions(config, LATER).measures != ()


def test_an_empty_installation_has_nothing_to_look_at_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Settings(home=tmp_path / "home", backups=tmp_path / "backups")
    monkeypatch.setattr(monitor, "settings", lambda: config)
    monkeypatch.setattr(monitor, "_look", lambda part, now: monitor.look_at(part, config, now))
    [look] = monitor_flow.fn()
    assert (look.part, look.about) == ("freshness", "no event was ever ingested")
    assert 'kairos_monitor_time_seconds{part="freshness"}' in (config.monitoring / FILE).read_text()


def test_the_flow_keeps_exports_and_tells_what_is_out_of_order(copy: Settings, pipeline: PipelineReport) -> None:
    done = CliRunner().invoke(cli.app, ["monitor"])
    assert done.exit_code == 0, done.output
    not_evaluated_since(datetime.now(UTC) - timedelta(days=7), copy, pipeline.model)
    begun = datetime.now(UTC)
    done = CliRunner().invoke(cli.app, ["monitor"])
    assert done.exit_code == 1
    assert "freshness: seconds behind" in done.output
    kept = newest(copy.monitoring, "freshness")
    assert names(kept) == {"evaluation"}
    exported = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families((copy.monitoring / FILE).read_text())
        for sample in family.samples
    }
    assert exported["kairos_monitor_broken", "freshness"] == 1
    assert exported["kairos_monitor_broken", "predictions"] == 0
    assert exported["kairos_monitor_value", "evaluation", "freshness"] == pytest.approx(7 * 86_400, rel=0.01)
    assert exported["kairos_monitor_high", "evaluation", "freshness"] == 2 * 86_400
    assert "evaluation is 6.048e+05" in heard("stage-behind", begun)


def not_evaluated_since(moment: datetime, config: Settings, tag: str) -> None:
    """As if the champion had come into service then, and was evaluated."""
    held = json.loads(config.champion.read_text())
    config.champion.write_text(json.dumps({**held, "tag": tag, "since": moment.isoformat()}))
    os.utime(config.evaluation(tag), (moment.timestamp(), moment.timestamp()))


def test_what_cannot_be_looked_at_is_told_and_the_rest_is_looked_at(copy: Settings) -> None:
    (copy.feast / "registry.db").unlink()
    with pytest.raises(MonitorError, match="predictions: "):
        monitor_flow()
    assert newest(copy.monitoring, "data") is not None
    assert newest(copy.monitoring, "predictions") is None


def test_an_alarm_comes_once_and_again_after_it_was_over() -> None:
    def look(*broken: str) -> Look:
        measures = tuple(Measured(name, 2.0 if name in broken else 0.0, high=1.0) for name in "ab")
        return Look("freshness", NOW, "", measures)

    assert [measured.name for measured in newly_broken(look("a"), None)] == ["a"]
    assert newly_broken(look("a"), look("a")) == []
    assert [measured.name for measured in newly_broken(look("a", "b"), look("a"))] == ["b"]
    assert [measured.name for measured in newly_broken(look("a"), look())] == ["a"]


def test_looks_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    for n in range(KEPT + 3):
        Look("data", NOW + timedelta(minutes=n), f"look {n}", (Measured("m", 1.0, high=0.5),)).save(tmp_path)
    assert len(list((tmp_path / "data").iterdir())) == KEPT
    assert newest(tmp_path, "data") == Look(
        "data", NOW + timedelta(minutes=KEPT + 2), f"look {KEPT + 2}", (Measured("m", 1.0, high=0.5),)
    )
    assert newest(tmp_path, "outcomes") is None


def test_every_part_has_an_alarm() -> None:
    assert set(monitor.ALARMS) == set(monitor.PARTS)
