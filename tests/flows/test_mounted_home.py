"""A home that is a mount point, as in containers: restored in place, and never half without being known as half."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo.errors import FeaturesBusyError
from feature_repo.event import Event
from feature_repo.event_log import open_event_log
from feature_repo.file_lock import file_lock
from flows.backup import back_up
from flows.backup_manifest import HOME
from flows.doctor import diagnose
from flows.errors import BackupError, DamagedBackupError
from flows.mounted_home import LOCK_FILE, exchange, half_restored, parts_of
from flows.restore import restore
from infra.settings import Settings
from models import registry
from tests.flows.killer import Killed, Killer
from tests.flows.small_disk import mounted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
BEFORE = ".before-20260101T000000Z"
POINTER = '{"tag": "kairos:m3", "since": "2026"}'
OLD = {"champion.json": b"of today", "events.db": b"old", "feast/online.db": b"old", "notes/a": b"old"}
"""What is on the volume: some of it under names that the backup has too."""
ASIDE_THIRD = "feast"
PLACED_SECOND = "bentoml"
"""Parts that only one of the two has."""


@pytest.fixture
def backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a home with a few of its parts."""
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    config = Settings(home=tmp_path / "lost")
    for name, text in {
        "lake/users.parquet": "users", "accepted_features/session.json": "{}", "evaluations/m3.json": "{}",
        "bentoml/models/kairos/m3/weights.bin": "weights", "champion.json": POINTER, "tuning.journal": "{}",
    }.items():  # fmt: skip
        (config.home / name).parent.mkdir(parents=True, exist_ok=True)
        (config.home / name).write_text(text)
    with closing(open_event_log(config)) as log:
        log.append([Event(event_id="e1", user_id="u1", item_id="i1", event_type="view", timestamp=NOW)])
    return back_up(config, tmp_path / "backups", keep=7, now=NOW).folder


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Settings]:
    """A new volume, really mounted."""
    with mounted(tmp_path / "volume", "20m", "a volume") as folder:
        yield Settings(home=folder)


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    """Makes folders that are taken for mount points, where nobody may mount."""
    points: set[Path] = set()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) in points)

    def make(name: str) -> Settings:
        folder = tmp_path / "volumes" / name
        folder.mkdir(parents=True)
        points.add(folder)
        return Settings(home=folder)

    return make


def fill(home: Path) -> None:
    for name, content in OLD.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)


def files(home: Path) -> dict[str, bytes]:
    """What a home consists of, for those who use it."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for part in parts_of(home)
        for path in (part, *part.rglob("*"))
        if path.is_file()
    }


def entries(home: Path) -> set[str]:
    return {path.name for path in home.iterdir() if path.suffix != ".lock"}


def killed_before(part: str, backup: Path, config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore over what is there, up to the move of one part: aside or into its place."""
    rename = Path.rename

    def move(path: Path, target: Path) -> Path:
        if path.name == part:
            raise Killed
        return rename(path, target)

    fill(config.home)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", move)
        with pytest.raises(Killed):
            restore(backup, config, now=NOW, force=True)
    assert half_restored(config.home)


def test_a_new_volume_needs_no_force(backup: Path, volume: Settings) -> None:
    (volume.home / "lost+found").mkdir(mode=0o000)
    done = restore(backup, volume, now=NOW)
    assert (done.aside, done.moved) == (None, True)
    assert files(volume.home) == files(backup / HOME)
    assert entries(volume.home) == entries(backup / HOME) | {"lost+found"}
    with closing(open_event_log(volume)) as log:
        assert [event.event_id for _, event in log.read(0)] == ["e1"]


def test_what_was_on_the_volume_is_moved_aside(backup: Path, volume: Settings, tmp_path: Path) -> None:
    fill(volume.home)
    with pytest.raises(BackupError, match=f"{volume.home} is not empty: .*--force"):
        restore(backup, volume, now=NOW)
    assert files(volume.home) == OLD
    done = restore(backup, volume, now=NOW, force=True)
    assert done.aside == volume.home / BEFORE
    assert files(done.aside) == OLD
    assert files(volume.home) == files(backup / HOME)
    again = back_up(volume, tmp_path / "again", keep=1, now=LATER)
    assert files(again.folder / HOME).keys() == files(backup / HOME).keys()


def test_a_damaged_backup_changes_nothing(backup: Path, volume: Settings) -> None:
    fill(volume.home)
    (backup / HOME / "tuning.journal").unlink()
    with pytest.raises(DamagedBackupError, match=r"tuning\.journal"):
        restore(backup, volume, now=NOW, force=True)
    assert entries(volume.home) == {Path(name).parts[0] for name in OLD}
    assert files(volume.home) == OLD


def test_a_mount_point_in_the_home_is_refused_before_anything_is_moved(
    backup: Path, mount: Callable[[str], Settings]
) -> None:
    config = mount("home")
    mount("home/bentoml")
    fill(config.home)
    with pytest.raises(BackupError, match=f"{config.home}/bentoml is a mount point itself"):
        restore(backup, config, now=NOW, force=True)
    assert files(config.home) == OLD
    assert half_restored(config.home) is None


def test_one_restore_at_a_time(backup: Path, mount: Callable[[str], Settings]) -> None:
    config = mount("home")
    with (
        file_lock(config.home / LOCK_FILE, "it"),
        pytest.raises(FeaturesBusyError, match=f"the restore into {config.home} is held by process"),
    ):
        restore(backup, config, now=NOW)
    assert parts_of(config.home) == []


@pytest.mark.parametrize("step", [1, 9, 40, 80])
def test_killed_while_it_is_built_nothing_has_changed(
    backup: Path, mount: Callable[[str], Settings], killer: Killer, step: int
) -> None:
    config = mount("home")
    fill(config.home)
    killer.arm(config.home, step)
    with pytest.raises(Killed):
        restore(backup, config, now=NOW, force=True)
    assert half_restored(config.home) is None
    assert files(config.home) == OLD
    assert restore(backup, config, now=LATER, force=True).aside == config.home / ".before-20260102T000000Z"
    assert files(config.home) == files(backup / HOME)


def test_killed_before_any_step_of_the_exchange_a_second_run_completes_it(
    backup: Path, mount: Callable[[str], Settings], killer: Killer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = files(backup / HOME)
    seen = set()

    def killed(home: Path, *others: Any) -> Path | None:
        killer.arm(home, step)
        return exchange(home, *others)

    monkeypatch.setattr("flows.restore.exchange", killed)
    for step in itertools.count(1):
        config = mount(f"{step}")
        fill(config.home)
        with suppress(Killed):
            restore(backup, config, now=NOW, force=True)
        ended, killer.folder = killer.folder is not None, None
        if half_restored(config.home):
            seen.add("half")
            assert not config.champion.exists() or files(config.home) in (OLD, wanted), step
            with pytest.raises(BackupError, match="killed half-way"):
                back_up(config, tmp_path / "again", keep=1, now=NOW)
            assert restore(backup, config, now=LATER).aside == config.home / BEFORE
        elif files(config.home) == OLD:
            seen.add("old")
            continue
        assert files(config.home) == wanted, step
        assert files(config.home / BEFORE) == OLD, step
        if ended:
            break
    assert step > 20
    assert seen == {"old", "half"}


def test_a_half_restored_home_is_told(
    backup: Path, mount: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mount("home")
    killed_before(PLACED_SECOND, backup, config, monkeypatch)
    said = [found for found in diagnose(config) if found.part == "home" and "killed half-way" in found.said]
    assert [found.verdict for found in said] == ["error"]
    with pytest.raises(registry.NoChampionError):
        registry.champion(config.champion)


@pytest.mark.parametrize("part", [ASIDE_THIRD, PLACED_SECOND])
def test_what_came_into_a_half_restored_home_is_kept_aside(
    backup: Path, mount: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    config = mount("home")
    killed_before(part, backup, config, monkeypatch)
    assert not (config.home / "events.db").exists()
    (config.home / "events.db").write_bytes(b"of a service that was started too early")
    (config.home / "events.db-wal").write_bytes(b"what it had still to bring there")
    restore(backup, config, now=LATER)
    assert files(config.home) == files(backup / HOME)
    assert files(config.home / BEFORE) == OLD | {
        "events.db.20260102T000000Z": b"of a service that was started too early",
        "events.db-wal": b"what it had still to bring there",
    }


def test_a_database_in_its_place_keeps_what_was_written_since(
    backup: Path, mount: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mount("home")
    killed_before(PLACED_SECOND, backup, config, monkeypatch)
    begun = half_restored(config.home)
    assert begun is not None
    os.rename(begun / HOME / "events.db", config.home / "events.db")
    database = sqlite3.connect(config.home / "events.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE since (n)")
    database.commit()
    assert (config.home / "events.db-wal").stat().st_size > 0
    restore(backup, config, now=LATER)
    assert (config.home / "events.db-wal").stat().st_size > 0
    database.close()
    with closing(sqlite3.connect(config.home / "events.db")) as restored:
        assert restored.execute("SELECT count(*) FROM since").fetchone() == (0,)


def test_another_backup_is_restored_after_the_one_that_was_killed(
    backup: Path, mount: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = Settings(home=tmp_path / "lost")
    (lost.home / "tuning.journal").write_text("more")
    other = back_up(lost, tmp_path / "backups", keep=7, now=LATER).folder
    config = mount("home")
    killed_before(PLACED_SECOND, backup, config, monkeypatch)
    done = restore(other, config, now=LATER, force=True)
    assert (config.home / "tuning.journal").read_text() == "more"
    assert done.aside == config.home / ".before-20260102T000000Z"
    assert files(done.aside) == files(backup / HOME)
    assert files(config.home / BEFORE) == OLD
