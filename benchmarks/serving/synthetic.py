"""A champion with many more items than it was trained with: every further item is a real one with some noise.

So lengths of vectors, popularity and the number of neighbours are spread as in a real catalogue, with its long tail.
The real items stay as they are: users' histories refer to them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from feature_repo.lake import Lake
from feature_repo.schema import PROFILE_COLUMNS
from feature_repo.store import Features
from infra.settings import settings
from models import bundle, registry
from models.batch import encode
from models.candidates import CandidateConfig, generate
from models.items import ItemTable, Texts
from models.ranker import Ranker
from models.recommender import Recommender
from models.sources.als import Als
from models.sources.base import Source
from models.sources.encoder import Encoder
from models.sources.neighbours import Neighbours
from models.sources.own import Own
from models.sources.popularity import Popularity
from models.sources.sequence import Sequence
from models.state import DAY_S, UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

RANKED: Final = CandidateConfig(own=150, new=160)
"""About 500 candidates of all sources together, on the shop's data."""
NOISE: Final = 0.3
"""Length of the noise on a vector, as a share of the vector's; standard deviation of the one on a log popularity."""
SEED: Final = 7
Numbers = npt.NDArray[Any]


def shop_of(n_items: int) -> dict[str, str]:
    """The environment of a service whose champion has so many items and ranks `RANKED` of them; made at the first call.

    It has a home of its own, over the store and the registry of this process's settings.
    """
    config = settings()
    home = config.home.with_name(f"of-{n_items}")
    if not home.exists():
        home.mkdir()
        (home / "lake").symlink_to(config.lake.resolve())
        real = registry.bundle_path(registry.champion(config.champion).tag)
        # Newer than any refresh of the real items, which would take the further ones' features away.
        items_at = Lake(config.lake).newest_event().timestamp() + 365 * DAY_S
        large = enlarge(real, home / "bundle", n_items, items_at)
        tag = registry.publish(large, {})
        shutil.rmtree(large)  # gigabytes
        registry.crown(home / config.champion.name, tag)
    return {"KAIROS_HOME": str(home), "KAIROS_REGISTRY": str(config.feast / "registry.db")}


def catalogue(environment: dict[str, str], users: list[str]) -> dict[str, float]:
    """How many items the shop's champion knows, and how many it ranks for a user, on average over some."""
    config = settings()
    folder = registry.bundle_path(registry.champion(Path(environment["KAIROS_HOME"]) / config.champion.name).tag)
    model, features = bundle.load(folder), Features.open(config)
    names, now = bundle.manifest(folder)["features"], config.clock_start or features.lake.newest_event()
    ranked = []
    for user in users:
        row = features.online_row(user, names, now)
        batch = encode([UserState.from_row(user, row.values, now.timestamp())], model.vocabulary, model.others)
        ranked.append(int((generate(model.sources, batch, model.candidates).items > 0).sum()))
    return {"items": len(model.item_names), "ranked": round(fmean(ranked), 1)}


def enlarge(folder: Path, into: Path, n_items: int, items_at: float) -> Path:
    """Writes a bundle of `n_items` items made from another one.

    Args:
        folder: of a bundle with fewer items.
        into: where to.
        items_at: as of when the item table claims to be; a service keeps it while it finds no newer one.
    """
    manifest = bundle.manifest(folder)
    enlarged = replace(_Enlarge(bundle.load(folder), n_items).recommender(), candidates=RANKED)
    kept = {name: manifest[name] for name in ("feature_service", "features", "item_features", "fingerprint")}
    return bundle.save(enlarged, into, **kept, items_at=items_at)


class _Enlarge:
    def __init__(self, real: Recommender, n_items: int) -> None:
        self._real = real
        self._rng = np.random.default_rng(SEED)
        size = len(real.vocabulary.items)  # with the unknown item
        self._size = size
        further = self._rng.integers(1, size, n_items + 1 - size)
        self._of = np.concatenate([np.arange(size), further])
        """[n items + 1] the real item that each item is made of"""

    def recommender(self) -> Recommender:
        real = self._real
        names = real.vocabulary.items.names
        made_up = (f"synthetic-{number}" for number in range(len(self._of) - self._size))
        items = type(real.vocabulary.items)([*names, *made_up])
        vocabulary = replace(real.vocabulary, items=items)
        shown = Texts(real.items.names.codes[self._of], real.items.names.values)
        table = ItemTable(real.items.codes[self._of], real.items.numbers[self._of], shown)
        sources = {name: self._source(source) for name, source in real.sources.items()}
        ranker = None if real.ranker is None else self._ranker(real.ranker, vocabulary)
        return replace(real, vocabulary=vocabulary, items=table, sources=sources, ranker=ranker)

    def _source(self, source: Source) -> Source:
        if isinstance(source, Own):
            own = Own(source.config)
            own.n_items = len(self._of)
            return own
        if isinstance(source, Popularity):
            popularity = Popularity(source.config)
            popularity._set(self._shaken(source.item_scores[self._of]))
            return popularity
        if isinstance(source, Als):
            als = Als(source.config)
            als._set(self._turned(source.factors[self._of]))
            return als
        if isinstance(source, Neighbours):
            neighbours = Neighbours(source.config)
            neighbours.ties = self._ties(source.ties)
            return neighbours
        assert isinstance(source, Sequence)
        return self._sequence(source)

    def _sequence(self, source: Sequence) -> Sequence:
        encoder = Encoder(len(self._of), source.config)
        weights = self._rows(source.encoder.state_dict())
        weights["item.weight"] = torch.from_numpy(self._turned(weights["item.weight"].numpy()))
        weights["prior"] = torch.from_numpy(self._shaken(weights["prior"].numpy()))
        encoder.load_state_dict(weights)
        sequence = Sequence(source.config)
        sequence.encoder, sequence._seen = encoder.eval(), source._seen[self._of]
        sequence._fitted_until = source._fitted_until
        sequence._index = sequence._new_index()
        return sequence

    def _ranker(self, ranker: Ranker, vocabulary: Vocabulary) -> Ranker:
        enlarged = Ranker(
            ranker.config,
            n_features=len(self._real.space.names),
            collaborative=self._real.space.collaborative,
            n_items=len(self._of),
            code_sizes=vocabulary.sizes(ITEM_CATEGORICALS),
            profile_sizes=vocabulary.sizes(PROFILE_COLUMNS),
            heads=ranker.heads,
            target=ranker.target,
        )
        enlarged.load_state_dict(self._rows(ranker.state_dict()))
        enlarged.trees, enlarged.trees_weight = ranker.trees, ranker.trees_weight
        return enlarged.eval()

    def _rows(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights with a row per item get the rows of the further ones; the others stay."""
        of = torch.from_numpy(self._of)
        return {
            name: tensor[of] if tensor.ndim and len(tensor) == self._size else tensor
            for name, tensor in weights.items()
        }

    def _ties(self, real: sparse.csr_matrix) -> sparse.csr_matrix:
        """Each item has the neighbours of its real item, any copy of them in their place."""
        order = np.argsort(self._of, kind="stable")
        first = np.searchsorted(self._of[order], np.arange(self._size + 1))  # where each real item's copies begin
        found = real[self._of]
        copies = np.diff(first)[found.indices]
        picked = first[found.indices] + (self._rng.random(len(copies), np.float32) * copies).astype(np.int64)
        indices = order[picked].astype(np.int32)
        ties = sparse.csr_matrix((found.data, indices, found.indptr), shape=(len(self._of),) * 2)
        ties.sort_indices()
        return ties

    def _turned(self, vectors: Numbers) -> Numbers:
        """Noise on the further items' vectors, in proportion to their length; none where there is no vector."""
        out = np.array(vectors, dtype=np.float32)
        further = out[self._size :]
        length = np.linalg.norm(further, axis=1, keepdims=True)
        noise = self._rng.standard_normal(further.shape, np.float32) / np.sqrt(np.float32(further.shape[1]))
        further += NOISE * length * noise
        return out

    def _shaken(self, scores: Numbers) -> Numbers:
        """Noise on the further items' scores."""
        out = np.array(scores, dtype=np.float32)
        out[self._size :] += NOISE * self._rng.standard_normal(len(out) - self._size, np.float32)
        return out
