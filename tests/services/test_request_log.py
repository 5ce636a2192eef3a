"""Which requests are kept, where, and for how long."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from feature_repo.clock import Clock
from feature_repo.online import OnlineRow
from feature_repo.parity.requests import check_requests
from feature_repo.request_log import LoggedAnswer, LoggedList, LoggedRequest, RequestLog
from infra.settings import Settings
from models.recommender import Ask, Recommendation
from models.rungs import LastAnswer
from models.state import UserState
from services.champion import ChampionWatch, Served
from services.messages import RecommendAnswer, RecommendRequest, Step
from services.metrics import FAILURES
from services.online import OnlineFeatures
from services.pipeline import RecommendPipeline
from services.request_log import WAITING, GivenAnswer, Read, RequestSample
from tests.feature_repo.edited import counting, feature_folder

from .conftest import NOW, Shop, open_shop


@pytest.fixture(scope="module")
def served(shop: Shop) -> Served:
    return Served.load(shop.tags[0], shop.folder(shop.tags[0]))


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, request_log_share=0.5)


@contextmanager
def opened(config: Settings) -> Iterator[RequestLog]:
    with closing(RequestLog.of(config)) as log:
        yield log


def request(n: int = 0, days: float = 0, size: int = 0) -> LoggedRequest:
    # Random bytes would not be packed; distinct numbers hardly are.
    values = {"session:items": [f"{n * size + i:09}" for i in range(size)]}
    return LoggedRequest(f"{n:032x}", "u1", NOW + timedelta(days=days), "m:1", n, values, {"session": NOW})


def ids(config: Settings) -> list[int]:
    with opened(config) as log:
        return [int(r.request_id, 16) for r in log.newest(1_000)]


def keep(sample: RequestSample, served: Served, request_id: str) -> None:
    """An answer from the user's last one, to a request that read two features."""
    row = OnlineRow({"spend_7d": 1.5, "own_items": ["i1"]}, {"user_activity": NOW}, frozenset())
    last = LastAnswer((Recommendation("i7", 2.5, ("als",)), Recommendation("i5", 2.0, ())), frozenset({"i7"}))
    ask = Ask(UserState.empty("u1", NOW.timestamp()), k=1, items=["i2"], exclude={"i7"}, novel_only=True)
    items = [Recommendation("i5", 2.0, ())]
    read = Read(row, sample.position())
    sample.keep(
        GivenAnswer(request_id, NOW, "/v1/recommend", served, ask, Step.CACHED, items, read, candidates=None, last=last)
    )


async def test_a_kept_request_has_what_was_read_and_what_was_answered(config: Settings, served: Served) -> None:
    sample = RequestSample(config, lambda: 7)
    keep(sample, served, "0" * 32)
    await sample.close()
    with opened(config) as log:
        [kept] = log.newest(10)
        assert log.find("0" * 32) == kept
        assert log.find("1" * 32) is None
    asked = {"k": 1, "items": ["i2"], "exclude": ["i7"], "categories": None, "novel_only": True, "rest": False,
             "only": None, "companions": False, "in_stock": False, "rules": None}  # fmt: skip
    last = LoggedList(("i7", "i5"), (2.5, 2.0), ("i7",))
    assert kept.answer == LoggedAnswer("/v1/recommend", "champion", "cached", asked, ("i5",), (2.0,), (1.0,), last)
    assert (kept.user_id, kept.at, kept.model, kept.applied) == ("u1", NOW, served.tag, 7)
    assert list(kept.values) == list(served.features)
    assert {name: value for name, value in kept.values.items() if value is not None} == {
        "user_activity:spend_7d": 1.5,
        "user_items:own_items": ["i1"],
    }
    assert kept.moments == {"user_activity": NOW}


async def test_the_share_is_chosen_by_the_request_id(config: Settings, served: Served) -> None:
    sample = RequestSample(config, lambda: 0)
    for first in "07f8":
        keep(sample, served, first + "f" * 31)
    await sample.close()
    assert sorted(f"{i:032x}"[0] for i in ids(config)) == ["0", "7"]


async def test_a_share_of_zero_keeps_nothing_and_makes_no_file(config: Settings, served: Served) -> None:
    sample = RequestSample(config.model_copy(update={"request_log_share": 0.0}), lambda: 0)
    keep(sample, served, "0" * 32)
    await sample.close()
    assert not config.request_log.exists()


async def test_more_than_can_be_written_is_counted_and_not_kept(config: Settings, served: Served) -> None:
    sample = RequestSample(config, lambda: 0)
    counted = FAILURES.labels("request_log")._value.get()
    for n in range(WAITING + 5):
        keep(sample, served, f"{n:032x}")
    assert FAILURES.labels("request_log")._value.get() == counted + 5
    await sample.close()
    assert len(ids(config)) == WAITING


async def test_a_log_that_cannot_be_written_is_gone_without(
    config: Settings, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    config.request_log.mkdir()
    sample = RequestSample(config, lambda: 0)
    keep(sample, served, "0" * 32)
    await sample.close()
    assert "requests cannot be logged, going on without: IsADirectoryError" in caplog.text


def test_a_reader_gets_all_in_order_with_those_that_come_meanwhile(
    config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_repo.request_log._AT_ONCE", 2)
    nothing_read = LoggedRequest("9" * 32, "", NOW + timedelta(days=4), "m:1", 0)
    with opened(config) as log:
        log.append([request(n, days=n) for n in range(4)])
        reader = log.read(since=NOW + timedelta(days=1))
        assert next(reader).applied == 1
        log.append([nothing_read])
        assert [r.applied for r in reader] == [2, 3, 0]
        assert [r.applied for r in log.newest(2)] == [3, 2]  # the parity check has no use for what read nothing
        assert log.find(nothing_read.request_id) == nothing_read


OLD_TABLE = """
CREATE TABLE requests (
    position INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, user_id TEXT NOT NULL,
    at_us INTEGER NOT NULL, model TEXT NOT NULL, applied INTEGER NOT NULL, row BLOB NOT NULL
) STRICT
"""
OLD_COLUMNS = "request_id, user_id, at_us, model, applied, row"


def test_a_file_from_before_answers_were_logged_is_read_and_written_on(config: Settings) -> None:
    with opened(config) as log:
        log.append([request(1)])
    with closing(sqlite3.connect(config.request_log)) as new:
        rows = new.execute(f"SELECT {OLD_COLUMNS} FROM requests").fetchall()
    config.request_log.unlink()
    with closing(sqlite3.connect(config.request_log)) as old, old:
        old.execute(OLD_TABLE)
        old.executemany(f"INSERT INTO requests ({OLD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    with opened(config) as log:
        log.append([request(2)])
        assert log.find(f"{1:032x}") == request(1)
    with opened(config) as log:
        assert list(log.read()) == [request(1), request(2)]
    with closing(sqlite3.connect(config.request_log)) as old, old:  # by a service that was not updated yet
        old.executemany(f"INSERT INTO requests ({OLD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    assert ids(config) == [1, 2, 1]


def test_only_the_owner_may_read_it(config: Settings) -> None:
    with opened(config) as log:
        log.append([request()])
        files = list(config.home.glob("requests.db*"))
        assert len(files) == 3  # and what SQLite keeps beside it
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_old_requests_go(config: Settings) -> None:
    with opened(config) as log:
        log.append([request(1), request(2, days=20)])
        log.append([request(3, days=31)])
    assert ids(config) == [3, 2]


def test_the_oldest_go_when_the_file_is_full(config: Settings) -> None:
    small = config.model_copy(update={"request_log_mb": 0.2})
    for n in range(40):
        with opened(small) as log:
            log.append([request(n, size=5_000)])
    kept = ids(small)
    assert kept[0] == 39
    assert 1 < len(kept) < 40
    assert small.request_log.stat().st_size < 0.4e6


async def test_what_the_service_logs_equals_the_lake(shop: Shop, tmp_path: Path) -> None:
    own = shop.copy(tmp_path / "home")
    settings = own.settings.model_copy(update={"request_log_share": 1.0})
    served = Served.load(own.tags[0], own.folder(own.tags[0]))
    answers = await asked(settings, served, "u1", "u2", "nobody")
    with opened(settings) as log:
        assert [r.request_id for r in log.newest(10)] == [answer.request_id for answer in reversed(answers)]
    report = check_requests(settings, 10)
    assert report.first == []
    assert report.values["user_activity:spend_30d"] == 3
    assert report.values["time_of_week:intensity"] == 3
    assert report.values["request_time:hour_sin"] == 3
    assert set(served.features) == report.values.keys()


async def test_a_feature_of_one_new_file_reaches_the_ranker_of_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the file is written: it is computed, registered, trained on, and read by the next request."""
    ours = feature_folder(tmp_path / "features", monkeypatch, beside_ours=True)
    ours.write("user_visits", counting("user_visits", "visits=Float64", "visits=history.count().cast('float64')"))
    config = Settings(home=tmp_path / "shop", clock_start=NOW, request_log_share=1.0)
    shop = open_shop(config)
    served = Served.load(shop.tags[0], shop.folder(shop.tags[0]))
    assert "visits" in served.recommender.others
    [answer] = await asked(config, served, "u1")
    with opened(config) as log:
        [kept] = log.newest(10)
    assert answer.served_by is Step.FULL
    events = pq.read_table(config.lake / "events").filter(pc.field(s.USER_ID) == "u1")
    assert kept.values["user_visits:visits"] == events.num_rows > 10


async def asked(config: Settings, served: Served, *users: str) -> list[RecommendAnswer]:
    """What the users are answered; every request of the sample is in the log then."""
    online = OnlineFeatures(config)
    champions = ChampionWatch(Path("nowhere"))
    champions.current = served
    requests = RequestSample(config, lambda: 0)
    pipeline = RecommendPipeline(champions, online, Clock(NOW), requests, rank_within_s=10.0)
    await online.open()
    answers = [await pipeline.answer(RecommendRequest(user_id=user)) for user in users]
    await requests.close()
    await online.close()
    return answers
