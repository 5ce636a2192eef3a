"""The request's way and its ladder, over a real bundle and a real Feast store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo.clock import Clock
from models.recommender import Answered, Ask, Recommender
from models.state import UserState
from services.champion import ChampionWatch, Served
from services.errors import NoModelError, StoreAwayError
from services.ladder import RANKED_AT_ONCE
from services.messages import (
    BatchRequest,
    CartRequest,
    ExplainRequest,
    Pin,
    ProfileAnswer,
    ProfileRequest,
    RankRequest,
    RecommendAnswer,
    RecommendRequest,
    SimilarRequest,
    Step,
)
from services.online import OnlineFeatures
from services.pipeline import RecommendPipeline
from services.profiles import Profiles

from .conftest import NOW, Shop, broken_store


@pytest.fixture(scope="module")
def served(shop: Shop) -> Served:
    return Served.load(shop.tags[0], shop.folder(shop.tags[0]))


@pytest.fixture
async def pipeline(shop: Shop, served: Served) -> AsyncIterator[RecommendPipeline]:
    # A busy machine is no lower rung.
    online = OnlineFeatures(shop.settings.model_copy(update={"features_within_ms": 10_000.0}))
    await online.open()
    yield _pipeline(served, online)
    await online.close()


def _pipeline(served: Served | None, online: OnlineFeatures, rank_within_s: float = 10.0) -> RecommendPipeline:
    champions = ChampionWatch(Path("nowhere"))
    champions.current = served
    return RecommendPipeline(champions, online, Clock(NOW), rank_within_s=rank_within_s)


def _ids(answer: RecommendAnswer) -> list[str]:
    return [item.item_id for item in answer.items]


async def test_a_known_user_gets_what_suits_them(pipeline: RecommendPipeline, served: Served) -> None:
    answer = await pipeline.answer(RecommendRequest(user_id="u1", k=10))
    assert answer.served_by is Step.FULL
    assert answer.user_known
    assert len(set(_ids(answer))) == 10
    assert answer.model_version == served.version
    assert answer.items[0].name == f"Item {answer.items[0].item_id[1:]}"
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)


async def test_an_unknown_user_gets_popular_items(pipeline: RecommendPipeline, served: Served) -> None:
    answer = await pipeline.answer(RecommendRequest(user_id="nobody", k=5))
    assert not answer.user_known
    assert _ids(answer) == [item.item_id for item in served.recommender.popular(5)]


async def test_the_cart_counts_and_unknown_items_are_named(pipeline: RecommendPipeline) -> None:
    plain = await pipeline.answer(RecommendRequest(user_id="nobody", k=5))
    cart = RecommendRequest(user_id="nobody", k=5, page="cart", items=["i6", "i10", "no-such-item"])
    answer = await pipeline.answer(cart)
    assert answer.unknown_items == ["no-such-item"]
    assert _ids(answer) != _ids(plain)
    assert not {"i6", "i10"} & set(_ids(answer))


async def test_filters(pipeline: RecommendPipeline) -> None:
    first = _ids(await pipeline.answer(RecommendRequest(user_id="u1", k=3)))
    without = await pipeline.answer(RecommendRequest(user_id="u1", k=10, exclude=first))
    assert not set(first) & set(_ids(without))
    milk = await pipeline.answer(RecommendRequest(user_id="u1", k=5, categories=["milk"]))
    assert {int(item[1:]) % 4 for item in _ids(milk)} == {1}
    nothing = await pipeline.answer(RecommendRequest(user_id="u1", k=5, categories=["no such category"]))
    assert nothing.items == []


async def test_novel_only_leaves_out_what_was_bought(pipeline: RecommendPipeline, shop: Shop) -> None:
    answer = await pipeline.answer(RecommendRequest(user_id="u1", k=20, novel_only=True))
    row = await OnlineFeatures(shop.settings).row("u1", ["user_items:own_items"], NOW, within_s=10)
    assert answer.items
    assert not set(row.values["own_items"]) & set(_ids(answer))


async def test_the_ladder(served: Served, shop: Shop, tmp_path: Path) -> None:
    online = OnlineFeatures(shop.settings.model_copy(update={"home": tmp_path}))  # a store with nothing in it
    pipeline = _pipeline(served, online)
    answer = await pipeline.answer(RecommendRequest(user_id="u1", k=5))
    assert (answer.served_by, len(answer.items)) == (Step.POPULAR, 5)
    assert not online.is_up
    with_cart = await pipeline.answer(RecommendRequest(user_id="u1", k=5, items=["i6"]))
    assert (with_cart.served_by, len(with_cart.items)) == (Step.NO_FEATURES, 5)
    only_unknown = await pipeline.answer(RecommendRequest(user_id="u1", k=5, items=["no-such-item"]))
    assert only_unknown.served_by is Step.POPULAR


class OddError(Exception):
    """As ONNX Runtime's, which have no base but this."""


def _broken(*_: Any, **__: Any) -> None:
    raise OddError("weights are not what they were")


async def test_a_model_that_fails_is_made_up_for(served: Served, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline(replace(served), OnlineFeatures(shop.settings))
    kept = await pipeline.answer(RecommendRequest(user_id="u1", k=10))
    monkeypatch.setattr(Recommender, "answered", _broken)
    answer = await pipeline.answer(RecommendRequest(user_id="u2", k=5))
    assert (answer.served_by, len(answer.items)) == (Step.POPULAR, 5)
    answer = await pipeline.answer(RecommendRequest(user_id="u1", k=5))
    assert (answer.served_by, answer.items) == (Step.CACHED, kept.items[:5])


async def test_a_row_that_is_none_costs_one_user_alone(
    pipeline: RecommendPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_row = UserState.from_row

    def picky(user: str, row: Any, now: float) -> UserState:
        return from_row(user, {**row, "own_items": 7} if user == "u1" else row, now)

    monkeypatch.setattr(UserState, "from_row", picky)
    assert (await pipeline.answer(RecommendRequest(user_id="u1", k=3))).served_by is Step.POPULAR
    assert (await pipeline.answer(RecommendRequest(user_id="u2", k=3))).served_by is Step.FULL


async def test_a_model_that_is_slow_is_not_waited_for(served: Served, shop: Shop) -> None:
    pipeline = _pipeline(served, OnlineFeatures(shop.settings), rank_within_s=1e-6)
    answer = await pipeline.answer(RecommendRequest(user_id="u1", k=5))
    assert (answer.served_by, len(answer.items)) == (Step.POPULAR, 5)


async def test_the_last_answer_is_filtered_and_filled_up(pipeline: RecommendPipeline, shop: Shop) -> None:
    full = _ids(await pipeline.answer(RecommendRequest(user_id="u1", k=10)))
    with broken_store(shop.settings):
        plain = await pipeline.answer(RecommendRequest(user_id="u1", k=10))
        assert (plain.served_by, _ids(plain)) == (Step.CACHED, full)
        without = await pipeline.answer(RecommendRequest(user_id="u1", k=40, exclude=full[:3]))
        assert without.served_by is Step.CACHED
        assert not set(full[:3]) & set(_ids(without))
        assert _ids(without)[:7] == full[3:]
        assert len(set(_ids(without))) == 40
        scores = [item.score for item in without.items]
        assert scores == sorted(scores, reverse=True)
        milk = await pipeline.answer(RecommendRequest(user_id="u1", k=5, categories=["milk"]))
        assert {int(item[1:]) % 4 for item in _ids(milk)} == {1}
        novel = await pipeline.answer(RecommendRequest(user_id="u1", k=40, novel_only=True))
        assert not set(full[:3]) & set(_ids(novel))
        with_cart = await pipeline.answer(RecommendRequest(user_id="u1", k=5, items=[full[0]]))
        assert with_cart.served_by is Step.NO_FEATURES
        assert full[0] not in _ids(with_cart)


async def test_a_batch_is_answered_in_order(pipeline: RecommendPipeline) -> None:
    requests = [RecommendRequest(user_id=f"u{n}", k=n + 1, items=["nothing"] * (n % 2)) for n in range(12)]
    answers = (await pipeline.batch(BatchRequest(requests=requests))).answers
    assert [len(answer.items) for answer in answers] == [request.k for request in requests]
    assert [answer.unknown_items for answer in answers] == [request.items for request in requests]
    alone = await pipeline.answer(requests[5])
    assert _ids(answers[5]) == _ids(alone)


async def test_requests_of_others_get_their_turn_within_a_batch(
    pipeline: RecommendPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[list[str]] = []
    answered, both_wait = Recommender.answered, threading.Event()

    def watched(self: Recommender, asks: Sequence[Ask], *args: Any, **named: Any) -> list[Answered]:
        together.append([ask.state.user_id for ask in asks])
        assert both_wait.wait(10)
        return answered(self, asks, *args, **named)

    monkeypatch.setattr(Recommender, "answered", watched)
    requests = [RecommendRequest(user_id="u1", k=1) for _ in range(40)]
    batch = asyncio.create_task(pipeline.batch(BatchRequest(requests=requests)))
    while not together:
        await asyncio.sleep(0.001)
    other = asyncio.create_task(pipeline.answer(RecommendRequest(user_id="u2", k=1)))
    while not pipeline._ladder._ranking._waiting:
        await asyncio.sleep(0.001)
    both_wait.set()
    await other
    assert len((await batch).answers) == 40
    assert max(map(len, together)) <= RANKED_AT_ONCE + 1
    [turn] = [n for n, users in enumerate(together) if "u2" in users]
    assert turn < len(together) - 1


async def test_similar_items_and_companions_of_a_cart(pipeline: RecommendPipeline) -> None:
    similar = await pipeline.similar(SimilarRequest(item_id="i6", k=5))
    assert (similar.served_by, similar.user_known, len(similar.items)) == (Step.FULL, False, 5)
    assert "i6" not in _ids(similar)
    assert "neighbours" in similar.items[0].sources
    other = await pipeline.similar(SimilarRequest(item_id="i7", k=5))
    assert _ids(other) != _ids(similar)
    cart = await pipeline.cart(CartRequest(items=["i6", "i10", "no-such-item"], user_id="u1", k=5))
    assert cart.user_known
    assert cart.unknown_items == ["no-such-item"]
    assert not {"i6", "i10"} & set(_ids(cart))
    nobody_knows = await pipeline.similar(SimilarRequest(item_id="no-such-item", user_id="u1", k=5))
    assert (nobody_knows.unknown_items, len(nobody_knows.items)) == (["no-such-item"], 5)


async def test_rank_orders_all_that_was_given(pipeline: RecommendPipeline, shop: Shop) -> None:
    given = ["no-such-item", *(f"i{n}" for n in range(48)), "i3", "neither"]
    answer = await pipeline.rank(RankRequest(user_id="u1", items=given))
    ids = [item.item_id for item in answer.items]
    assert sorted(ids) == sorted(set(given))
    assert ids[-2:] == ["no-such-item", "neither"] == answer.unknown_items
    assert [item.score for item in answer.items[-2:]] == [None, None]
    scores = [item.score or 0.0 for item in answer.items[:-2]]
    assert scores == sorted(scores, reverse=True)
    best = _ids(await pipeline.answer(RecommendRequest(user_id="u1", k=1)))
    assert ids[0] == best[0]
    nothing = await pipeline.rank(RankRequest(items=["neither"]))
    assert [item.score for item in nothing.items] == [None]
    with broken_store(shop.settings):
        assert (await pipeline.rank(RankRequest(user_id="u1", items=given))).served_by is Step.NO_FEATURES


async def test_rank_goes_on_without_the_model(pipeline: RecommendPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recommender, "answered", _broken)
    answer = await pipeline.rank(RankRequest(user_id="u1", items=["i47", "i1"]))
    assert (answer.served_by, [item.item_id for item in answer.items]) == (Step.POPULAR, ["i1", "i47"])


async def test_why(pipeline: RecommendPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await pipeline.explain(ExplainRequest(user_id="u1", item_id="i1"))
    assert (answer.served_by, answer.item_known, answer.name) == (Step.FULL, True, "Item 1")
    assert {"own", "popularity"} <= {reason.source for reason in answer.sources}
    assert [reason.rank for reason in answer.sources] == sorted(reason.rank for reason in answer.sources)
    assert 0 < len(answer.because) <= 10
    assert all(reason.at <= NOW for reason in answer.because)
    assert len({(reason.item_id, reason.source) for reason in answer.because}) == len(answer.because)
    assert answer.features
    unknown = await pipeline.explain(ExplainRequest(user_id="nobody", item_id="no-such-item"))
    assert (unknown.item_known, unknown.sources, unknown.because, unknown.features) == (False, [], [], [])
    monkeypatch.setattr(Recommender, "explain", _broken)
    assert (await pipeline.explain(ExplainRequest(user_id="u1", item_id="i1"))).served_by is Step.POPULAR


async def test_a_profile_tells_each_views_moment(served: Served, shop: Shop) -> None:
    online = OnlineFeatures(shop.settings)
    champions = ChampionWatch(Path("nowhere"))
    profiles = Profiles(champions, online, Clock(NOW))
    with pytest.raises(NoModelError):
        await profiles.answer(ProfileRequest(user_id="u1"))
    champions.current = served
    await online.open()
    answer = await profiles.answer(ProfileRequest(user_id="u1"))
    views = {view.view: view for view in answer.views}
    assert answer.user_known
    assert {f"{view.view}:{name}" for view in answer.views for name in view.values} == set(served.features)
    assert views["session"].at is not None
    assert not views["session"].expired
    assert views["session"].values["session_items"]
    ProfileAnswer.model_validate_json(answer.model_dump_json())
    assert not (await profiles.answer(ProfileRequest(user_id="nobody"))).user_known
    later = Profiles(champions, online, Clock(NOW + timedelta(days=3_000)))
    assert any(view.expired for view in (await later.answer(ProfileRequest(user_id="u1"))).views)
    with broken_store(shop.settings), pytest.raises(StoreAwayError):
        await profiles.answer(ProfileRequest(user_id="u1"))
    await online.close()


async def test_without_a_model_there_is_no_answer(shop: Shop) -> None:
    with pytest.raises(NoModelError, match="kairos train"):
        await _pipeline(None, OnlineFeatures(shop.settings)).answer(RecommendRequest(user_id="u1"))


async def test_rules_shape_the_answer_of_each_endpoint(pipeline: RecommendPipeline) -> None:
    """Items go by category in turns: i7 is one of the fourth, and each category may have two of the eight places."""
    plain = await pipeline.answer(RecommendRequest(user_id="u1", k=8))
    nothing = {"diversity": 0.0, "pin": [], "fair": None, "per_category": None}
    same = await pipeline.answer(RecommendRequest(user_id="u1", k=8, **nothing))
    assert _ids(same) == _ids(plain)
    # A score's last bit hangs on where its operands lie in memory.
    assert [item.score for item in same.items] == pytest.approx([item.score for item in plain.items], rel=1e-5)
    rules: Any = {"per_category": 2, "pin": [{"item_id": "i7", "place": 3}, {"item_id": "ghost", "place": 1}]}
    answers = [
        await pipeline.answer(RecommendRequest(user_id="u1", k=8, **rules)),
        await pipeline.similar(SimilarRequest(item_id="i5", user_id="u1", k=8, **rules)),
        await pipeline.cart(CartRequest(items=["i5"], k=8, **rules)),
    ]
    for answer in answers:
        categories = [int(item[1:]) % 4 for item in _ids(answer)]
        assert sorted(categories) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert len(set(_ids(answer))) == 8
        assert _ids(answer)[2] == "i7"
        assert answer.items[2].sources[0] == "pinned"
        assert answer.unknown_items == ["ghost"]
        assert all(item.sources for item in answer.items)
    excluded = await pipeline.answer(RecommendRequest(user_id="u1", k=8, exclude=["i7"], **rules))
    assert "i7" not in _ids(excluded)


async def test_a_ruled_answer_is_not_what_the_next_one_falls_back_on(pipeline: RecommendPipeline, shop: Shop) -> None:
    plain = await pipeline.answer(RecommendRequest(user_id="u4", k=8))
    await pipeline.answer(RecommendRequest(user_id="u4", k=8, pin=[Pin(item_id="i7", place=1)]))
    with broken_store(shop.settings):
        again = await pipeline.answer(RecommendRequest(user_id="u4", k=8))
    assert (again.served_by, _ids(again)) == (Step.CACHED, _ids(plain))


async def test_probabilities_only_where_they_are_asked_for(pipeline: RecommendPipeline) -> None:
    plain = await pipeline.answer(RecommendRequest(user_id="u1", k=5))
    assert "probabil" not in plain.model_dump_json()
    asked = await pipeline.answer(RecommendRequest(user_id="u1", k=5, probabilities=True))
    assert _ids(asked) == _ids(plain)
    assert asked.probability_days == 20
    for item in asked.items:
        assert item.probabilities is not None
        assert set(item.probabilities) == {"purchase"}
        assert 0 < item.probabilities["purchase"] < 1
    read = RecommendAnswer.model_validate_json(asked.model_dump_json())
    assert read == asked


async def test_probabilities_of_several_and_of_nobody(served: Served, shop: Shop) -> None:
    online = OnlineFeatures(shop.settings.model_copy(update={"features_within_ms": 5_000}))
    await online.open()
    pipeline = _pipeline(served, online)
    users = [f"u{n}" for n in range(RANKED_AT_ONCE + 2)]
    requests = [RecommendRequest(user_id=user, k=3, probabilities=True) for user in [*users, "nobody"]]
    plain = RecommendRequest(user_id="u1", k=3)
    *known, nobody, unasked = (await pipeline.batch(BatchRequest(requests=[*requests, plain]))).answers
    await online.close()
    assert all(item.probabilities for answer in known for item in answer.items)
    assert [item.probabilities for item in nobody.items] == [{}] * 3
    assert nobody.probability_days is None
    assert [item.probabilities for item in unasked.items] == [None] * 3


async def test_without_features_or_after_a_failure_nothing_is_said_of_probabilities(
    served: Served, shop: Shop, tmp_path: Path, pipeline: RecommendPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = _pipeline(served, OnlineFeatures(shop.settings.model_copy(update={"home": tmp_path})))
    request = RecommendRequest(user_id="u1", k=3, items=["i6"], probabilities=True)
    answer = await down.answer(request)
    assert answer.served_by is Step.NO_FEATURES
    assert [item.probabilities for item in answer.items] == [{}] * 3

    def fail(*_: Any) -> Any:
        raise OddError

    monkeypatch.setattr("services.likelihoods.chances", fail)
    answer = await pipeline.answer(request)
    assert (answer.served_by, len(answer.items)) == (Step.FULL, 3)
    assert [item.probabilities for item in answer.items] == [{}] * 3
