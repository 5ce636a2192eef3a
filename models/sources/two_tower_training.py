"""How the two towers are trained: a softmax over the items of a batch and some more, corrected for how each came in.

Sampled softmax corrected for the sampling probabilities: Yi et al. (2019), with uniform negatives beside those of the
batch (Yang et al., 2020). Ids are left out at random, so that attributes alone place an item: Volkovs et al. (2017).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import lightning
import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from models.batch import Array
from models.histories import states_within
from models.interactions import Interactions
from models.quiet import fit_quietly, plain_trainer
from models.shuffled import Shuffled, batches
from models.sources.towers import Bags, History, Towers, TwoTowerConfig, features_of, history_of


class Question(NamedTuple):
    """B histories, the m items that they and their answers are about, and C of these to choose among."""

    ids: Tensor
    """[m] 0 where the id is left out"""
    features: Bags
    history: History
    candidate: Tensor
    """[C] rows of the items"""
    expected: Tensor
    """[C] how probable it was that the item is there"""
    wrong: Tensor
    """[B, C] whether the user never takes it"""
    row: Tensor
    """[P] the history of each answer"""
    right: Tensor
    """[P] the candidate that is the answer"""


def train_towers(events: Interactions, matrix: sparse.csr_matrix, config: TwoTowerConfig) -> Towers:
    """Trains new towers.

    Args:
        events: to learn from.
        matrix: [n_items, F] the items' attributes.
        config: choices.
    """
    lightning.seed_everything(config.seed, verbose=False)
    towers = Towers(events.n_items, matrix.shape[1], config)
    questions = _Questions(events.where(events.item > 0), matrix, config)
    data = Shuffled(len(questions), config.batch_size, config.seed, questions.ask)
    if len(data):
        training = _Training(towers, config, len(data) * config.epochs)
        fit_quietly(plain_trainer(config.epochs, gradient_clip_val=1.0), training, batches(data))
    return towers.cpu().eval()


class _Questions:
    """Each is about one user at a moment of the past: what happened before it, and which items were new to them next.

    An answer is the first event of its pair of user and item, so it is never part of the history that it is asked with.
    Events of one moment, such as a basket, are no history of each other.
    """

    def __init__(self, events: Interactions, matrix: sparse.csr_matrix, config: TwoTowerConfig) -> None:
        self.events, self.matrix, self.config = events, matrix, config
        self.rng = np.random.default_rng(config.seed)
        self.taken = events.taken()
        self.has_attributes = np.diff(matrix.indptr) > 0
        count = len(events)
        begins = np.flatnonzero(np.diff(events.user, prepend=-1) != 0)
        self.begin = np.repeat(begins, np.diff(np.append(begins, count)))  # [E] where the event's user begins
        is_later = (np.diff(events.user, prepend=-1) != 0) | (np.diff(events.time, prepend=-np.inf) != 0)
        self.moment = np.maximum.accumulate(np.where(is_later, np.arange(count), 0))  # [E] where its moment begins
        pair = events.user.astype(np.int64) * events.n_items + events.item
        first = np.sort(np.unique(pair, return_index=True)[1])  # events are in time order within a user
        self.answers = first[self.moment[first] > self.begin[first]]  # [A] positions of events
        user = events.user[self.answers]
        starts = np.flatnonzero(np.diff(user, prepend=-1) != 0)
        bounds = np.append(starts, len(user))
        self.end = np.repeat(bounds[1:], np.diff(bounds))  # [A] where the answers of its user end
        place = np.arange(len(user)) - np.repeat(starts, np.diff(bounds))
        self.windows = np.flatnonzero(place % config.targets == 0)
        """[W] each begins with one of the answers"""
        self.items = np.unique(events.item)
        share = np.bincount(events.item[self.answers], minlength=events.n_items)
        self.share = share / max(1, share.sum())

    def __len__(self) -> int:
        return len(self.windows)

    def ask(self, windows: npt.NDArray[np.intp]) -> Question:
        """The questions of some windows, each from a random answer of it on."""
        events, config = self.events, self.config
        low = self.windows[windows]
        start = self.rng.integers(low, np.minimum(low + config.targets, self.end[low]))
        count = np.minimum(start + config.targets, self.end[start]) - start
        row = np.repeat(np.arange(len(start)), count)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        right = events.item[self.answers[start[row] + offset]]  # [P]
        some = self.rng.choice(self.items, min(config.negatives, len(self.items)), replace=False)
        candidates = np.union1d(right, some)  # [C]

        moment = self.moment[self.answers[start]]
        states = states_within(events, self.begin[moment], moment, events.time[moment])
        history = history_of(states, np.arange(events.n_items), config)
        items = np.union1d(candidates, history.rows)  # [m]
        without_id = self.has_attributes[items] & (self.rng.random(len(items)) < config.id_dropout)
        return Question(
            ids=_longs(np.where(without_id, 0, items)),
            features=features_of(self.matrix[items]),
            history=history.among(items),
            candidate=_longs(np.searchsorted(items, candidates)),
            expected=torch.from_numpy(self._expected(candidates, len(right), len(some)).astype(np.float32)),
            wrong=torch.from_numpy(self.taken[events.user[moment]][:, candidates].toarray() == 0),
            row=_longs(row),
            right=_longs(np.searchsorted(candidates, right)),
        )

    def _expected(self, candidates: Array, answers: int, uniform: int) -> Array:
        """[C] the probability of being among so many answers or so many that are drawn uniformly."""
        with np.errstate(divide="ignore"):  # what is certain to be there
            return -np.expm1(answers * np.log1p(-self.share[candidates]) + np.log1p(-uniform / len(self.items)))


def _longs(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


class _Training(lightning.LightningModule):
    """Softmax over the answer and what the user never takes.

    The answer is there for certain, so it alone is not corrected.
    """

    def __init__(self, towers: Towers, config: TwoTowerConfig, steps: int) -> None:
        super().__init__()
        self.towers, self.config, self.steps = towers, config, steps

    def training_step(self, question: Question, index: int) -> Tensor:
        vectors, bias = self.towers.items(question.ids, question.features)
        users = self.towers.users(question.history, vectors)
        scores = users @ vectors[question.candidate].T / self.config.temperature + bias[question.candidate]  # [B, C]
        wrong = (scores - question.expected.log()).masked_fill(~question.wrong, -1e9)
        right = scores[question.row, question.right]  # [P]
        return torch.nn.functional.softplus(wrong.float().logsumexp(1)[question.row] - right.float()).mean()

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = torch.optim.AdamW(
            self.towers.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=self.steps + 1, pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
