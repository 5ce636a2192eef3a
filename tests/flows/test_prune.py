"""What piles up goes; what a rollback, a replay or a publishing may ask for stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bentoml
import pytest
from bentoml._internal.bento import BentoStore
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from feature_repo.request_log import LoggedRequest, RequestLog
from flows.bundles import newest_bundle
from flows.connectors.files import CsvFiles
from flows.errors import LakeBusyError
from flows.ingest import ingest
from flows.lake_writer import lake_lock
from flows.prune import Pruned, prune
from flows.prune_flow import prune_flow
from infra.settings import Settings
from models.registry import TEACHER, NoChampionError, bundle_path, catch_up, crown, publish, rollback

NOW = datetime.now(UTC)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Settings]:
    """With stores of its own: those of the process hold what other tests published."""
    stores = (BentoMLContainer.model_store, BentoMLContainer.bento_store)
    for kind, (name, make) in zip(stores, {"models": ModelStore, "bentos": BentoStore}.items(), strict=True):
        (tmp_path / name).mkdir()
        kind.set(make(tmp_path / name))
    yield Settings(home=tmp_path / "home", max_rejected_share=1)
    for kind in stores:
        kind.reset()


@pytest.fixture
def tags(config: Settings, tmp_path: Path) -> list[str]:
    """Of four published models; the first two were champions, the third answered a logged request."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    tags = [publish(tmp_path / "bundle", {}) for _ in range(4)]
    for tag in tags[:2]:
        crown(config.champion, tag)
    with closing(RequestLog.of(config)) as log:
        log.append([LoggedRequest("r1", "u", NOW, tags[2], 0), LoggedRequest("r2", "u", NOW, "", 0)])
    for tag in tags:
        config.evaluation(tag).parent.mkdir(parents=True, exist_ok=True)
        config.evaluation(tag).write_text("{}")
    return tags


def published() -> set[str]:
    return {str(model.tag) for model in bentoml.models.list()}


def test_models_that_nothing_leads_to_go_when_they_are_old(config: Settings, tags: list[str]) -> None:
    assert prune(config, keep_days=30, now=NOW + timedelta(days=29)) == Pruned()
    assert prune(config, keep_days=30, now=NOW + timedelta(days=31)) == Pruned(models=1)
    assert published() == set(tags[:3])
    assert all(bundle_path(tag).is_dir() for tag in tags[:3])
    assert [config.evaluation(tag).exists() for tag in tags] == [True, True, True, False]


def test_the_champion_caught_up_stays_as_long_as_it_answers(config: Settings, tags: list[str]) -> None:
    catch_up(config.champion, tags[3], of=tags[1])
    assert prune(config, keep_days=30, now=NOW + timedelta(days=31)) == Pruned()
    rollback(config.champion)
    assert prune(config, keep_days=30, now=NOW + timedelta(days=31)).models == 2
    assert published() == {tags[0], tags[2]}


def test_trainings_go_but_for_the_newest_bundle_and_the_unfinished(config: Settings) -> None:
    for name in ("20250101T000000", "20250201T000000", "20250301T000000", "unfinished"):
        for folder in (config.runs, config.bundles):
            (folder / name).mkdir(parents=True)
    done = prune(config, keep_days=1, now=datetime(2025, 2, 3, tzinfo=UTC))
    assert (done.runs, done.bundles) == (2, 2)
    assert {path.name for path in config.runs.iterdir()} == {"20250301T000000", "unfinished"}
    shutil.rmtree(config.bundles / "20250301T000000")
    (config.bundles / "20250101T000000").mkdir()
    assert prune(config, keep_days=1, now=datetime(2026, 1, 1, tzinfo=UTC)).bundles == 0


def test_what_the_next_lesson_begins_with_stays(config: Settings, tmp_path: Path) -> None:
    for name in ("20250101T000000", "20250201T000000", "20250301T000000"):
        (config.bundles / name).mkdir(parents=True)
        (config.bundles / name / "bundle.json").write_text("{}")
    crown(config.champion, publish(config.bundles / "20250201T000000", {TEACHER: "20250101T000000"}))
    assert prune(config, keep_days=1, now=datetime(2026, 1, 1, tzinfo=UTC)).bundles == 1
    assert {path.name for path in config.bundles.iterdir()} == {"20250101T000000", "20250301T000000"}


def test_rejected_rows_go_and_events_stay(config: Settings, tmp_path: Path) -> None:
    source = tmp_path / "e.csv"
    source.write_text("user_id,item_id,behavior,timestamp\nu,i,click,1483271606\nu,i,nothing,1483271606\n")
    report = ingest(CsvFiles(source), config, now=NOW, progress=False)
    assert (report.accepted, report.rejected) == (1, 1)
    lake = {path: path.read_bytes() for path in config.lake.rglob("*") if path.is_file()}
    with lake_lock(config), pytest.raises(LakeBusyError):
        prune(config, keep_days=1, now=NOW)
    assert prune(config, keep_days=1, now=NOW + timedelta(hours=23)).quarantined_batches == 0
    assert prune(config, keep_days=1, now=NOW + timedelta(hours=25)).quarantined_batches == 1
    assert list(config.quarantine.iterdir()) == []
    assert {path: path.read_bytes() for path in config.lake.rglob("*") if path.is_file()} == lake


def test_old_validations_go_with_their_folders(config: Settings) -> None:
    kept, old = (
        [
            config.gx / "gx/uncommitted" / store / "validations/events" / run / f"20250101T000000/{run}.{kind}"
            for store, kind in (("", "json"), ("data_docs/local_site", "html"))
        ]
        for run in ("newer", "older")
    )
    for file in (*kept, *old):
        file.parent.mkdir(parents=True)
        file.write_text("found")
    for file in old:
        os.utime(file, (0, 0))
    (config.gx / "gx/uncommitted/validations/.ge_store_backend_id").write_text("id")
    os.utime(config.gx / "gx/uncommitted/validations/.ge_store_backend_id", (0, 0))
    assert prune(config, keep_days=1, now=NOW) == Pruned(validations=2)
    assert all(file.exists() for file in kept)
    assert not any(file.parents[1].exists() for file in old)
    assert (config.gx / "gx/uncommitted/validations/.ge_store_backend_id").exists()


def test_a_bundle_that_was_never_whole_goes(config: Settings) -> None:
    (config.bundles / ".20250101T000000.new").mkdir(parents=True)
    with pytest.raises(NoChampionError, match="no trained bundle"):
        newest_bundle(config)
    assert prune(config, keep_days=1, now=NOW).bundles == 0  # somebody may be at it
    assert prune(config, keep_days=1, now=NOW + timedelta(days=2)).bundles == 1


def test_nothing_goes_where_the_settings_say_nothing(config: Settings) -> None:
    (config.runs / "20200101T000000").mkdir(parents=True)
    assert prune_flow(settings=config) == Pruned()
    assert (config.runs / "20200101T000000").is_dir()
    own = config.model_copy(update={"keep_days": 30})
    assert prune_flow(settings=own).runs == 1


def test_bentos_go_with_their_models(config: Settings, tags: list[str], tmp_path: Path) -> None:
    (tmp_path / "svc.py").write_text(
        f"import bentoml\n@bentoml.service(name='kairos')\nclass Small:\n"
        f"    model = bentoml.models.BentoModel({json.dumps(tags[3])})\n"
        f"    @bentoml.api\n    def ask(self) -> str:\n        return ''\n"
    )
    bento = bentoml.bentos.build("svc:Small", build_ctx=str(tmp_path), name="kairos")
    assert prune(config, keep_days=30, now=NOW + timedelta(days=31)).bentos == 1
    assert bento.tag not in [one.tag for one in bentoml.list()]
