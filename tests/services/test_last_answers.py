"""The last answers: the newest of the users seen last, and none that is too old."""

from __future__ import annotations

from models.recommender import Recommendation
from services.last_answers import LastAnswers

MILK, EGGS = Recommendation("milk", 2.0, ("own",)), Recommendation("eggs", 1.0, ())


def test_the_newest_answer_counts_and_old_ones_go() -> None:
    now = 0.0
    last = LastAnswers(users=2, max_age_s=10, clock=lambda: now)
    last.keep("a", [MILK], set())
    last.keep("a", [MILK, EGGS], {"eggs", "bread"})
    found = last.find("a")
    assert found
    assert (found.items, found.had) == ((MILK, EGGS), {"eggs"})
    now = 10.5
    assert last.find("a") is None
    assert last.find("nobody") is None


def test_who_was_seen_longest_ago_goes_first() -> None:
    last = LastAnswers(users=2)
    last.keep("a", [MILK], set())
    last.keep("b", [MILK], set())
    assert last.find("a")
    last.keep("c", [MILK], set())
    assert last.find("b") is None
    assert last.find("a")
    assert last.find("c")
