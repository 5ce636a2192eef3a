"""How likely users do something with given items, by the model's calibrated heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.batch import encode
from models.candidates import generate
from models.recommender import Recommender, padded
from models.state import UserState

Chances = dict[str, dict[str, float]]
"""item -> head -> probability"""


def chances(recommender: Recommender, states: Sequence[UserState], items: Sequence[Sequence[str]]) -> list[Chances]:
    """Of each state's items, a head's probability that the user does it within `recommender.probabilities.horizon_s`.

    Read off among the user's own candidates whatever filters the items passed, as the probabilities were learned: a
    feature may be an item's place in the list. Nothing is said of users of whom nothing is known, of items that the
    model does not know, nor by a model without probabilities.

    Args:
        states: B, with what lies in the cart.
        items: outside ids of each.
    """
    ranker, probabilities = recommender.ranker, recommender.probabilities
    if ranker is None or probabilities is None:
        return [{} for _ in states]
    wanted = [np.unique(recommender.vocabulary.items.encode(list(some))) for some in items]
    batch = encode(states, recommender.vocabulary, recommender.others)
    found = generate(recommender.sources, batch, recommender.candidates, further=padded(wanted))
    logits = ranker.logits(recommender.given(batch, found))  # [B, C, H]
    columns = {head: ranker.heads.index(head) for head in probabilities.heads}
    answers: list[Chances] = []
    for row, (state, ids) in enumerate(zip(states, wanted, strict=True)):
        ids = ids[ids > 0] if not state.is_unknown else ids[:0]
        own = found.items[row]
        at = np.searchsorted(own[own > 0], ids)  # ascending
        of_head = [probabilities.heads[head](logits[row, at, column]).tolist() for head, column in columns.items()]
        of_item = [dict(zip(columns, values, strict=True)) for values in zip(*of_head, strict=True)]
        answers.append(dict(zip(recommender.vocabulary.items.decode(ids.tolist()), of_item, strict=True)))
    return answers
