"""A logged answer, made again from the log and the bundle: the same items in the same order, to the last bit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from feature_repo.clock import Clock
from feature_repo.request_log import LoggedAnswer, LoggedRequest, RequestLog
from feature_repo.schema import CATEGORY, IN_STOCK
from flows.cli import app
from flows.errors import NotLoggedError, ReplayError
from flows.replay_answer import replay_answer
from infra.settings import Settings
from models import bundle, registry
from models.errors import ItemRowsError
from models.items import NUMBERS, ItemTable
from models.recommender import Recommender
from models.vocabulary import ITEM_CATEGORICALS
from services.champion import ChampionWatch, Served
from services.messages import (
    BatchRequest,
    CartRequest,
    RankAnswer,
    RankRequest,
    RecommendAnswer,
    RecommendRequest,
    SimilarRequest,
    Step,
)
from services.online import OnlineFeatures
from services.pipeline import RecommendPipeline
from services.request_log import RequestSample

from .conftest import NOW, USERS, Shop, broken_store


@pytest.fixture(scope="module")
def home(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of our own, all of whose answers are logged."""
    own = shop.copy(tmp_path_factory.mktemp("replay") / "home")
    patient = {"request_log_share": 1.0, "features_within_ms": 10_000.0}  # a busy machine is no lower rung
    return replace(own, settings=own.settings.model_copy(update=patient))


@pytest.fixture(scope="module")
def served(home: Shop) -> Served:
    return Served.load(home.tags[0], home.folder(home.tags[0]))


@pytest.fixture(autouse=True)
def store(home: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """BentoML has one store per process, so this is the shop's; a bundle is loaded once for all replays."""

    def path(tag: str) -> Path:
        if not (folder := home.folder(tag)).exists():
            raise registry.NoChampionError(f"model {tag} is not in BentoML's store")
        return folder

    monkeypatch.setattr(registry, "bundle_path", path)
    monkeypatch.setattr(bundle, "load", _load)


_load = cache(bundle.load)


@asynccontextmanager
async def service(home: Shop, served: Served, rank_within_s: float = 10.0) -> AsyncIterator[RecommendPipeline]:
    """Afterwards every answer is in the log."""
    online, champions = OnlineFeatures(home.settings), ChampionWatch(Path("nowhere"))
    champions.current = served
    requests = RequestSample(home.settings, lambda: 5)
    await online.open()
    yield RecommendPipeline(champions, online, Clock(NOW), requests, rank_within_s=rank_within_s)
    await requests.close()
    await online.close()


def replayed(home: Shop, answer: RecommendAnswer | RankAnswer) -> LoggedRequest:
    """The answer's record, once it is seen to be the answer and to replay exactly."""
    again = replay_answer(answer.request_id, home.settings)
    shown = [(item.item_id, item.score) for item in answer.items if item.score is not None]
    assert again.logged == shown
    assert again.again == shown
    assert again.answer.step == answer.served_by.value
    return again.request


def answer_of(request: LoggedRequest) -> LoggedAnswer:
    assert request.answer is not None
    return request.answer


async def test_every_endpoint_is_logged_and_replays(home: Shop, served: Served) -> None:
    given = ["no-such-item", *(f"i{n}" for n in range(0, 48, 5))]
    async with service(home, served) as pipeline:
        plain = await pipeline.answer(RecommendRequest(user_id="u1", k=5))
        cart = CartRequest(items=["i6", "i10", "no-such-item"], user_id="u2", k=6, exclude=["i2"])
        answers: dict[str, list[RecommendAnswer | RankAnswer]] = {
            "/v1/recommend": [
                plain,
                await pipeline.answer(RecommendRequest(user_id="u1", k=40, novel_only=True, items=["i6"])),
                await pipeline.answer(RecommendRequest(user_id="u3", k=5, categories=["milk"])),
                await pipeline.answer(RecommendRequest(user_id="nobody", k=5)),
            ],
            "/v1/recommend/batch": [
                *(await pipeline.batch(BatchRequest(requests=[RecommendRequest(user_id="u1", k=5)] * 2))).answers
            ],
            "/v1/similar": [
                await pipeline.similar(SimilarRequest(item_id="i6", k=5)),
                await pipeline.similar(SimilarRequest(item_id="no-such-item", k=5)),
            ],
            "/v1/cart": [await pipeline.cart(cart)],
            "/v1/rank": [
                await pipeline.rank(RankRequest(user_id="u1", items=given)),
                await pipeline.rank(RankRequest(items=given)),
                await pipeline.rank(RankRequest(items=["no-such-item"])),
            ],
        }
    for endpoint, of_endpoint in answers.items():
        for answer in of_endpoint:
            told = answer_of(replayed(home, answer))
            assert (told.endpoint, told.variant, told.propensities) == (endpoint, "champion", (1.0,) * len(told.items))
    record = replayed(home, plain)
    assert (record.user_id, record.model, record.applied) == ("u1", served.tag, 5)
    assert NOW <= record.at < NOW + timedelta(minutes=5)
    assert record.moments["user_activity"] == NOW
    record = replayed(home, answers["/v1/cart"][0])
    asked = {"k": 6, "items": ["i6", "i10"], "exclude": ["i2"], "categories": None, "novel_only": False, "rest": True,
             "only": None, "companions": True, "in_stock": True, "rules": None}  # fmt: skip
    assert answer_of(record).asked == asked
    record = replayed(home, answers["/v1/similar"][0])
    assert (record.user_id, record.values) == ("", {})


RULED: dict[str, Any] = {
    "diversity": 0.4,
    "per_category": 2,
    "pin": [{"item_id": "i7", "place": 2}, {"item_id": "no-such-item"}],
    "fair": {"by": "category", "least": 0.5},
}


async def test_answers_under_rules_replay_on_every_rung(home: Shop, served: Served) -> None:
    """Over a table that is gone, in which others are in stock and of other categories."""
    table = refreshed(served.recommender.items, 3)
    table.numbers[5:9, NUMBERS.index(IN_STOCK)] = 0.0
    sold_out = set(served.recommender.vocabulary.items.decode(range(5, 9)))
    now = replace(served, recommender=served.recommender.with_item_table(table))
    async with service(home, now) as pipeline:
        answers = [
            await pipeline.answer(RecommendRequest(user_id="u1", k=8, **RULED)),
            await pipeline.answer(RecommendRequest(user_id="u1", k=40)),
            await pipeline.answer(RecommendRequest(user_id="nobody", k=8, **RULED)),
            await pipeline.cart(CartRequest(items=["i6"], user_id="u2", k=8, **RULED)),
        ]
        with broken_store(home.settings):
            answers += [
                await pipeline.answer(RecommendRequest(user_id="u1", k=8, **RULED)),
                await pipeline.answer(RecommendRequest(user_id="u8", k=8, **RULED)),
            ]
    assert [answer.served_by for answer in answers] == [Step.FULL] * 4 + [Step.CACHED, Step.POPULAR]
    for answer in answers:
        replayed(home, answer)
        assert not sold_out & {item.item_id for item in answer.items}


def _broken(*_: Any, **__: Any) -> None:
    raise RuntimeError("weights are not what they were")


async def test_every_rung_replays(home: Shop, served: Served) -> None:
    async with service(home, served) as pipeline:
        full = await pipeline.answer(RecommendRequest(user_id="u1", k=10))
        others = [item.item_id for item in full.items[:3]]
        with broken_store(home.settings):
            answers = [
                await pipeline.answer(RecommendRequest(user_id="u1", k=5, items=["i6"])),
                await pipeline.rank(RankRequest(user_id="u1", items=["i7", "i9"])),
                await pipeline.answer(RecommendRequest(user_id="u1", k=10)),
                await pipeline.answer(RecommendRequest(user_id="u1", k=40, exclude=others, novel_only=True)),
                await pipeline.answer(RecommendRequest(user_id="u1", k=5, categories=["milk", "games"])),
                await pipeline.answer(RecommendRequest(user_id="u1", k=5, categories=["no such category"])),
                await pipeline.answer(RecommendRequest(user_id="u9", k=5)),
            ]
    steps = [Step.NO_FEATURES] * 2 + [Step.CACHED] * 3 + [Step.POPULAR] * 2
    assert [answer.served_by for answer in answers] == steps
    for answer, step in zip(answers, steps, strict=True):
        last = answer_of(replayed(home, answer)).last
        # A last answer of which nothing fitted was looked at, too.
        assert (last is not None) == (step is Step.CACHED or answer is answers[-2])
        assert replayed(home, answer).values == {}


async def test_what_is_made_up_for_a_model_that_fails_replays(
    home: Shop, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(home, served) as pipeline:
        await pipeline.answer(RecommendRequest(user_id="u1", k=10))
        with monkeypatch.context() as patch:
            patch.setattr(Recommender, "answered", _broken)
            cached = await pipeline.answer(RecommendRequest(user_id="u1", k=30, novel_only=True))
            popular = await pipeline.answer(RecommendRequest(user_id="u2", k=5, novel_only=True))
            given = await pipeline.rank(RankRequest(user_id="u2", items=["i47", "i1"]))
    async with service(home, served, rank_within_s=1e-6) as pipeline:
        slow = await pipeline.cart(CartRequest(items=["i6"], user_id="u1", k=5))
    answers = (cached, popular, given, slow)
    assert [answer.served_by for answer in answers] == [Step.CACHED] + [Step.POPULAR] * 3
    for answer in answers:
        assert replayed(home, answer).values  # that were read are logged, though the answer made no use of them


def refreshed(table: ItemTable, seed: int) -> ItemTable:
    """Other numbers everywhere, some of them unknown, and a third of the items in another category."""
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random(table.numbers.shape) < 0.1, np.nan, table.numbers * rng.uniform(0.1, 9.0))
    numbers[:, NUMBERS.index("first_seen_at")] = table.number("first_seen_at")
    codes = table.codes.copy()
    at = ITEM_CATEGORICALS.index(CATEGORY)
    some = rng.choice(np.arange(1, len(codes)), len(codes) // 3, replace=False)
    codes[some, at] = rng.permutation(codes[some, at])
    return replace(table, codes=codes, numbers=numbers)


async def test_an_answer_over_an_item_table_that_is_gone_replays(home: Shop, served: Served) -> None:
    requests = [
        RecommendRequest(user_id="u1", k=10),
        RecommendRequest(user_id="u2", k=20, categories=["milk", "bread"]),
        RecommendRequest(user_id="nobody", k=10, items=["i5"]),
        RecommendRequest(user_id="nobody", k=10, categories=["games"]),
    ]
    lists: list[list[RecommendAnswer]] = []
    for table in (None, *(refreshed(served.recommender.items, seed) for seed in (4, 3))):
        now = replace(served, recommender=served.recommender.with_item_table(table)) if table else served
        async with service(home, now) as pipeline:
            lists.append([await pipeline.answer(request) for request in requests])
            lists[-1].append(await pipeline.cart(CartRequest(items=["i6"], user_id="u1", categories=["milk"], k=10)))
            with broken_store(home.settings):
                lists[-1].append(await pipeline.answer(RecommendRequest(user_id="u8", k=20, categories=["milk"])))
    for answers in lists:
        for answer in answers:
            replayed(home, answer)
    for at in range(len(lists[0])):  # else it would have proved nothing
        assert len({tuple((item.item_id, item.score) for item in answers[at].items) for answers in lists}) == 3


@pytest.mark.parametrize("together", [2, 3, 16])
async def test_answers_computed_together_replay_one_by_one(home: Shop, served: Served, together: int) -> None:
    def requests(start: int) -> Iterator[RecommendRequest]:
        for n in range(start, start + together):
            items = [f"i{n % 48}"] if n % 3 else []
            yield RecommendRequest(user_id=f"u{n % (USERS + 2)}", k=3 + n, items=items, novel_only=n % 5 == 0)

    async with service(home, served) as pipeline:
        groups = [(await pipeline.batch(BatchRequest(requests=[*requests(start)]))).answers for start in (0, 17)]
        # These wait for one another, as requests of different people do.
        alone = await asyncio.gather(*(pipeline.answer(request) for request in requests(5)))
    for answer in (*groups[0], *groups[1], *alone):
        assert answer.served_by is Step.FULL
        replayed(home, answer)


@pytest.fixture
async def logged(home: Shop, served: Served) -> LoggedRequest:
    async with service(home, served) as pipeline:
        answer = await pipeline.answer(RecommendRequest(user_id="u1", k=3))
    return replayed(home, answer)


def relog(settings: Settings, request: LoggedRequest) -> str:
    """Log it as another request."""
    told = replace(request, request_id=f"{id(request):032x}")
    with closing(RequestLog.of(settings)) as log:
        log.append([told])
    return told.request_id


async def test_a_request_that_is_not_in_the_log(home: Shop, tmp_path: Path) -> None:
    with pytest.raises(NotLoggedError, match=r"KAIROS_REQUEST_LOG_SHARE \(1 here; 1: all\)"):
        replay_answer("f" * 32, home.settings)
    nowhere = Settings(home=tmp_path)
    with pytest.raises(NotLoggedError, match=r"0\.01 here"):
        replay_answer("f" * 32, nowhere)
    assert not nowhere.request_log.exists()
    nowhere.request_log.write_bytes(b"no database, but long enough to be taken for one" * 9)
    with pytest.raises(ReplayError, match="cannot be read"):
        replay_answer("f" * 32, nowhere)


async def test_what_cannot_be_replayed_says_why(home: Shop, logged: LoggedRequest) -> None:
    told, values = answer_of(logged), dict(logged.values)
    del values["user_activity:spend_30d"]
    cases = {
        "bundle that is gone": replace(logged, model="kairos:gone"),
        "before answers were": replace(logged, answer=None),
        r"features are not those of .*spend_30d": replace(logged, values=values),
        "what this code does not know": replace(logged, answer=replace(told, asked={**told.asked, "mood": "good"})),
    }
    for message, request in cases.items():
        with pytest.raises(ReplayError, match=message):
            replay_answer(relog(home.settings, request), home.settings)
    with pytest.raises(ItemRowsError, match="cannot be read"):
        replay_answer(relog(home.settings, replace(logged, item_rows=b"half a file")), home.settings)


async def test_the_command_shows_both_lists(home: Shop, logged: LoggedRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.settings", lambda: home.settings)
    monkeypatch.setattr("flows.present.console.width", 200, raising=False)

    def run(request_id: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["replay", request_id])
        return result.exit_code, result.output

    told = answer_of(logged)
    code, shown = run(logged.request_id)
    assert (code, shown.count(f"Item {told.items[0][1:]}")) == (0, 2)
    assert "to the last bit" in shown
    nearly = replace(told, scores=(told.scores[0] + 1e-6, *told.scores[1:]))
    code, shown = run(relog(home.settings, replace(logged, answer=nearly)))
    assert (code, "The same order, with scores up to 1.0e-06 apart" in shown, "differs" in shown) == (1, True, True)
    turned = replace(told, items=told.items[::-1])
    code, shown = run(relog(home.settings, replace(logged, answer=turned)))
    assert (code, "Other items, or in another order" in shown) == (1, True)
