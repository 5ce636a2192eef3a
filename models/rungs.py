"""What an answer on each rung of the ladder is made of, once it is known which rung it is: for the service, which
finds that out, and for a replay, which is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from feature_repo.schema import PURCHASE
from models.recommender import Answered, Ask, Recommendation, Recommender, below
from models.reranking import POOL
from models.rules import Rules
from models.state import UserState

RANKED: Final = ("full", "no_features")
"""The rungs, as in `served_by`, on which the model ranked; on the others an answer is made up without."""
KEPT: Final = 20
"""The model is asked for at least so many, that filters leave something to fall back on."""


@dataclass(frozen=True)
class LastAnswer:
    """A list of the model's, best first, that a user was given before."""

    items: tuple[Recommendation, ...]
    had: frozenset[str]
    """Those of the items that were not new to the user."""


def asked_of(ask: Ask) -> dict[str, Any]:
    """What is asked, by field, without the user's state; made of plain data but for sets."""
    asked = {field.name: getattr(ask, field.name) for field in fields(Ask) if field.name != "state"}
    return {**asked, "rules": ask.rules and ask.rules.as_dict()}


def ask_of(asked: Mapping[str, Any], state: UserState) -> Ask:
    """The reverse of `asked_of`.

    Raises:
        TypeError: it has a field that this code's `Ask` or `Rules` does not know.
    """
    rules = asked.get("rules")
    return Ask(state=state, **{**asked, "rules": rules and Rules.of(rules)})


def is_personal(ask: Ask) -> bool:
    """Whether it asks what a user likes, rather than about certain items."""
    return bool(ask.state.user_id) and ask.only is None and not ask.companions


def is_kept(ask: Ask) -> bool:
    """Whether the answer serves the user's later requests too; a category's page is none of the others."""
    return is_personal(ask) and ask.categories is None


def widened(asks: Sequence[Ask]) -> list[Ask]:
    """What the model is asked, so that an answer that is kept is long enough; under rules it keeps more by itself."""
    return [replace(ask, k=max(ask.k, KEPT)) if is_kept(ask) and ask.rules is None else ask for ask in asks]


def ranked(recommender: Recommender, ask: Ask) -> Answered:
    """What the model answers to one request alone."""
    [answer] = recommender.answered(widened([ask]))
    return replace(answer, items=answer.items[: ask.k])


def made_up(recommender: Recommender, ask: Ask, last: LastAnswer | None) -> tuple[list[Recommendation], bool]:
    """Without the model: the last answer as far as it fits, filled up with popular items, else popular items alone.

    Returns:
        The items, and whether the last answer had a part in them.
    """
    if ask.rules is not None:
        found, is_cached = made_up(recommender, replace(ask, rules=None, k=POOL), last)
        return recommender.ruled(replace(ask, exclude=_barred(recommender, ask, last)), found), is_cached
    barred = _barred(recommender, ask, last)
    items = fitting(last, replace(ask, exclude=barred), recommender) if last else []
    if not items:
        return recommender.popular(
            ask.k, categories=ask.categories, exclude=barred, only=ask.only, in_stock=ask.in_stock
        ), False
    if len(items) < ask.k:
        taken = barred.union(item.item_id for item in items)
        more = recommender.popular(ask.k - len(items), categories=ask.categories, exclude=taken, in_stock=ask.in_stock)
        items += below(items, more)
    return items, True


def _barred(recommender: Recommender, ask: Ask, last: LastAnswer | None) -> set[str]:
    """What the answer may not hold, as far as can be told."""
    had = {*ask.state.had(bought=recommender.target == PURCHASE), *(last.had if last else ())}
    return {*ask.exclude, *ask.items, *(had if ask.novel_only else ()), *_asleep(recommender, ask)}


def _asleep(recommender: Recommender, ask: Ask) -> list[str]:
    """The items that rest, as far as can be told."""
    if not ask.rest:
        return []
    try:
        return recommender.asleep(ask.state)
    except Exception:  # noqa: BLE001 - a row that the model cannot digest is one of the reasons to be on this rung
        return []


def fitting(last: LastAnswer, ask: Ask, recommender: Recommender) -> list[Recommendation]:
    """What of a last answer this request's `exclude` and `categories` allow, in its order."""
    ids = [item.item_id for item in last.items]
    # The model's own filter tells too which items it no longer knows.
    allowed = {
        item.item_id
        for item in recommender.popular(
            len(ids), categories=ask.categories, exclude=ask.exclude, only=ids, in_stock=ask.in_stock
        )
    }
    return [item for item in last.items if item.item_id in allowed][: ask.k]
