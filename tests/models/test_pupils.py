"""Whom a lesson is about: known before the cut, active after it, drawn by lot."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from feature_repo import schema as s
from models.pupils import Pupils
from models.ranker_training import RankerTrainingConfig

CUT, END = 100.0, 200.0
CONFIG = RankerTrainingConfig(validation_share=0.25, refresh_users=1_000)


def events(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[s.USER_ID, s.EVENT_TYPE, s.TIMESTAMP]).assign(**{s.ITEM_ID: "i1"})


def shop(buyers: int, viewers: int) -> pd.DataFrame:
    """All known since before the cut, and all active after it."""
    names = [f"b{n}" for n in range(buyers)] + [f"v{n}" for n in range(viewers)]
    kind = {"b": s.PURCHASE, "v": s.VIEW}
    return events(*((n, s.VIEW, 50.0) for n in names), *((n, kind[n[0]], 150.0) for n in names))


def drawn(frame: pd.DataFrame, config: RankerTrainingConfig = CONFIG) -> Pupils:
    return Pupils.drawn(frame, CUT, END, s.PURCHASE, config)


def test_those_who_learn_did_what_is_predicted_and_the_spared_are_like_all() -> None:
    pupils = drawn(shop(buyers=400, viewers=400))
    assert {name[0] for name in pupils.learning} == {"b"}
    assert len(pupils.spared) == 200
    assert sum(name[0] == "b" for name in pupils.spared) == pytest.approx(100, abs=25)
    assert sorted(pupils.names) == sorted({*pupils.learning, *pupils.spared})
    assert len(pupils.learning) == 400 - sum(name[0] == "b" for name in pupils.spared)


def test_no_more_learn_than_are_wanted() -> None:
    few = drawn(shop(buyers=400, viewers=0), replace(CONFIG, refresh_users=30))
    assert (len(few.learning), len(few.spared)) == (30, 100)


def test_who_was_not_known_at_the_cut_or_did_nothing_before_the_end_is_left_out() -> None:
    frame = events(
        ("known", s.VIEW, 99.0), ("known", s.PURCHASE, 100.0),
        ("new", s.PURCHASE, 150.0),
        ("late", s.VIEW, 50.0), ("late", s.PURCHASE, 200.0),
        ("gone", s.PURCHASE, 50.0),
    )  # fmt: skip
    assert drawn(frame) == Pupils(learning=["known"], spared=[])


def test_a_rating_says_that_something_was_bought() -> None:
    assert drawn(events(("u", s.VIEW, 50.0), ("u", s.RATING, 150.0))).learning == ["u"]


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    frame = shop(buyers=300, viewers=300)
    assert drawn(frame) == drawn(frame.sample(frac=1.0, random_state=1))
    assert drawn(frame) != drawn(frame, replace(CONFIG, seed=8))


def test_nobody_is_drawn_where_nobody_took_anything() -> None:
    assert drawn(shop(buyers=0, viewers=40)).learning == []
