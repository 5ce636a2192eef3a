"""Two networks that put items and users into one space, and what they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from models.batch import Array, StateBatch

_LEAST: Final = 1e-6
"""Decayed weight that any own item has, so that somebody whose events are old or of unknown weight has a taste, too."""


@dataclass(frozen=True)
class TwoTowerConfig:
    """The networks and their training."""

    dim: int = 64
    hidden: int = 128
    """Width of the one hidden layer of each tower."""
    own: int = 100
    """Own items that count, those of the most decayed weight."""
    recent: int = 10
    """Last events of the session that count once more."""
    id_dropout: float = 0.4
    """Share of the items with attributes that have no id at a step, so that their attributes must do."""
    temperature: float = 0.1
    """Of the cosine: the smaller, the more the hardest negatives count."""
    targets: int = 16
    """Items that one history is asked for: those that were new to the user next."""
    batch_size: int = 128
    """Histories."""
    negatives: int = 1024
    """Items per batch, drawn uniformly from those with events, that come beside the batch's own."""
    epochs: int = 10
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 7


class Bags(NamedTuple):
    """Several weighted items for each of B."""

    place: Tensor
    """[M] rows of a table"""
    bounds: Tensor
    """[B] where each begins"""
    weight: Tensor
    """[M]"""

    @classmethod
    def of(cls, place: Array, bounds: Array, weight: Array) -> Bags:
        """From arrays; `bounds` [B + 1] as in a CSR matrix."""
        starts = torch.from_numpy(bounds[:-1].astype(np.int64))
        return cls(torch.from_numpy(place.astype(np.int64)), starts, torch.from_numpy(weight.astype(np.float32)))

    def summed(self, table: Tensor) -> Tensor:
        """[B, d] the weighted sums of rows [n, d], 0 for those without any."""
        return embedding_bag(self.place, table, self.bounds, mode="sum", per_sample_weights=self.weight.to(table.dtype))


class History(NamedTuple):
    """What is read of B users; the weights of each add up to 1, where there is anything."""

    own: Bags
    recent: Bags

    @property
    def rows(self) -> Array:
        """Ascending rows of the table that are summed up."""
        return np.unique(torch.cat([self.own.place, self.recent.place]).numpy())

    def among(self, rows: Array) -> History:
        """The same over a table of these ascending rows alone."""
        own, recent = (bags._replace(place=torch.searchsorted(torch.from_numpy(rows), bags.place)) for bags in self)
        return History(own, recent)


def history_of(batch: StateBatch, place: npt.NDArray[np.integer], config: TwoTowerConfig) -> History:
    """Own items by the logarithm of their decayed weight, the last events alike.

    Args:
        batch: the users.
        place: [n_items] the row of each item in the table that will be summed up, -1 where it has none.
        config: how many count.
    """
    at = batch.strongest(config.own)
    at = at[place[batch.own_item[at]] >= 0]
    bounds = np.searchsorted(at, batch.own_bounds)
    own = _shares(place[batch.own_item[at]], bounds, np.log1p(np.maximum(batch.own_decayed[at], _LEAST)))
    session = batch.session_item[:, -config.recent :]
    last = np.where(session > 0, place[session], -1)  # [B, recent]
    bounds = np.append(0, np.cumsum((last >= 0).sum(axis=1)))
    recent = _shares(last[last >= 0], bounds, np.ones(bounds[-1]))
    return History(own, recent)


def _shares(place: Array, bounds: Array, weight: Array) -> Bags:
    row = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return Bags.of(place, bounds, weight / np.bincount(row, weight)[row])


def features_of(matrix: sparse.csr_matrix) -> Bags:
    """The attributes of items [m, F]."""
    return Bags.of(matrix.indices, matrix.indptr, matrix.data)


class Towers(nn.Module):
    """Vectors of length 1, and for items a bias.

    Both begin where nothing is learned yet: an item is its attributes, projected at random, which keeps their cosines
    about as they are; a user is the mean of the items. The hidden layers add to that what pays.
    """

    def __init__(self, n_items: int, n_features: int, config: TwoTowerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.feature = nn.Parameter(torch.randn(max(1, n_features), dim) * dim**-0.5)
        self.id = nn.Embedding(n_items, dim, padding_idx=0)
        nn.init.normal_(self.id.weight, std=0.02)
        with torch.no_grad():
            self.id.weight[0] = 0.0
        self.of_item = _added(dim, config.hidden, dim)
        self.bias = nn.Linear(dim, 1)
        nn.init.zeros_(self.bias.weight)
        nn.init.zeros_(self.bias.bias)
        self.of_user = _added(2 * dim, config.hidden, dim)

    def items(self, ids: Tensor, features: Bags) -> tuple[Tensor, Tensor]:
        """Vectors [m, dim] and biases [m] of items [m]; those with id 0 are placed by their features alone."""
        raw = features.summed(self.feature) + self.id(ids)
        return normalize(raw + self.of_item(raw), dim=1), self.bias(raw)[:, 0]

    def users(self, history: History, vectors: Tensor) -> Tensor:
        """[B, dim] from the vectors [m, dim] of their items."""
        own, recent = history.own.summed(vectors), history.recent.summed(vectors)
        return normalize(own + self.of_user(torch.cat([own, recent], dim=1)), dim=1)


def _added(given: int, hidden: int, out: int) -> nn.Sequential:
    """One hidden layer that adds nothing at first."""
    last = nn.Linear(hidden, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(given, hidden), nn.GELU(), last)
