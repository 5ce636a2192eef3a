"""What the graph of users and items carries along: LightGCN (He et al., 2020), trained with a softmax over items.

Vectors are averaged over layers of neighbours' vectors, damped by the roots of the degrees. A user who was not there at
training gets a vector from their items, as one more node of the graph would.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning
import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING, VectorIndex
from models.interactions import Interactions
from models.quiet import fit_quietly, plain_trainer
from models.shuffled import Shuffled, batches
from models.sources.asked import ByVector
from models.sources.base import Scores, Source

_CONFIG, _VECTORS, _INDEX = "light_gcn.json", "vectors.npz", "index"


@dataclass(frozen=True)
class LightGcnConfig:
    """The graph and the training."""

    dim: int = 64
    layers: int = 3
    negatives: int = 1024
    """Items per batch that every pair of it is told apart from, drawn from its pairs and uniformly in halves."""
    temperature: float = 0.15
    """Of the cosine: the smaller, the more the hardest negatives count."""
    decay: float = 1e-6
    batch_size: int = 8192
    """Pairs; the whole graph is gone through once for each batch."""
    epochs: int = 20
    learning_rate: float = 5e-3
    seed: int = 7


class LightGcn(Source):
    """Score of an item: the cosine of its vector with the mean of the user's items', by their degrees."""

    name: ClassVar[str] = "light_gcn"

    def __init__(self, config: LightGcnConfig = LightGcnConfig()) -> None:
        self.config = config
        self._from: Scores | None = None
        """[n_items, dim] what an item adds to the vector of a user who has it"""
        self._index: VectorIndex | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Trains; called again, anew."""
        config = self.config
        lightning.seed_everything(config.seed, verbose=False)
        taken = events.taken()
        graph = _Graph(taken, config)
        pairs = taken.tocoo()
        user, item = (torch.from_numpy(part.astype(np.int64)) for part in (pairs.row, pairs.col))
        data = Shuffled(len(user), config.batch_size, config.seed, lambda rows: (user[rows], item[rows]))
        fit_quietly(plain_trainer(config.epochs), _Training(graph, config), batches(data))
        with torch.inference_mode():
            _, items = graph.cpu().eval()()
        degree = np.asarray(taken.sum(axis=0)).ravel()
        vectors = nn.functional.normalize(items).numpy()
        vectors[degree == 0] = 0.0
        into = items.numpy() / np.sqrt(np.maximum(degree, 1.0))[:, None]
        self._from = np.where(degree[:, None] > 0, into, 0.0).astype(np.float32)
        self._index = VectorIndex.build(vectors, np.where(degree > 0, np.float32(0.0), NOTHING))
        return self

    def ask(self, batch: StateBatch) -> ByVector:
        """The users' vectors."""
        if self._from is None or self._index is None:
            raise NotFittedError("light_gcn: call fit or load first")
        users = batch.own_matrix(len(self._from)) @ self._from
        length = np.linalg.norm(users, axis=1, keepdims=True)
        return ByVector(users / np.maximum(length, 1e-12), length[:, 0] > 0, self._index)

    @property
    def is_whole(self) -> bool:
        return self._index is None or self._index.is_whole

    def save(self, folder: Path) -> None:
        """Writes the items' vectors and their index."""
        if self._from is None or self._index is None:
            raise NotFittedError("light_gcn: nothing to save before fit")
        np.savez(folder / _VECTORS, into=self._from)
        self._index.save(folder / _INDEX)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(LightGcnConfig(**json.loads((folder / _CONFIG).read_text())))
        with np.load(folder / _VECTORS, allow_pickle=False) as vectors:
            source._from = vectors["into"]
        source._index = VectorIndex.load(folder / _INDEX)
        return source


class _Graph(nn.Module):
    """No input; users' vectors [U, dim] and items' [n_items, dim] out."""

    def __init__(self, taken: sparse.csr_matrix, config: LightGcnConfig) -> None:
        super().__init__()
        self.layers = config.layers
        users, items = taken.shape
        self.user, self.item = nn.Embedding(users, config.dim), nn.Embedding(items, config.dim)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        of_user, of_item = (np.maximum(np.asarray(taken.sum(axis=axis)).ravel(), 1.0) for axis in (1, 0))
        damped = (sparse.diags(of_user**-0.5) @ taken @ sparse.diags(of_item**-0.5)).tocsr().astype(np.float32)
        self.register_buffer("to_user", _tensor(damped), persistent=False)
        self.register_buffer("to_item", _tensor(damped.T.tocsr()), persistent=False)
        self.to_user: Tensor
        self.to_item: Tensor

    def forward(self) -> tuple[Tensor, Tensor]:
        user, item = self.user.weight, self.item.weight
        users, items = [user], [item]
        for _ in range(self.layers):
            user, item = self.to_user @ item, self.to_item @ user
            users.append(user)
            items.append(item)
        return torch.stack(users).mean(0), torch.stack(items).mean(0)


def _tensor(matrix: sparse.csr_matrix) -> Tensor:
    starts, columns = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    return torch.sparse_csr_tensor(starts, columns, torch.from_numpy(matrix.data), size=matrix.shape)


class _Training(lightning.LightningModule):
    def __init__(self, graph: _Graph, config: LightGcnConfig) -> None:
        super().__init__()
        self.graph, self.config = graph, config

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        user, item = batch
        users, items = self.graph()
        half = self.config.negatives // 2
        drawn = item[torch.randint(len(item), (half,), device=item.device)]
        uniform = torch.randint(1, len(items), (half,), device=item.device)
        negative = torch.cat([drawn, uniform])
        asked = nn.functional.normalize(users[user])
        right = (asked * nn.functional.normalize(items[item])).sum(1, keepdim=True)
        wrong = asked @ nn.functional.normalize(items[negative]).T
        wrong = wrong.masked_fill(negative == item[:, None], -1.0)
        scores = torch.cat([right, wrong], 1) / self.config.temperature
        loss = nn.functional.cross_entropy(scores, torch.zeros(len(user), dtype=torch.long, device=user.device))
        length = self.graph.user(user).square().sum(1) + self.graph.item(item).square().sum(1)
        return loss + self.config.decay * length.mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)
