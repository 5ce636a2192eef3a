"""The request's way and its ladder, over a real bundle and a real Feast store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo.clock import Clock
from models.recommender import Recommender
from services.champion import ChampionWatch, Served
from services.errors import NoModelError
from services.messages import RecommendAnswer, RecommendRequest, Step
from services.online import OnlineFeatures
from services.pipeline import RecommendPipeline

from .conftest import NOW, Shop


@pytest.fixture(scope="module")
def served(shop: Shop) -> Served:
    return Served.load(shop.tags[0], shop.folder(shop.tags[0]))


@pytest.fixture
async def pipeline(shop: Shop, served: Served) -> AsyncIterator[RecommendPipeline]:
    online = OnlineFeatures(shop.settings)
    await online.open()
    yield _pipeline(served, online)
    await online.close()


def _pipeline(served: Served | None, online: OnlineFeatures) -> RecommendPipeline:
    champions = ChampionWatch(Path("nowhere"))
    champions.current = served
    return RecommendPipeline(champions, online, Clock(NOW))


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


async def test_a_model_that_fails_is_made_up_for(served: Served, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("weights are not what they were")

    monkeypatch.setattr(Recommender, "recommend", broken)
    pipeline = _pipeline(replace(served), OnlineFeatures(shop.settings))
    answer = await pipeline.answer(RecommendRequest(user_id="u1", k=5))
    assert (answer.served_by, len(answer.items)) == (Step.POPULAR, 5)


async def test_without_a_model_there_is_no_answer(shop: Shop) -> None:
    with pytest.raises(NoModelError, match="kairos train"):
        await _pipeline(None, OnlineFeatures(shop.settings)).answer(RecommendRequest(user_id="u1"))
