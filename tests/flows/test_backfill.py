"""A year of a feature in one command: which moments, going on after a kill, and a disk that fills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feature_repo.errors import BackfillRangeError, DiskFullError, UnknownFeatureError
from feature_repo.event import to_arrow
from feature_repo.store import Features
from flows.feature_backfill import backfill, moments_of
from infra.settings import Settings
from tests.feature_repo.conftest import event
from tests.flows.small_disk import mounted

FIRST = datetime(2024, 1, 1, 12, tzinfo=UTC)
NEWEST = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = 7 * DAY
FEATURE = "user_taken"
DAYS = 41
"""Of the backfill that is killed after five"""


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return fill(Settings(home=tmp_path / "home", training_cuts=1), users=3)


def fill(config: Settings, users: int) -> Settings:
    """Every user buys an item of its own each day."""
    folder = config.lake / "events"
    folder.mkdir(parents=True)
    days = (NEWEST - FIRST) // DAY + 1
    events = [event(f"u{n}", f"i{n}-{d}", FIRST + d * DAY) for d in range(days) for n in range(users)]
    pq.write_table(to_arrow(events), folder / "0.parquet")
    return config


def snapshots(config: Settings) -> dict[str, int]:
    """Name -> inode: a file that is written again has another."""
    return {path.name: path.stat().st_ino for path in (config.features / FEATURE).glob("*.parquet")}


@pytest.mark.parametrize(
    ("since", "until", "every", "expected"),
    [
        (None, None, 60 * DAY, ["2024-01-24", "2024-03-24", "2024-05-23"]),
        (datetime(2024, 5, 1, tzinfo=UTC), None, 14 * DAY, ["2024-05-01", "2024-05-15", "2024-05-29"]),
        (datetime(2023, 12, 31, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC), DAY, ["2024-01-02", "2024-01-03"]),
    ],
)
def test_moments(since: datetime | None, until: datetime | None, every: timedelta, expected: list[str]) -> None:
    moments = moments_of(FIRST, NEWEST, since, until, every)
    assert [f"{moment:%Y-%m-%d}" for moment in moments] == expected


def test_by_default_it_is_every_monday_of_a_year() -> None:
    moments = moments_of(NEWEST - 800 * DAY, NEWEST, None, None, WEEK)
    assert len(moments) == 53
    assert {(m.weekday(), m.hour, m.minute) for m in moments} == {(0, 0, 0)}
    assert moments_of(NEWEST - 800 * DAY, NEWEST + DAY, None, None, WEEK) == moments  # Sunday sees the same ones


@pytest.mark.parametrize("since", [NEWEST + DAY, NEWEST - DAY / 24])
def test_a_range_without_a_moment_says_where_the_events_are(since: datetime) -> None:
    until = NEWEST + 2 * DAY if since > NEWEST else NEWEST - DAY
    with pytest.raises(BackfillRangeError, match=r"the events are from 2024-01-01 12:00 to 2024-06-01 12:00 UTC"):
        moments_of(FIRST, NEWEST, since, until, DAY)


def test_only_what_is_kept_for_the_past(config: Settings) -> None:
    with pytest.raises(UnknownFeatureError, match=r"no feature 'user_nights'; expected one of .*user_activity"):
        backfill(config, ["user_nights"])
    with pytest.raises(UnknownFeatureError, match=r"'history' has trained_on=False"):
        backfill(config, ["history"])


def test_a_backfill_is_in_the_training_frame_and_done_once(config: Settings) -> None:
    moments = [NEWEST - 28 * DAY, NEWEST - 14 * DAY, NEWEST]
    report = backfill(config, [FEATURE], since=moments[0], every=14 * DAY)
    assert (report.moments, report.written, report.already) == (moments, 3, 0)
    frame = Features.open(config).users_at(["u1"], NEWEST - 10 * DAY)
    assert len(frame.loc["u1"].seen_items) == (moments[1] - FIRST) // DAY + 1
    again = backfill(config, [FEATURE], since=moments[0], every=14 * DAY)
    assert (again.written, again.already) == (0, 3)


def test_after_a_kill_it_goes_on_where_it_stopped(config: Settings, tmp_path: Path) -> None:
    since = NEWEST - (DAYS - 1) * DAY
    code = (
        "from datetime import datetime, timedelta, UTC; from infra.settings import settings\n"
        "from feature_repo.store import Features\n"
        f"moments = [datetime.fromisoformat('{since.isoformat()}') + timedelta(days=d) for d in range({DAYS})]\n"
        f"Features.open(settings()).compute(moments, only=['{FEATURE}'], backfill=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"KAIROS_HOME": str(config.home)})
    deadline = time.monotonic() + 200
    while len(snapshots(config)) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = snapshots(config)
    whole = {name for name in killed if (config.features / FEATURE / name).with_suffix(".json").exists()}
    assert 5 <= len(killed) < DAYS
    (config.features / FEATURE / "20240101T000000.partial").write_text("left by a kill in the midst of a write")

    report = backfill(config, [FEATURE], since=since, every=DAY)
    assert (report.written, report.already) == (DAYS - len(whole), len(whole))
    after = snapshots(config)
    assert {name: after[name] for name in whole} == {name: killed[name] for name in whole}
    assert list(config.features.glob("*/*.partial*")) == []

    unbroken = fill(Settings(home=tmp_path / "unbroken", training_cuts=1), users=3)
    Features.open(unbroken).compute(report.moments, only=[FEATURE], backfill=True)
    for name in snapshots(unbroken):
        broken, whole_run = (pq.read_table(c.features / FEATURE / name) for c in (config, unbroken))
        assert broken.sort_by("user_id").equals(whole_run.sort_by("user_id"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "1m", "a small disk") as folder:
        yield folder


def fill_up(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1024))


def test_a_full_disk_is_named_and_leaves_nothing_half(tmp_path: Path, small_disk: Path) -> None:
    config = fill(Settings(home=tmp_path / "home"), users=200)
    config.features.symlink_to(small_disk)
    features = Features.open(config)
    features.apply()
    registry = (config.feast / "registry.db").read_bytes()
    with pytest.raises(DiskFullError, match=rf"no room to write {config.features}/{FEATURE}/2024.*: .*Make room"):
        backfill(config, [FEATURE], since=FIRST + WEEK, every=DAY)
    assert list(config.features.glob("*/*.partial*")) == []
    assert (config.feast / "registry.db").read_bytes() == registry
    written = snapshots(config)
    assert written
    for name in written:
        assert pq.read_table(config.features / FEATURE / name).num_rows == 200


def test_a_full_disk_leaves_the_registry_as_it_was(tmp_path: Path, small_disk: Path) -> None:
    config = Settings(home=tmp_path / "home", registry=str(small_disk / "registry.db"))
    features = Features.open(config)
    features.apply()
    before = (small_disk / "registry.db").read_bytes()
    filler = small_disk / "filler"
    fill_up(filler)
    with pytest.raises(DiskFullError, match=r"no room to write .*registry\.db: 0\.0 MB are free.*as it was"):
        features.apply()
    assert (small_disk / "registry.db").read_bytes() == before
    filler.unlink()
    features.apply()
    assert features.changes() == []
