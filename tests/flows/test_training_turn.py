"""One training at a time, whoever starts it, and the end of one that hangs."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from feature_repo.errors import FeaturesBusyError
from feature_repo.snapshots import snapshot
from flows import train
from flows.features import compute_snapshots, data_timeline
from flows.training_turn import training_turn
from infra.settings import Settings
from tests.flows.shop_days import DAY, FIRST, bring, bring_items, day


def test_a_second_training_says_whom_it_waits_for_and_begins_when_the_first_has_ended(
    process_home: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at_work: list[int] = []
    met: list[int] = []
    began = threading.Event()

    def begin(config: Settings, model: object, cuts: object) -> Mock:
        at_work.append(1)
        met.append(len(at_work))
        began.set()
        time.sleep(0.5)
        return Mock(run=process_home.runs / "of-today")

    def saved(*trained: object) -> Path:
        at_work.pop()
        return process_home.bundles

    monkeypatch.setattr(train, "begin", begin)
    monkeypatch.setattr(train, "_trained", lambda begun, base: (Mock(), Mock()))
    monkeypatch.setattr(train, "save", saved)
    monkeypatch.setattr(train, "data_timeline", Mock())
    both = [threading.Thread(target=train.train_bundle, args=(process_home,), kwargs={"anew": True}) for _ in range(2)]
    with caplog.at_level(logging.WARNING, "kairos.locks"):
        for one in both:
            one.start()
            began.wait(10)
        for one in both:
            one.join()
    assert met == [1, 1]
    [said] = [record.getMessage() for record in caplog.records if record.name == "kairos.locks"]
    assert "the turn to train, or to remove snapshots, is held by process" in said


def test_one_that_takes_too_long_is_not_waited_for(process_home: Settings) -> None:
    with (
        training_turn(process_home),
        pytest.raises(FeaturesBusyError, match="the turn to train, or to remove snapshots, is held by process"),
    ):
        train.train_bundle(process_home, wait_s=0.1)


def test_no_snapshot_goes_while_a_training_may_read_it(process_home: Settings) -> None:
    bring_items(process_home)
    bring(process_home, day(0), FIRST + DAY)
    before = data_timeline(process_home)
    compute_snapshots(process_home, before)
    bring(process_home, day(70), FIRST + 71 * DAY)
    cuts, old = data_timeline(process_home), snapshot(process_home.features, "user_activity", before.newest)
    with training_turn(process_home):
        compute_snapshots(process_home, cuts)
        assert old.exists()
    compute_snapshots(process_home, cuts)
    assert not old.exists()


def test_a_run_that_hangs_ends_at_its_limit_and_the_next_has_its_turn(
    process_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "data_timeline", lambda config: time.sleep(60))
    began = time.monotonic()
    state = train.train_flow.with_options(timeout_seconds=2)(return_state=True)
    assert (state.name, time.monotonic() - began < 30) == ("TimedOut", True)
    with training_turn(process_home, wait_s=0):
        pass
