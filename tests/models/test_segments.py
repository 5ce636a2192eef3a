"""Segments by hand: who is in which, their figures, and how much more popular what they see is than what they had."""

from __future__ import annotations

import numpy as np
import pytest

from models.places import Places
from models.segments import LIFT, SegmentConfig, Segments
from models.split import against
from models.trial import Catalogue
from tests.models.logs import log_of

KNOWN = log_of(
    [
        *((0, 1, "view", float(day)) for day in range(6)),  # six events, all on the popular item 1
        (1, 1, "view", 0.0), (1, 2, "view", 1.0),
        (2, 3, "view", 0.0), (2, 2, "view", 1.0), (2, 3, "view", 2.0),
    ],
    n_items=5,
)  # fmt: skip
SEGMENTS = SegmentConfig(few_events=3, many_events=5, edge=0.5)
WANTED = log_of([(0, 2, "view", 9.0), (1, 3, "view", 9.0), (2, 1, "view", 9.0), (2, 4, "view", 9.0)], n_items=5)
HOLDOUT = against(KNOWN, WANTED)
# Of 11 events item 1 has 7: it alone is the head.
CATALOGUE = Catalogue.of(KNOWN)
PLACES = Places(
    row=HOLDOUT.truth_row,
    place=np.array([0, 1, 0, 20], dtype=np.int32),
    share_above=np.zeros(4),
    users=3,
    top=np.array([[2, 0], [1, 3], [1, 2]], dtype=np.int32),
)


def test_who_is_in_which() -> None:
    found = Segments.of(HOLDOUT, CATALOGUE, SEGMENTS)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.users.items()} == {
        "new users": [1],
        "regular users": [2],
        "heavy users": [0],
        "niche taste": [1, 2],  # none and half of their items are popular ones: up to the median
        "blockbuster taste": [0],
    }
    # Items 2 and 3 have two events each: with the first of them four fifths of all are reached.
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items.items()} == {
        "head items": [2],
        "torso items": [0],
        "tail items": [1, 3],
    }
    assert found.cuts["new users"] == "1: fewer than 3 events before they are asked"
    assert found.cuts["regular users"] == "1: 3 to 5 events"
    assert found.cuts["heavy users"] == "1: more than 5 events"
    assert found.cuts["niche taste"] == "2: at most 50% of their items are head"


def test_the_figures_of_each() -> None:
    found = Segments.of(HOLDOUT, CATALOGUE, SEGMENTS).figures(PLACES, 50, seed=1)
    assert found["new users"]["ndcg@10"].value == pytest.approx(1 / np.log2(3))
    # User 2 has two right items, of which one came among the first ten.
    assert found["regular users"]["recall@10"].value == pytest.approx(0.5)
    assert found["head items"]["hr@10"].value == 1.0
    # Users 1 and 2 have a right item of the tail each; that of user 2 came too late.
    assert found["tail items"]["hr@10"].value == pytest.approx(1 / 2)


def test_lift_is_what_is_shown_over_what_was_had() -> None:
    found = Segments.of(HOLDOUT, CATALOGUE, SEGMENTS).figures(PLACES, 50, seed=1)
    # User 1 had items 1 and 2 with shares of 7/11 and 2/11, and is shown 1 and 3 with 7/11 and 2/11.
    assert found["new users"][LIFT].value == pytest.approx(0.0)
    # User 0 had item 1 (7/11) and is shown item 2 (2/11) and no other: the place that is empty does not count.
    assert found["blockbuster taste"][LIFT].value == pytest.approx(2 / 7 - 1)
    # The mean over users 1 and 2 of what is shown, over that of what they had: (4.5 + 4.5) / (4.5 + 2).
    lift = found["niche taste"][LIFT]
    assert lift.value == pytest.approx(9 / 6.5 - 1)
    assert lift.low <= lift.value <= lift.high
    assert LIFT not in found["tail items"]


def test_users_without_a_history_have_no_taste_and_no_lift() -> None:
    known = log_of([(0, 1, "view", 0.0), (2, 1, "view", 0.0)], n_items=3)
    holdout = against(known, log_of([(0, 2, "view", 9.0), (1, 2, "view", 9.0)], n_items=3))
    found = Segments.of(holdout, Catalogue.of(known))
    assert np.flatnonzero(np.isnan(found.profile)).tolist() == [1]
    assert not any(mask[1] for name, mask in found.users.items() if name.endswith("taste"))
