"""What users with the same profile take: popularity within groups, for users of whom nothing else is known yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np
from scipy import sparse

from models.batch import Ints, StateBatch
from models.errors import NotFittedError
from models.ids import IdMap
from models.index import NOTHING
from models.interactions import Interactions
from models.sources.asked import Dense
from models.sources.base import Scores, Source

_CONFIG, _GROUPS, _REST = "profile.json", "groups.npz", "rest.npz"
_LEAST: Final = 1e-12


@dataclass(frozen=True)
class UserProfiles:
    """What is known of users beside their events."""

    users: IdMap
    codes: Ints
    """[len(users), columns] a row for each inside id, columns and codes as in the users' states; 0 where unknown"""

    def of(self, names: Sequence[str]) -> Ints:
        """[U, columns] of users by their outside ids; of those that are not there nothing is known."""
        known = np.array(self.users.encode(names))
        return np.where(known[:, None] > 0, self.codes[known], 0).astype(np.int32)


@dataclass(frozen=True)
class ProfileConfig:
    """How popularity is counted, and how much a group may differ from everybody."""

    half_life_days: float = 14.0
    """Age at which an event counts half."""
    prior: float = 0.1
    """Share of everybody's events that is mixed into each group's: the more, the less a small group differs."""


class Profile(Source):
    """Score of an item: log of its share of what the user's groups take, the mean over the groups.

    A group is all users with one value in one column of the profile. A user of whom nothing is known gets what is
    popular with everybody.

    Args:
        profiles: of the users that are learned from.
        config: choices.
    """

    name: ClassVar[str] = "profile"

    def __init__(self, profiles: UserProfiles, config: ProfileConfig = ProfileConfig()) -> None:
        self.config = config
        self._profiles = profiles
        self._first: Ints | None = None
        """[columns + 1] where each column's groups begin"""
        self._everybody: Scores | None = None
        """[n_items] share of what everybody takes"""
        self._groups: sparse.csr_matrix | None = None
        """[groups, n_items] each group's own part of its shares"""

    def fit(self, events: Interactions, now: float) -> Self:
        """Counts decayed events per group and item."""
        profile = self._profiles.of(events.users)
        weights = events.matrix(events.decayed(now, self.config.half_life_days))
        total = np.asarray(weights.sum(axis=0)).ravel()
        self._everybody = (total / max(total.sum(), _LEAST)).astype(np.float32)
        self._first = np.append(0, np.cumsum(profile.max(axis=0, initial=0) + 1)).astype(np.int32)
        taken = (self._member(profile).T @ weights).tocsr()
        size = np.asarray(taken.sum(axis=1)).ravel() + self.config.prior * total.sum()
        self._groups = (sparse.diags(1.0 / np.maximum(size, _LEAST)) @ taken).tocsr().astype(np.float32)
        return self

    def ask(self, batch: StateBatch) -> Dense:
        """Every score."""
        if self._groups is None or self._everybody is None:
            raise NotFittedError("profile: call fit or load first")
        member = self._member(batch.profile)
        member = sparse.diags(1.0 / np.maximum(np.asarray(member.sum(axis=1)).ravel(), 1.0)) @ member
        shares = (member @ self._groups).toarray().astype(np.float32)
        # Of each group's shares the prior's part is everybody's.
        shares += np.maximum(1.0 - shares.sum(axis=1, keepdims=True), 0.0) * self._everybody
        with np.errstate(divide="ignore"):
            return Dense(np.where(self._everybody > 0.0, np.log(shares), NOTHING))

    def _member(self, profile: Ints) -> sparse.csr_matrix:
        """[users, groups] 1 where a user is in a group; values not met at the fit are none."""
        assert self._first is not None
        row, column = np.nonzero((profile > 0) & (profile < np.diff(self._first)))
        group = self._first[column] + profile[row, column]
        shape = (len(profile), int(self._first[-1]))
        return sparse.csr_matrix((np.ones(len(row), dtype=np.float32), (row, group)), shape=shape)

    def save(self, folder: Path) -> None:
        """Writes the groups' popularity; of single users nothing."""
        if self._groups is None or self._everybody is None or self._first is None:
            raise NotFittedError("profile: nothing to save before fit")
        sparse.save_npz(folder / _GROUPS, self._groups)
        np.savez(folder / _REST, everybody=self._everybody, first=self._first)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; for another fit it would need the users' profiles again."""
        config = ProfileConfig(**json.loads((folder / _CONFIG).read_text()))
        with np.load(folder / _REST, allow_pickle=False) as rest:
            first, everybody = rest["first"], rest["everybody"]
        nobody = UserProfiles(IdMap(()), np.zeros((1, len(first) - 1), dtype=np.int32))
        source = cls(nobody, config)
        source._first, source._everybody = first, everybody
        source._groups = sparse.csr_matrix(sparse.load_npz(folder / _GROUPS))
        return source
