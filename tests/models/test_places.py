"""Metrics out of places, against torchmetrics' on the same rankings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import (
    retrieval_auroc,
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from models.batch import StateBatch
from models.errors import NanScoreError
from models.places import Places, places_of
from models.sources.base import Scores
from models.split import Holdout, at_moment
from models.state import DAY_S
from tests.models.logs import log_of

USERS, ITEMS = 40, 30


@pytest.fixture(scope="module")
def holdout() -> Holdout:
    rng = np.random.default_rng(3)
    rows = [
        (user, int(item), "view", day)
        for user in range(USERS)
        for day in (1.0, 3.0)
        for item in rng.choice(np.arange(1, ITEMS + 1), rng.integers(1, 6), replace=False)
    ]
    return at_moment(log_of(rows, ITEMS + 1), 2 * DAY_S, novel=True)


@pytest.fixture(scope="module")
def scores(holdout: Holdout) -> Scores:
    rng = np.random.default_rng(4)
    return rng.permuted(np.tile(np.arange(ITEMS + 1), (USERS, 1)), axis=1).astype(np.float32)


def scorer(scores: Scores, holdout: Holdout):  # type: ignore[no-untyped-def]
    rows = iter(np.array_split(np.arange(len(holdout)), range(256, len(holdout), 256)))
    return lambda batch: scores[holdout.users[next(rows)]].copy()


METRICS = {
    "ndcg": (Places.ndcg, retrieval_normalized_dcg),
    "hr": (Places.hit_rate, retrieval_hit_rate),
    "recall": (Places.recall, retrieval_recall),
    "mrr": (Places.reciprocal_rank, retrieval_reciprocal_rank),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 5, 20])
def test_agrees_with_torchmetrics(name: str, k: int, holdout: Holdout, scores: Scores) -> None:
    ours, theirs = METRICS[name]
    found = ours(places_of(scorer(scores, holdout), holdout), k)
    for row, (preds, target) in enumerate(candidates(holdout, scores)):
        assert found[row] == pytest.approx(float(theirs(preds, target, top_k=k)), abs=1e-6)


def test_auc_and_average_precision_agree_with_torchmetrics(holdout: Holdout, scores: Scores) -> None:
    places = places_of(scorer(scores, holdout), holdout)
    for row, (preds, target) in enumerate(candidates(holdout, scores)):
        assert places.auc()[row] == pytest.approx(float(retrieval_auroc(preds, target)), abs=1e-6)
        assert places.average_precision(1000)[row] == pytest.approx(
            float(retrieval_average_precision(preds, target)), abs=1e-6
        )


def candidates(holdout: Holdout, scores: Scores):  # type: ignore[no-untyped-def]
    for row, user in enumerate(holdout.users):
        seen = holdout.asked.item[holdout.asked.user == user]
        kept = np.setdiff1d(np.arange(1, ITEMS + 1), seen)
        wanted = holdout.truth_item[holdout.truth_row == row]
        # Between 0 and 1: torchmetrics takes 0 for no answer, and makes large scores equal by a sigmoid.
        yield torch.from_numpy((scores[user, kept] + 1) / (ITEMS + 2)), torch.from_numpy(np.isin(kept, wanted))


def test_equal_scores_are_ordered_by_id_and_count_half_in_auc(holdout: Holdout) -> None:
    def flat(batch: StateBatch) -> Scores:
        return np.zeros((len(batch), ITEMS + 1), dtype=np.float32)

    places = places_of(flat, holdout, hide="nothing")
    assert np.array_equal(places.place, holdout.truth_item - 1)
    assert places.auc() == pytest.approx(np.full(len(holdout), 0.5))


def test_what_is_not_proposed_is_missed(holdout: Holdout) -> None:
    def nothing(batch: StateBatch) -> Scores:
        return np.full((len(batch), ITEMS + 1), -np.inf, dtype=np.float32)

    places = places_of(nothing, holdout)
    assert not places.hit_rate(ITEMS).any()
    assert not places.ndcg(ITEMS).any()
    assert not places.top.any()


def test_what_is_missed_is_missed_however_long_the_list(holdout: Holdout) -> None:
    def nothing(batch: StateBatch) -> Scores:
        return np.full((len(batch), ITEMS + 1), -np.inf, dtype=np.float32)

    places = places_of(nothing, holdout)
    assert not places.hit_rate(10 * ITEMS).any()
    assert places.auc() == pytest.approx(np.full(len(holdout), 0.5))


def test_auc_is_over_all_items_and_not_over_those_proposed() -> None:
    log = log_of([(0, 1, "view", 1.0), (0, 2, "view", 3.0)], 1_002)
    holdout = at_moment(log, 2 * DAY_S)

    def two(batch: StateBatch) -> Scores:
        scores = np.full((len(batch), 1_002), -np.inf, dtype=np.float32)
        scores[:, 2:4] = 1.0, 2.0
        return scores

    # Of 999 wrong items one came before.
    assert places_of(two, holdout).auc() == pytest.approx([998 / 999])


def test_what_is_seen_is_left_out_unless_kept(holdout: Holdout) -> None:
    def by_id(batch: StateBatch) -> Scores:
        return np.tile(-np.arange(ITEMS + 1, dtype=np.float32), (len(batch), 1))

    for hide, first in (("nothing", True), ("seen", False)):
        top = places_of(by_id, holdout, hide=hide).top
        shown = [set(row.tolist()) & set(holdout.asked.item[holdout.asked.user == user].tolist())
                 for row, user in zip(top, holdout.users, strict=True)]  # fmt: skip
        assert any(shown) is first


def test_a_score_that_is_no_number_is_an_error(holdout: Holdout) -> None:
    def broken(batch: StateBatch) -> Scores:
        return np.full((len(batch), ITEMS + 1), np.nan, dtype=np.float32)

    with pytest.raises(NanScoreError, match="NaN"):
        places_of(broken, holdout)


def test_a_user_counts_the_same_in_any_chunk(holdout: Holdout, scores: Scores) -> None:
    whole = places_of(scorer(scores, holdout), holdout)
    rows = np.arange(10, 20)
    part = holdout.part(rows)
    some = places_of(scorer(scores, part), replace(part))
    assert np.array_equal(whole.ndcg(5)[rows], some.ndcg(5))
