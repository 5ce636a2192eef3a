"""What an autoencoder of whole tastes fills in: Mult-VAE (Liang et al., 2018)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from models.batch import Array, StateBatch
from models.errors import NotFittedError
from models.index import NOTHING
from models.interactions import Interactions
from models.quiet import fit_quietly, plain_trainer
from models.shuffled import Shuffled, batches
from models.sources.asked import Dense
from models.sources.base import Source

_CONFIG, _WEIGHTS = "mult_vae.json", "mult_vae.pt"


@dataclass(frozen=True)
class MultVaeConfig:
    """The network and its training."""

    hidden: int = 300
    latent: int = 128
    dropout: float = 0.5
    """Of the user's items: what is dropped must be filled in."""
    divergence: float = 0.2
    """The most that the divergence from the prior weighs; it grows to that over the first half of the training."""
    batch_size: int = 256
    epochs: int = 30
    learning_rate: float = 1e-3
    seed: int = 7


class MultVae(Source):
    """Score of an item: the decoder's logit for it, given the user's items."""

    name: ClassVar[str] = "mult_vae"

    def __init__(self, config: MultVaeConfig = MultVaeConfig()) -> None:
        self.config = config
        self._network: _Network | None = None
        self._seen: Array | None = None
        """[n_items] items that had an event"""

    def fit(self, events: Interactions, now: float) -> Self:
        """Trains; called again, anew."""
        config = self.config
        lightning.seed_everything(config.seed, verbose=False)
        taken = events.taken()
        network = _Network(events.n_items, config)
        data = Shuffled(
            taken.shape[0], config.batch_size, config.seed, lambda rows: torch.from_numpy(taken[rows].toarray())
        )
        fit_quietly(plain_trainer(config.epochs), _Training(network, config, len(data)), batches(data))
        self._network = network.cpu().eval()
        self._seen = np.bincount(events.item, minlength=events.n_items) > 0
        return self

    @torch.inference_mode()
    def ask(self, batch: StateBatch) -> Dense:
        """The decoder's logits."""
        if self._network is None or self._seen is None:
            raise NotFittedError("mult_vae: call fit or load first")
        own = batch.own_matrix(len(self._seen)).toarray()
        scores = self._network(torch.from_numpy(own))[0].numpy().copy()
        scores[:, ~self._seen] = NOTHING
        scores[np.diff(batch.own_bounds) == 0] = NOTHING
        return Dense(scores)

    def save(self, folder: Path) -> None:
        """Writes weights and configuration."""
        if self._network is None or self._seen is None:
            raise NotFittedError("mult_vae: nothing to save before fit")
        torch.save({**self._network.state_dict(), "seen": torch.from_numpy(self._seen)}, folder / _WEIGHTS)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(MultVaeConfig(**json.loads((folder / _CONFIG).read_text())))
        state = torch.load(folder / _WEIGHTS, weights_only=True, map_location="cpu")
        source._seen = state.pop("seen").numpy()
        source._network = _Network(len(source._seen), source.config).eval()
        source._network.load_state_dict(state)
        return source


class _Network(nn.Module):
    """Items taken [B, n_items] to logits [B, n_items] and the divergence [B] of the latent distribution."""

    def __init__(self, n_items: int, config: MultVaeConfig) -> None:
        super().__init__()
        self.drop = nn.Dropout(config.dropout)
        self.encoder = nn.Sequential(
            nn.Linear(n_items, config.hidden), nn.Tanh(), nn.Linear(config.hidden, 2 * config.latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(config.latent, config.hidden), nn.Tanh(), nn.Linear(config.hidden, n_items)
        )

    def forward(self, taken: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(self.drop(nn.functional.normalize(taken))).chunk(2, dim=1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
        return self.decoder(latent), divergence


class _Training(lightning.LightningModule):
    def __init__(self, network: _Network, config: MultVaeConfig, batches: int) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.half = max(1, batches * config.epochs // 2)

    def training_step(self, taken: Tensor, index: int) -> Tensor:
        logits, divergence = self.network(taken)
        likelihood = -(torch.log_softmax(logits, 1) * taken).sum(1)
        weight = self.config.divergence * min(1.0, self.global_step / self.half)
        loss: Tensor = (likelihood + weight * divergence).mean()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)
