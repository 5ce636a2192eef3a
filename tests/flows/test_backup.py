"""Backups: whole while everything runs, checked before they are restored, and the same home afterwards."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_repo.errors import FeaturesBusyError
from feature_repo.event import Event, to_arrow
from feature_repo.event_log import FEATURES_CONSUMER, INGEST_CONSUMER, Place, open_event_log
from feature_repo.file_lock import file_lock
from feature_repo.lake import Lake
from flows import backup_copy
from flows import restore as bringing
from flows.backup import Backup, back_up
from flows.backup_flow import backup_flow
from flows.backup_manifest import HOME, BackupManifest, backups_in
from flows.compaction import compact
from flows.errors import BackupError, DamagedBackupError, LakeBusyError
from flows.lake_writer import lake_lock
from flows.restore import restore
from infra.keys import Keys, Right
from infra.settings import Settings
from models import registry
from tests.flows.killer import Killed, Killer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LOG_EVENTS = 50


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with something of every kind, small enough to be compared byte by byte."""
    config = Settings(home=tmp_path / "home", backups=tmp_path / "backups")
    monkeypatch.setenv("BENTOML_HOME", str(config.bentoml_home))
    for number in range(3):
        path = config.lake / "events" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(to_arrow([event(number * 10 + n) for n in range(10)]), path)
    compact(config, now=NOW)
    pq.write_table(to_arrow([event(30)]), config.lake / "events" / "3.parquet")
    Lake(config.lake).prepare()
    for name, text in {
        "lake/batches/0.json": "{}",
        "quarantine/0.parquet": "rejected",
        "features/session/20260101T000000.000000Z.parquet": "rows",
        "features/session/20260101T000000.000000Z.json": "{}",
        "accepted_features/session.json": "{}",
        "packed/current": "v1",
        "packed/v1/manifest.json": "{}",
        "feast/registry.db": "a protobuf",
        "source_marks.json": "{}",
        "evaluations/m3.json": "{}",
        "tuning.journal": "{}\n",
        **{f"bentoml/models/kairos/m{n}/weights.bin": f"weights {n}" for n in range(5)},
        "champion.json": '{"tag": "kairos:m3", "since": "2026", "before": [{"tag": "kairos:m1", "since": "2025"}]}',
        # What is made anew:
        **dict.fromkeys(["staging/b/events.parquet", "runs/1/e.ckpt", "bundles/1/bundle.json", "gx/index.html"], "x"),
    }.items():  # fmt: skip
        (config.home / name).parent.mkdir(parents=True, exist_ok=True)
        (config.home / name).write_text(text)
    keys, _ = Keys.load(config.keys_file).add("shop", [Right.EVENTS], None, NOW)
    keys.save(config.keys_file)
    with closing(sqlite3.connect(config.feast / "online.db")) as online, online:
        online.execute("PRAGMA journal_mode=WAL")
        online.execute("CREATE TABLE rows (user_id TEXT)")
        online.execute("INSERT INTO rows VALUES ('u1')")
    with closing(open_event_log(config)) as log:
        log.append([event(n) for n in range(LOG_EVENTS)])
        log.mark(INGEST_CONSUMER, 31, since=Place())
        log.mark(FEATURES_CONSUMER, 40, since=Place())
    return config


def event(number: int) -> Event:
    return Event(
        event_id=f"e{number}", user_id=f"u{number % 7}", item_id="i", event_type="view",
        timestamp=NOW - DAY + timedelta(seconds=number), context={"n": str(number)},
    )  # fmt: skip


def made(config: Settings, now: datetime = NOW, keep: int = 7) -> Backup:
    return back_up(config, config.backups_folder, keep=keep, now=now, wait_s=0)


def files(home: Path) -> dict[str, bytes]:
    """What a home consists of for those who use it, but for its databases."""
    found = {
        str(path.relative_to(home)): path.read_bytes()
        for path in [*home.rglob("*"), *(home / "lake" / "events").glob("*")]
        if path.is_file() and "generations" not in path.parts
    }
    passing = (".lock", ".db", ".db-wal", ".db-shm")
    return {name: content for name, content in found.items() if not name.endswith(passing) or "registry" in name}


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def kept(config: Settings) -> dict[str, bytes]:
    """The files that a backup of `config` should hold."""
    left_out = ("staging/", "runs/", "bundles/", "gx/", *(f"bentoml/models/kairos/m{n}/" for n in (0, 2, 4)))
    return {name: content for name, content in files(config.home).items() if not name.startswith(left_out)}


def test_a_wiped_home_comes_back_the_same(config: Settings) -> None:
    wanted, summary = kept(config), Lake(config.lake).summary()
    databases = {name: tables(config.home / name) for name in ("events.db", "feast/online.db")}
    backup = made(config)
    assert backup.manifest.champion == "kairos:m3"
    assert backup.manifest.left_out == ()
    shutil.rmtree(config.home)
    done = restore(backup.folder, config, now=NOW)
    assert (done.aside, done.moved) == (None, False)
    assert not list(config.home.rglob("*.lock"))
    found = files(config.home)
    assert found.pop("bentoml/models/kairos/latest") == b"m3"
    assert found == wanted
    assert {name: tables(config.home / name) for name in databases} == databases
    assert Lake(config.lake).summary() == summary
    assert registry.champion(config.champion).before == (registry.Reign("kairos:m1", "2025"),)
    with closing(open_event_log(config)) as log:
        assert (log.waiting(INGEST_CONSUMER), log.waiting(FEATURES_CONSUMER)) == (LOG_EVENTS - 31, LOG_EVENTS - 40)
    assert config.keys_file.stat().st_mode & 0o777 == 0o600
    assert backup.folder.stat().st_mode & 0o777 == 0o700
    assert compact(config, now=NOW).rows == 31
    assert Lake(config.lake).summary() == summary


def test_what_is_written_later_does_not_change_the_backup(config: Settings) -> None:
    backup = made(config)
    restore(backup.folder, replace_home(config, "elsewhere"), now=NOW)
    for home in (config, replace_home(config, "elsewhere")):
        with closing(open_event_log(home)) as log:
            log.append([event(n) for n in range(100, 200)])
        home.champion.write_text("{}")
        (home.home / "tuning.journal").open("a").write("more\n")
        pq.write_table(to_arrow([event(90)]), home.lake / "events" / "9.parquet")
    backup.manifest.check(backup.folder)


def replace_home(config: Settings, name: str) -> Settings:
    return config.model_copy(update={"home": config.home.with_name(name)})


def test_another_home_is_told_to_be_moved(config: Settings) -> None:
    other = replace_home(config, "elsewhere")
    done = restore(made(config).folder, other, now=NOW)
    assert done.moved
    assert Lake(other.lake).summary() == Lake(config.lake).summary()


def test_models_go_to_the_store_that_is_in_use(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = made(config)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "store"))
    (tmp_path / "store/models/kairos/m1").mkdir(parents=True)
    (tmp_path / "store/models/kairos/m1/weights.bin").write_text("there already")
    restore(backup.folder, replace_home(config, "elsewhere"), now=NOW)
    found = {path.parent.name: path.read_text() for path in (tmp_path / "store").rglob("weights.bin")}
    assert found == {"m1": "there already", "m3": "weights 3"}


@pytest.mark.parametrize(
    "name", ["lake/events/2.merged.parquet", "events.db", "bentoml/models/kairos/m3/weights.bin", "champion.json"]
)
@pytest.mark.parametrize("harm", ["a bit", "its end", "all of it"])
def test_a_damaged_backup_is_refused_by_the_name_of_the_file(config: Settings, name: str, harm: str) -> None:
    backup = made(config)
    file = backup.folder / HOME / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()  # the file itself may be the live one
    if harm != "all of it":
        file.write_bytes(content if harm == "a bit" else content[:-1])
    before = files(config.home)
    with pytest.raises(DamagedBackupError, match=f"{file} is missing or not what was written"):
        restore(backup.folder, config, now=NOW, force=True)
    assert files(config.home) == before
    assert [path.name for path in config.home.parent.iterdir() if path.name.startswith("home")] == ["home"]


def test_a_damaged_manifest_and_what_is_no_backup(config: Settings, tmp_path: Path) -> None:
    backup = made(config).folder
    (backup / "manifest.json").write_text((backup / "manifest.json").read_text()[:-9])
    with pytest.raises(DamagedBackupError, match=f"{backup}/manifest.json is damaged"):
        restore(backup, config, now=NOW, force=True)
    following = made(config, NOW + DAY)  # is none the worse
    following.manifest.check(following.folder)
    with pytest.raises(BackupError, match=f"{tmp_path / 'nothing'} is no backup"):
        restore(tmp_path / "nothing", config, now=NOW, force=True)


def test_a_home_that_is_not_empty_is_refused_or_moved_aside(config: Settings) -> None:
    backup = made(config)
    (config.home / "champion.json").write_text("of today")
    with pytest.raises(BackupError, match=f"{config.home} is not empty: .*--force"):
        restore(backup.folder, config, now=NOW)
    assert (config.home / "champion.json").read_text() == "of today"
    done = restore(backup.folder, config, now=NOW + DAY, force=True)
    assert done.aside == config.home.with_name("home.before-20260102T000000Z")
    assert (done.aside / "champion.json").read_text() == "of today"
    assert registry.champion(config.champion).tag == "kairos:m3"


@pytest.mark.parametrize(
    ("lock", "who"), [("applier.lock", "a service"), ("lake.lock", "an ingest"), ("training.lock", "a training")]
)
def test_a_home_in_use_is_left_alone(config: Settings, lock: str, who: str) -> None:
    backup = made(config)
    with file_lock(config.home / lock, "it"), pytest.raises(BackupError, match=f"{who}.* is at work in {config.home}"):
        restore(backup.folder, config, now=NOW, force=True)


def test_nobody_begins_while_a_home_is_brought_back(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = made(config)
    lock = config.home / "training.lock"
    with file_lock(lock, "it"):
        pass  # a training that has ended
    bring = bringing._bring

    def tried(*given: Any) -> None:
        with pytest.raises(FeaturesBusyError), file_lock(lock, "it", wait_s=0):
            pass
        bring(*given)
        lock.with_name("tried").touch()

    monkeypatch.setattr(bringing, "_bring", tried)
    done = restore(backup.folder, config, now=NOW, force=True)
    assert done.aside is not None
    assert (done.aside / "tried").exists()


def test_killed_before_any_step_there_is_an_old_home_or_a_whole_new_one(
    config: Settings, killer: Killer, tmp_path: Path
) -> None:
    backup = made(config).folder
    wanted = files(backup / HOME)
    seen = set()
    step = 0
    ended = False
    while not ended:
        step += 7  # a step is quick, and there are hundreds
        home = config.model_copy(update={"home": tmp_path / "work" / f"{step}"})
        home.home.mkdir(parents=True)
        (home.home / "old").write_text("old")
        killer.arm(tmp_path / "work", step)
        try:
            restore(backup, home, now=NOW, force=True)
            ended = True
        except Killed:
            pass
        killer.folder = None
        state = "old" if (home.home / "old").exists() else "new" if home.home.exists() else "none"
        seen.add(state)
        if state == "new":
            assert files(home.home) == wanted, step
        else:
            aside = home.home.with_name(f"{step}.before-20260101T000000Z")
            assert state == "old" or (aside / "old").exists(), step
            restore(backup, home, now=NOW + DAY, force=True)
            assert files(home.home) == wanted, step
    assert step > 100
    assert {"old", "new"} <= seen


def test_a_killed_backup_is_none_and_the_next_one_clears_up(config: Settings, killer: Killer) -> None:
    first = made(config).folder
    for step in (1, 5, 40, 90, 140):
        killer.arm(config.backups_folder, step)
        with pytest.raises(Killed):
            made(config, NOW + DAY)
        assert backups_in(config.backups_folder) == [first]
    second = made(config, NOW + 2 * DAY)
    second.manifest.check(second.folder)
    assert sorted(path.name for path in config.backups_folder.iterdir()) == [
        first.name, second.folder.name, "backup.lock",
    ]  # fmt: skip


def test_the_newest_stay(config: Settings) -> None:
    made_ = [made(config, NOW + n * DAY, keep=2) for n in range(4)]
    assert backups_in(config.backups_folder) == [made_[2].folder, made_[3].folder]
    assert made_[3].removed == (made_[1].folder,)
    for backup in made_[2:]:
        backup.manifest.check(backup.folder)


def test_what_the_backup_before_has_is_not_copied_again_unless_it_is_damaged(
    config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_disk(file: Path, target: Path) -> bool:
        if file.is_relative_to(config.home):
            return False
        os.link(file, target)
        return True

    monkeypatch.setattr(backup_copy, "_linked", another_disk)
    names = ["lake/events/2.merged.parquet", "bentoml/models/kairos/m3/weights.bin"]
    first = made(config).folder / HOME
    assert not any((first / name).samefile(config.home / name) for name in names)
    stat = (first / names[0]).stat()
    content = bytearray((first / names[0]).read_bytes())
    content[100] ^= 1
    (first / names[0]).write_bytes(content)
    os.utime(first / names[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = made(config, NOW + DAY)
    assert (first / names[1]).samefile(second.folder / HOME / names[1])
    assert (second.folder / HOME / names[0]).read_bytes() == (config.home / names[0]).read_bytes()


def test_taken_while_events_arrive(config: Settings) -> None:
    ended = threading.Event()
    sent = []

    def send() -> None:
        with closing(open_event_log(config)) as log:
            while not ended.is_set():
                number = 1_000 + len(sent)
                log.append([event(number)])
                sent.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        backups = [made(config, NOW + n * DAY) for n in range(3)]
    finally:
        ended.set()
        sender.join()
    counts = []
    for backup in backups:
        with closing(sqlite3.connect(f"file:{backup.folder / HOME / 'events.db'}?immutable=1", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            [(count, last)] = database.execute("SELECT count(*), max(position) FROM events").fetchall()
        assert count == last
        counts.append(count)
        backup.manifest.check(backup.folder)
    assert counts == sorted(counts)
    assert counts[-1] > counts[0] >= LOG_EVENTS


def test_a_writer_of_the_lake_is_waited_for(config: Settings) -> None:
    with lake_lock(config), pytest.raises(LakeBusyError):
        made(config)
    assert backups_in(config.backups_folder) == []


def test_what_cannot_be_backed_up(config: Settings) -> None:
    with pytest.raises(BackupError, match=r"lies in the home .* name another folder"):
        back_up(config, config.home / "backups", keep=1, now=NOW)
    with pytest.raises(BackupError, match="does not exist"):
        made(replace_home(config, "nowhere"))
    shutil.rmtree(config.bentoml_home / "models/kairos/m3")
    with pytest.raises(BackupError, match="champion kairos:m3 is not in BentoML's store"):
        made(config)


def test_the_champion_caught_up_is_taken_along(config: Settings) -> None:
    store = config.bentoml_home / "models/kairos"
    pointer = config.home / "champion.json"
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "caught_up": "kairos:m4"}))
    backup = made(config)
    assert (backup.folder / HOME / "bentoml/models/kairos/m4").is_dir()
    assert backup.manifest.champion == "kairos:m3"
    shutil.rmtree(store / "m4")
    assert any("kairos:m4, the champion caught up, is" in said for said in made(config, NOW + DAY).manifest.left_out)


def test_what_is_elsewhere_or_gone_is_named(config: Settings) -> None:
    shutil.rmtree(config.bentoml_home / "models/kairos/m1")
    servers = config.model_copy(
        update={
            "event_stream": "redis", "online_store": "redis", "redis_url": "redis://h", "registry_type": "sql",
            "registry": "postgresql://u:secret@h/d", "event_spool": Path("/var/spool.db"),
        }
    )  # fmt: skip
    told = " ".join(made(servers).manifest.left_out)
    for part in ("kairos:m1", "Redis", "kairos features", "pg_dump", "/var/spool.db"):
        assert part in told
    assert "secret" not in told


def test_the_flow_keeps_what_the_settings_say(config: Settings) -> None:
    own = config.model_copy(update={"backups_kept": 1})
    first, second = (backup_flow(settings=own) for _ in range(2))
    assert backups_in(config.backups_folder) == [second.folder]
    assert second.removed == (first.folder,)
    assert BackupManifest.of(second.folder) == replace(second.manifest)
