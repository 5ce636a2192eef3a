"""How true the heads' probabilities are of users whose future is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import expit

from feature_repo.schema import EVENT_TYPE, IMPRESSION, TIMESTAMP, USER_ID
from models.batch import Ints, encode
from models.calibration import calibration_error, log_loss
from models.candidates import Mask, generate
from models.evaluation import items_of
from models.ids import IdMap
from models.ranker import HEADS
from models.recommender import Recommender
from models.state import DAY_S, UserState

Taken = Mapping[str, Mapping[str, Collection[str]]]
"""head -> user -> items"""
_CHUNK: Final = 128


class Judged(TypedDict):
    """Of all candidates of all users."""

    days: float
    """That the labels reach"""
    users: int
    heads: dict[str, dict[str, float]]
    """head -> candidates (their number), taken (their share), said (the mean probability), and `log loss` and `ece`
    (expected calibration error, 15 bins), each `before` calibration, by the sigmoid of the logit, and `after`"""


def judge_probabilities(
    recommender: Recommender, states: Sequence[UserState], events: pa.Table, cut: float, end: float
) -> Judged | None:
    """Compares what the model says at a cut with what came of it, on the candidates as they are proposed.

    Args:
        recommender: as it serves.
        states: users at the cut; those who did nothing after it are left out, as they were in training.
        events: with what came after the cut.
        cut: epoch seconds.
        end: of the events, likewise; they count no longer than the model's own horizon.

    Returns:
        None if the model has no probabilities, or nobody did anything.
    """
    meaning = recommender.probabilities
    if meaning is None:
        return None
    end = min(end, cut + meaning.horizon_s)
    catalogue = recommender.item_names
    there = _active(events, cut, end)
    states = [state for state in states if state.user_id in there]
    if not states:
        return None
    taken: Taken = {
        head: _merged([items_of(events, kind, cut, end, catalogue) for kind in HEADS[head]]) for head in meaning.heads
    }
    logits, labels = _rows(recommender, states, taken)
    heads = {}
    for at, (head, calibration) in enumerate(meaning.heads.items()):
        label, raw, said = labels[:, at], expit(logits[:, at].astype(np.float64)), calibration(logits[:, at])
        heads[head] = {
            "candidates": len(label),
            "taken": float(label.mean()),
            "said": float(said.mean()),
            "log loss before": log_loss(raw, label),
            "log loss after": log_loss(said, label),
            "ece before": calibration_error(raw, label),
            "ece after": calibration_error(said, label),
        }
    return {"days": (end - cut) / DAY_S, "users": len(states), "heads": heads}


def _rows(recommender: Recommender, states: Sequence[UserState], taken: Taken) -> tuple[np.ndarray, np.ndarray]:
    """[N, H] logits and labels of the heads in `taken`, of every candidate of every user."""
    ranker, known = recommender.ranker, recommender.vocabulary.items
    assert ranker is not None  # it has probabilities
    columns = [ranker.heads.index(head) for head in taken]
    logits, labels = [], []
    for start in range(0, len(states), _CHUNK):
        some = states[start : start + _CHUNK]
        batch = encode(some, recommender.vocabulary, recommender.others)
        found = generate(recommender.sources, batch, recommender.candidates)
        inside = found.items > 0
        said = ranker.logits(recommender.given(batch, found))
        logits.append(said[inside][:, columns])
        did = np.stack([_did(of_user, some, found.items, known) for of_user in taken.values()], axis=-1)  # [B, C, H]
        labels.append(did[inside])
    return np.concatenate(logits), np.concatenate(labels)


def _did(taken: Mapping[str, Collection[str]], states: Sequence[UserState], items: Ints, known: IdMap) -> Mask:
    """[B, C] which of each user's candidates the user took."""
    ids = [known.encode(list(taken.get(state.user_id, ()))) for state in states]
    return np.stack([np.isin(row, some) for row, some in zip(items, ids, strict=True)])


def _active(events: pa.Table, start: float, end: float) -> set[str]:
    """Users with any event but an impression in start <= time < end."""
    frame: pd.DataFrame = events.select([USER_ID, EVENT_TYPE, TIMESTAMP]).to_pandas()
    low, high = (pd.Timestamp(moment, unit="s", tz="UTC") for moment in (start, end))
    stamps = pd.to_datetime(frame[TIMESTAMP], utc=True)
    return set(frame[USER_ID][(stamps >= low) & (stamps < high) & (frame[EVENT_TYPE] != IMPRESSION)])


def _merged(parts: Sequence[Mapping[str, Collection[str]]]) -> dict[str, set[str]]:
    merged: dict[str, set[str]] = {}
    for part in parts:
        for user, items in part.items():
            merged.setdefault(user, set()).update(items)
    return merged
