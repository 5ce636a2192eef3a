"""Second stage: one deep multi-task network over the candidates, blended with the collaborative scores.

Feature crosses as in DCN-v2 (Wang et al., 2021), attention of each candidate over the session as in DIN (Zhou et
al., 2018), a head per kind of event, a listwise softmax per user (ListNet's top-one form) on what the user did next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from feature_repo.schema import CART, CLICK, EVENT_TYPES, PROFILE_COLUMNS, PURCHASE, RATING, SESSION_EVENTS, VIEW
from models.batch import Array, Ints, StateBatch
from models.boosted import Boosted
from models.cross import Cross
from models.errors import NotFittedError
from models.features import FeatureSpace
from models.gaps import GAP_BUCKETS
from models.items import ItemTable
from models.onnx import Session, export
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

HEADS: Final = {"click": (VIEW, CLICK), "cart": (CART,), "purchase": (PURCHASE, RATING)}
"""Head -> the event types that are its positives; a rating says that the item was consumed."""
Mode = Literal["hybrid", "classic", "ranker", "collaborative", "trees"]
"""Which of the ranker's scores orders the answer: what is served, the network's own blend of the deep and the
collaborative score, one of those two alone, the boosted trees alone."""
_SCORES: Final = {"final": "classic", "deep": "ranker", "collaborative": "collaborative"}
_LOGITS: Final = "logits"
"""The last output as it is served, behind the scores."""
_LISTS: Final = {0: "users", 1: "candidates"}
_USERS: Final = {0: "users"}


def head_of(target: str) -> str:
    """The head that predicts an event type."""
    return next(head for head, kinds in HEADS.items() if target in kinds)


def heads_of(kinds: Collection[str]) -> list[str]:
    """The heads that have labels where there are events of some types."""
    return [head for head, of in HEADS.items() if set(of).intersection(kinds)]


@dataclass(frozen=True)
class RankerConfig:
    """The network."""

    hidden: int = 96
    """Width of the deep part."""
    cross_layers: int = 1
    """DCN-v2 cross layers over the input."""
    cross_rank: int = 24
    """Rank of a cross layer's matrix."""
    code_dims: tuple[int, ...] = (12, 12, 6, 4)
    """Embedding width per item categorical, in the order of `ITEM_CATEGORICALS`."""
    item_dim: int = 8
    """Embedding width of the item itself; small, for most items are rare."""
    profile_dim: int = 4
    """Embedding width of each profile column."""
    attention: bool = True
    """Attend over the session."""
    dropout: float = 0.1
    fixed_alpha: float | None = None
    """Weight of the collaborative score in the final one, 0..1; None: learned."""


@dataclass(frozen=True)
class RankerInput:
    """What the ranker reads of B lists of C candidates."""

    features: npt.NDArray[np.floating]
    """[B, C, F]"""
    item: Ints
    """[B, C] inside ids, 0 where padded"""
    codes: Ints
    """[B, C, K]"""
    session: Ints
    """[B, L] inside ids, 0 where padded"""
    session_codes: Ints
    """[B, L, K]"""
    session_kind: Ints
    """[B, L]"""
    session_gap: Array
    """[B, L]"""
    profile: Ints
    """[B, P]"""

    def arrays(self) -> dict[str, Array]:
        """By name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def tensors(self) -> RankerTensors:
        """The same as the network takes it."""
        kinds = {name: np.float32 if name == "features" else np.int64 for name in self.__dataclass_fields__}
        return RankerTensors(
            *(torch.from_numpy(np.ascontiguousarray(array, dtype=kinds[name])) for name, array in self.arrays().items())
        )


@dataclass(frozen=True)
class RankerTensors:
    """`RankerInput` as tensors: features float, all others int64."""

    features: Tensor
    item: Tensor
    codes: Tensor
    session: Tensor
    session_codes: Tensor
    session_kind: Tensor
    session_gap: Tensor
    profile: Tensor

    def to(self, device: torch.device) -> RankerTensors:
        """The same on a device."""
        return RankerTensors(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def ranker_input(
    batch: StateBatch, candidates: Ints, features: npt.NDArray[np.floating], items: ItemTable
) -> RankerInput:
    """Of B lists; candidates [B, C], features [B, C, F]."""
    return RankerInput(
        features=features,
        item=candidates,
        codes=items.codes[candidates],
        session=batch.session_item,
        session_codes=items.codes[batch.session_item],
        session_kind=batch.session_type,
        session_gap=batch.session_gap,
        profile=batch.profile,
    )


@dataclass(frozen=True)
class RankerScores:
    """Padded candidates have whatever comes out and must be masked by the caller."""

    final: Tensor
    """[B, C]"""
    deep: Tensor
    """[B, C]"""
    collaborative: Tensor
    """[B, C]"""
    logits: Tensor
    """[B, C, H] of each head"""


class _Flat(nn.Module):
    """The ranker as it is served: tensors by name in, the three scores and the heads' logits out."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(
        self,
        features: Tensor,
        item: Tensor,
        codes: Tensor,
        session: Tensor,
        session_codes: Tensor,
        session_kind: Tensor,
        session_gap: Tensor,
        profile: Tensor,
    ) -> tuple[Tensor, ...]:
        given = RankerTensors(features, item, codes, session, session_codes, session_kind, session_gap, profile)
        scores = self.ranker(given)
        return tuple(getattr(scores, name) for name in (*_SCORES, _LOGITS))


class Ranker(nn.Module):
    """Scores candidate lists; see `RankerScores`.

    Args:
        n_features: F.
        collaborative: positions of the features that make up the collaborative score (the sources' scores).
        n_items: rows of the item id map.
        code_sizes: rows per item categorical.
        profile_sizes: rows per profile column.
        heads: names of the heads that have labels in the data, the target's among them.
        target: the head whose order is the answer.
    """

    def __init__(
        self,
        config: RankerConfig,
        *,
        n_features: int,
        collaborative: Sequence[int],
        n_items: int,
        code_sizes: Sequence[int],
        profile_sizes: Sequence[int],
        heads: Sequence[str],
        target: str,
    ) -> None:
        super().__init__()
        self.config, self.heads, self.target = config, tuple(heads), target
        self.served: Session | None = None
        """The same network in ONNX Runtime, once it is loaded from a bundle."""
        self.graph: Path | None = None
        """The file that it was loaded from: a network of the same kind in ONNX"""
        self.trees: Boosted | None = None
        """Boosted trees that have a say in the served order"""
        self.trees_weight = 0.0
        """How much of it is theirs, 0..1; the network is not asked where all is, nor the trees where nothing is."""
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("collaborative_at", torch.tensor(list(collaborative), dtype=torch.long))
        self.mean: Tensor
        self.scale: Tensor
        self.collaborative_at: Tensor
        self.item = nn.Embedding(n_items, config.item_dim, padding_idx=0)
        self.codes = nn.ModuleList(
            nn.Embedding(size, dim, padding_idx=0) for size, dim in zip(code_sizes, config.code_dims, strict=True)
        )
        self.profile = nn.ModuleList(nn.Embedding(size, config.profile_dim, padding_idx=0) for size in profile_sizes)
        item_width = config.item_dim + sum(config.code_dims)
        self.kind = nn.Embedding(len(EVENT_TYPES) + 1, item_width, padding_idx=0)
        self.gap = nn.Embedding(GAP_BUCKETS, item_width)
        width = n_features + item_width + config.profile_dim + (item_width + 1 if config.attention else 0)
        self.crosses = nn.ModuleList(Cross(width, config.cross_rank) for _ in range(config.cross_layers))
        self.deep = nn.Sequential(
            nn.Linear(width, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden // 2),
            nn.GELU(),
        )
        self.out = nn.Linear(width + config.hidden // 2, len(self.heads))
        self.collaborative_weight = nn.Parameter(torch.zeros(len(collaborative)))
        self.alpha_logit = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.full((), -3.0))  # makes a score the logit of "will happen"
        for table in (self.item, *self.codes, *self.profile, self.kind, self.gap):
            nn.init.normal_(table.weight, std=0.05)
            if table.padding_idx is not None:
                nn.init.zeros_(table.weight[0])

    @classmethod
    def of(
        cls, config: RankerConfig, space: FeatureSpace, vocabulary: Vocabulary, heads: Sequence[str], target: str
    ) -> Self:
        """An untrained one, as large as the features and the vocabulary ask for."""
        return cls(
            config,
            n_features=len(space.names),
            collaborative=space.collaborative,
            n_items=len(vocabulary.items),
            code_sizes=vocabulary.sizes(ITEM_CATEGORICALS),
            profile_sizes=vocabulary.sizes(PROFILE_COLUMNS),
            heads=heads,
            target=target,
        )

    @property
    def alpha(self) -> Tensor:
        """The weight of the collaborative score in the final one, learned unless fixed."""
        if self.config.fixed_alpha is not None:
            return torch.full_like(self.alpha_logit, self.config.fixed_alpha)
        return torch.sigmoid(self.alpha_logit)

    def set_scaling(self, mean: npt.NDArray[np.floating], std: npt.NDArray[np.floating]) -> None:
        """Features become (value - mean) / std; both [F]."""
        self.mean.copy_(torch.from_numpy(np.asarray(mean, dtype=np.float32)))
        self.scale.copy_(torch.from_numpy(np.asarray(std, dtype=np.float32)))

    def forward(self, given: RankerTensors) -> RankerScores:
        """Scores of B lists."""
        dense = ((given.features - self.mean) / self.scale).clamp(-6.0, 6.0)  # [B, C, F]
        item = self._item(given.item, given.codes)  # [B, C, D]
        profile = torch.stack([table(given.profile[:, column]) for column, table in enumerate(self.profile)]).sum(
            0
        )  # [B, P]
        count, width = given.item.shape
        parts = [dense, item, profile[:, None, :].expand(count, width, -1)]
        if self.config.attention:
            parts.extend(self._attend(given, item))
        start = torch.cat(parts, dim=-1)
        crossed = start
        for cross in self.crosses:
            crossed = cross(start, crossed)
        logits = self.out(torch.cat([crossed, self.deep(start)], dim=-1))  # [B, C, H]
        deep = logits[:, :, self.heads.index(self.target)]
        weight = nn.functional.softplus(self.collaborative_weight)
        collaborative = dense[:, :, self.collaborative_at] @ weight
        final = self.alpha * collaborative + (1.0 - self.alpha) * deep
        return RankerScores(final, deep, collaborative, logits)

    def score(self, given: RankerInput, mode: Mode = "hybrid") -> npt.NDArray[np.float32]:
        """[B, C] the score that orders, by ONNX Runtime if the ranker was loaded.

        Raises:
            NotFittedError: the trees are asked for and there are none.
        """
        if mode == "trees":
            return self._by_trees(given)
        if mode != "hybrid" or self.trees is None or not self.trees_weight:
            return self._by_network(given, "classic" if mode == "hybrid" else mode)
        if self.trees_weight == 1.0:
            return self._by_trees(given)
        # Both are log-odds, and each list's are its own: what is asked beside it changes no bit of them.
        share = np.float32(self.trees_weight)
        return (np.float32(1.0) - share) * self._by_network(given, "classic") + share * self._by_trees(given)

    def logits(self, given: RankerInput) -> npt.NDArray[np.float32]:
        """[B, C, H] what each head says, in the order of `heads`; see `models.probabilities` for what that means."""
        if self.served:
            found: npt.NDArray[np.float32] = self.served(**given.arrays())[-1]
            return found
        with torch.inference_mode():
            return self(given.tensors()).logits.float().numpy()

    def _by_trees(self, given: RankerInput) -> npt.NDArray[np.float32]:
        if self.trees is None:
            raise NotFittedError("trees: this ranker has none; train again")
        return self.trees.score(given.features, given.codes)

    def _by_network(self, given: RankerInput, mode: Mode) -> npt.NDArray[np.float32]:
        if self.served:
            # Behind the scores are the logits; not so in a bundle from before they were served.
            by_mode = dict(zip(_SCORES.values(), self.served(**given.arrays()), strict=False))
            return by_mode[mode]
        with torch.inference_mode():
            scores = self(given.tensors())
        by_mode = {of: getattr(scores, name).float().numpy() for name, of in _SCORES.items()}
        return by_mode[mode]

    def export(self, file: Path) -> None:
        """Writes the network as it is served, in ONNX."""
        ints = torch.zeros(2, 2, dtype=torch.int64)
        session = torch.zeros(2, SESSION_EVENTS, dtype=torch.int64)
        kinds = len(self.codes)
        example = {
            "features": torch.zeros(2, 2, len(self.mean)),
            "item": ints,
            "codes": ints[:, :, None].expand(-1, -1, kinds),
            "session": session,
            "session_codes": session[:, :, None].expand(-1, -1, kinds),
            "session_kind": session,
            "session_gap": session,
            "profile": torch.zeros(2, len(self.profile), dtype=torch.int64),
        }
        dynamic = {name: _LISTS if name in ("features", "item", "codes") else _USERS for name in example}
        export(_Flat(self).eval(), example, [*_SCORES, _LOGITS], file, dynamic, self.graph)

    def _item(self, item: Tensor, codes: Tensor) -> Tensor:
        parts = [self.item(item), *(table(codes[..., column]) for column, table in enumerate(self.codes))]
        return torch.cat(parts, dim=-1)

    def _attend(self, given: RankerTensors, item: Tensor) -> list[Tensor]:
        """[B, C, D] what the session says to each candidate, and [B, C, 1] how close the closest event is."""
        events = self._item(given.session, given.session_codes)  # [B, L, D]
        keys = events + self.kind(given.session_kind) + self.gap(given.session_gap)
        closeness = item @ keys.transpose(1, 2) / item.shape[-1] ** 0.5  # [B, C, L]
        closeness = closeness.masked_fill((given.session == 0)[:, None, :], -1e4)
        attended = closeness.softmax(-1) @ events
        return [attended * item, closeness.amax(-1, keepdim=True).clamp_min(-10.0)]
