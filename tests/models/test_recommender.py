import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import PURCHASE
from models import onnx
from models.bundle import MANIFEST, load, manifest, save
from models.errors import BundleError
from models.evaluation import CLASSIC, HYBRID, RESTING, TREES, items_of, leaderboard
from models.items import ItemTable
from models.recommender import Recommender
from models.state import UserState


def ids(answer: list) -> list[str]:
    return [item.item_id for item in answer]


def test_answers_are_k_different_items_best_first(trained: Recommender, world) -> None:
    for answer in trained.recommend(world.states(world.end), 10):
        assert len(set(ids(answer))) == 10
        scores = [item.score for item in answer]
        assert scores == sorted(scores, reverse=True)
        assert all(item.sources for item in answer)


def test_unknown_user_gets_what_is_popular(trained: Recommender, world) -> None:
    answer = trained.recommend([UserState.empty("nobody", world.end)], 5)[0]
    assert answer == trained.popular(5)


def test_unknown_among_known_changes_nothing(trained: Recommender, world) -> None:
    states = world.states(world.end)[:3]
    mixed = trained.recommend([states[0], UserState.empty("nobody", world.end), states[1]], 5)
    assert [ids(mixed[0]), ids(mixed[2])] == [ids(a) for a in trained.recommend(states[:2], 5)]


def test_unknown_cart_items_are_ignored_and_told(trained: Recommender, world) -> None:
    state = world.states(world.end)[0]
    assert trained.known(["i1", "ghost"]) == (["i1"], ["ghost"])
    with_ghost = trained.recommend([state], 5, items=[["i1", "ghost"]])
    assert ids(with_ghost[0]) == ids(trained.recommend([state], 5, items=[["i1"]])[0])


def test_an_event_just_now_changes_the_answer(trained: Recommender, world) -> None:
    for state in world.states(world.end)[:10]:
        before = trained.recommend([state], 10)[0]
        other = next(f"i{n}" for n in range(60) if f"i{n}" not in state.own_items and f"i{n}" not in ids(before))
        assert trained.recommend([state.with_items([other], "view")], 10)[0] != before
        assert trained.recommend([state.with_items([other], "purchase")], 10)[0] != before


def test_a_new_user_with_one_event_gets_the_events_group(trained: Recommender, world) -> None:
    answer = trained.recommend([UserState.empty("new", world.end)], 5, items=[["i6"]])[0]
    same_group = [item for item in ids(answer) if int(item[1:]) % 4 == 6 % 4]
    assert len(same_group) >= 4
    assert "i6" not in ids(answer)


def test_novel_exclude_and_categories(trained: Recommender, world) -> None:
    states = world.states(world.end)[:8]
    for state, answer in zip(states, trained.recommend(states, 10, novel_only=True), strict=True):
        assert not set(ids(answer)) & set(state.own_items)
    out = [set(ids(answer)[:3]) for answer in trained.recommend(states, 10)]
    for gone, answer in zip(out, trained.recommend(states, 10, exclude=out), strict=True):
        assert len(answer) == 10
        assert not gone & set(ids(answer))
    for answer in trained.recommend(states, 5, categories=["c1"]):
        assert len(answer) == 5
        assert all(int(item[1:]) % 4 == 1 for item in ids(answer))
    assert trained.recommend(states, 5, categories=["no such"]) == [[] for _ in states]


def test_more_than_there_is(trained: Recommender, world) -> None:
    answer = trained.recommend(world.states(world.end)[:1], 1_000)[0]
    assert 50 < len(set(ids(answer))) == len(answer) <= 60


def test_newer_item_table_is_used(trained: Recommender, world) -> None:
    items = ItemTable.pack(world.items.assign(purchases_30d=np.arange(60.0) ** 2), trained.vocabulary)
    newer = trained.with_item_table(items)
    states = world.states(world.end)
    assert newer.recommend(states, 10, mode="classic") != trained.recommend(states, 10, mode="classic")
    assert trained.item_names["i3"] == "Item 3"


def test_bundle_round_trip(trained: Recommender, world, tmp_path: Path) -> None:
    about = {"feature_service": "served", "fingerprint": "f", "code_version": "c"}
    folder = save(trained, tmp_path / "b", metrics={"ndcg": 1}, **about)
    states = world.states(world.end)
    loaded = load(folder)
    # What is loaded runs on ONNX Runtime, what was trained on torch: the last digits may differ, the order does not.
    for served, answer in zip(loaded.recommend(states, 10), trained.recommend(states, 10), strict=True):
        assert [(item.item_id, item.sources) for item in served] == [(item.item_id, item.sources) for item in answer]
        np.testing.assert_allclose([i.score for i in served], [i.score for i in answer], rtol=1e-4, atol=1e-4)
    assert loaded.popular(5) == trained.popular(5)
    content = manifest(folder)
    assert {name: content[name] for name in about} == about
    assert content["features"]
    assert {"ndcg", "seconds"} <= set(content["metrics"])
    save(loaded, folder)  # over itself
    assert load(folder).recommend(states[:2], 3) == loaded.recommend(states[:2], 3)


def test_what_was_loaded_is_saved_without_tracing_it_anew(
    saved: Path, world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = shutil.copytree(saved, tmp_path / "kept")
    model = load(kept)
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "_traced", lambda *network: pytest.fail("traced"))
        again = save(model, tmp_path / "again")
    states = world.states(world.end)[:2]
    assert load(again).recommend(states, 3) == model.recommend(states, 3)
    shutil.rmtree(kept)
    assert load(save(model, tmp_path / "traced")).recommend(states, 3) == model.recommend(states, 3)


@pytest.mark.parametrize("harm", ["missing", "format", "garbled", "no ranker", "features"])
def test_a_broken_bundle_says_what_is_wrong(saved: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "b"
    if harm != "missing":
        shutil.copytree(saved, folder)
    file = folder / MANIFEST
    if harm == "format":
        file.write_text(file.read_text().replace('"format": 3', '"format": 99'))
    if harm == "garbled":
        file.write_text("{")
    if harm == "no ranker":
        (folder / "ranker.pt").unlink()
    if harm == "features":
        content = json.loads(file.read_text())
        content["ranker_features"].pop()
        file.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="train"):
        load(folder)


def test_leaderboard(trained: Recommender, world) -> None:
    states = world.states(world.end)
    bought = items_of(world.events, PURCHASE, 0.0, world.end, trained.vocabulary.items.names)
    truth = {state.user_id: {f"i{n}" for n in range(60) if n % 4 == int(state.user_id[1:]) % 4} for state in states}
    report = leaderboard(trained, states, truth, bought, resamples=50)
    assert set(report) == {
        "own",
        "neighbours",
        "als",
        "sequence",
        "popularity",
        "ranker",
        CLASSIC,
        TREES,
        HYBRID,
        RESTING,
    }
    for figures in report.values():
        for view in ("all", "novel"):
            assert set(figures[view]) == {"users", "ndcg@10", "hr@10", "recall@10", "mrr", "coverage", "novelty"}
            assert all(f["low"] <= f["value"] <= f["high"] for f in figures[view].values())
    assert report["own"]["novel"]["hr@10"]["value"] == 0.0
    assert report[RESTING]["all"] != report[HYBRID]["all"]  # what was just bought is not there
    assert report[HYBRID]["novel"]["ndcg@10"]["value"] > 2 * report["popularity"]["novel"]["ndcg@10"]["value"]


def test_truth_is_cut_at_its_ends() -> None:
    times = pd.to_datetime([10, 20, 30], unit="s", utc=True)
    events = pd.DataFrame({"user_id": "u", "item_id": ["a", "b", "c"], "event_type": PURCHASE, "timestamp": times})
    assert items_of(events, PURCHASE, 10, 30, {"a", "b", "c"}) == {"u": {"a", "b"}}
    assert items_of(events, PURCHASE, 10, 31, {"c"}) == {"u": {"c"}}


def test_novel_knows_what_was_bought_beyond_the_own_items(trained: Recommender, world) -> None:
    state = world.states(world.end)[0]
    best = ids(trained.recommend([state], 5, novel_only=True)[0])
    more = replace(state, seen_items=tuple(best), bought_items=tuple(best))
    assert not set(ids(trained.recommend([more], 5, novel_only=True)[0])) & set(best)
