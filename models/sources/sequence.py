"""What comes next after the last events: a transformer encoder over the session.

Self-attentive sequential recommendation (Kang and McAuley, 2018) with event-type and time-gap embeddings, tied item
embeddings and a sampled softmax corrected for the sampling probabilities (logQ; Yi et al., 2019).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from feature_repo.schema import EVENT_TYPES, SESSION_EVENTS
from models.batch import Array, StateBatch
from models.errors import NotFittedError
from models.gaps import GAP_BUCKETS, gap_buckets_flat
from models.index import NOTHING, VectorIndex
from models.interactions import Interactions
from models.onnx import Session, export
from models.quiet import fit_quietly, precision
from models.sources.als import Als, AlsConfig
from models.sources.asked import ByVector
from models.sources.base import Scores, Source

_WEIGHTS, _CONFIG, _SERVED, _INDEX = "sequence.pt", "sequence.json", "encoder.onnx", "index"


@dataclass(frozen=True)
class SequenceConfig:
    """The encoder and its training."""

    dim: int = 64
    layers: int = 1
    heads: int = 2
    dropout: float = 0.1
    horizon_events: int = 50
    """A position's target is drawn from this many events after it: 1 for clicks, a basket or two for purchases."""
    repeat_weight: float = 0.1
    """Weight of a target that the user had already taken before; those are what the source `own` is for."""
    targets: int = 8
    """Positions per window that are trained on, drawn anew each time; all would cost more than they teach."""
    negatives: int = 768
    """Negatives per batch: half drawn from the targets, half uniformly."""
    batch_size: int = 128
    """Windows of `SESSION_EVENTS` events per batch."""
    epochs: int = 2
    """Passes over the events at the first fit."""
    refresh_epochs: int = 1
    """Passes over the newer events, with some older ones, when `fit` is called again."""
    learning_rate: float = 2e-3
    refresh_rate: float = 0.7
    """Learning rate of a later fit, relative to the first's."""
    rehearsal: float = 2.0
    """Older windows per newer one in a later fit, so that it does not forget."""
    warm_start: bool = True
    """Begin with item embeddings from matrix factorisation: rare items have a place before the first step."""
    prior_half_life_days: float = 60.0
    """Decay of the popularity that every item starts from."""
    threads: int = 0
    """Of the warm start; 0: all cores."""
    seed: int = 7


def _causal() -> Tensor:
    """[L, L] what a position must not see: the ones behind it."""
    return torch.triu(torch.ones(SESSION_EVENTS, SESSION_EVENTS, dtype=torch.bool), 1)


class Encoder(nn.Module):
    """Sessions [B, L] to vectors [B, L, dim]; each position sees itself and what came before."""

    def __init__(self, n_items: int, config: SequenceConfig) -> None:
        super().__init__()
        self.item = nn.Embedding(n_items, config.dim, padding_idx=0)
        self.kind = nn.Embedding(len(EVENT_TYPES) + 1, config.dim, padding_idx=0)
        self.gap = nn.Embedding(GAP_BUCKETS, config.dim)
        self.position = nn.Embedding(SESSION_EVENTS, config.dim)
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, 2 * config.dim, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(config.dim), enable_nested_tensor=False)
        self.drop = nn.Dropout(config.dropout)
        self.bias = nn.Embedding(n_items, 1)
        self.register_buffer("prior", torch.zeros(n_items))  # log popularity; follows every fit, is not learned
        self.prior: Tensor
        for table in (self.item, self.kind, self.gap, self.position):
            nn.init.normal_(table.weight, std=0.05)
        nn.init.zeros_(self.bias.weight)
        self.register_buffer("causal", _causal(), persistent=False)
        self.causal: Tensor

    def forward(self, item: Tensor, kind: Tensor, gap: Tensor) -> Tensor:
        """item, kind, gap [B, L] -> [B, L, dim]."""
        return self.encode(self.item(item), item == 0, kind, gap)

    def encode(self, vectors: Tensor, padded: Tensor, kind: Tensor, gap: Tensor) -> Tensor:
        """The items' vectors [B, L, dim]; padded, kind, gap [B, L] -> [B, L, dim]."""
        position = torch.arange(vectors.shape[1], device=vectors.device)
        hidden = self.drop(vectors + self.kind(kind) + self.gap(gap) + self.position(position))
        # A padded key is hidden from all but itself: a row of nothing but padding must not become NaN.
        hidden_keys = padded[:, None, :] | self.causal  # [B, L, L]
        itself = torch.eye(vectors.shape[1], dtype=torch.bool, device=vectors.device)
        mask = (hidden_keys & ~itself).repeat_interleave(self.blocks.layers[0].self_attn.num_heads, 0)
        out: Tensor = self.blocks(hidden, mask=mask)
        return out


class _Last(nn.Module):
    """The encoder as it is served: the items' vectors come from outside, the last position goes out."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, vectors: Tensor, padded: Tensor, kind: Tensor, gap: Tensor) -> Tensor:
        """[B, dim]"""
        return self.encoder.encode(vectors, padded, kind, gap)[:, -1]


class Sequence(Source):
    """Score of an item: its embedding times the encoder's last vector, plus its bias."""

    name: ClassVar[str] = "sequence"

    def __init__(self, config: SequenceConfig = SequenceConfig(), logger: Logger | None = None) -> None:
        self.config = config
        self.encoder: Encoder | None = None
        self._seen: Array | None = None
        """[n_items] items that had an event before the last fit"""
        self._fitted_until = -np.inf
        self._logger = logger
        self._index: VectorIndex | None = None
        self._served: Session | None = None
        """The encoder in ONNX Runtime, if it was loaded; after a fit, torch's is asked."""

    def fit(self, events: Interactions, now: float) -> Self:
        """Trains; called again with newer events, it goes on from where it was."""
        config = self.config
        lightning.seed_everything(config.seed, verbose=False)
        if self.encoder is None:
            self.encoder = Encoder(events.n_items, config)
            if config.warm_start:
                self._warm_start(events, now)
        self._place_new_items(events)
        popular = np.bincount(events.item, events.decayed(now, config.prior_half_life_days), events.n_items)
        self.encoder.prior.copy_(torch.from_numpy(np.log1p(popular).astype(np.float32)))
        data = _Windows(events, self._fitted_until, config)
        epochs = config.epochs if self._fitted_until == -np.inf else config.refresh_epochs
        if len(data) and epochs:
            rate = config.learning_rate * (1.0 if self._fitted_until == -np.inf else config.refresh_rate)
            training = _Training(self.encoder, data, config, epochs, rate)
            fit_quietly(
                lightning.Trainer(
                    max_epochs=epochs,
                    accelerator="auto",
                    devices=1,
                    precision=precision(),
                    logger=self._logger or False,
                    callbacks=self._checkpoints(now),
                    enable_checkpointing=self._logger is not None,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    gradient_clip_val=1.0,
                    log_every_n_steps=20,
                ),
                training,
                DataLoader(data, batch_size=None),
            )
        self.encoder.cpu().eval()
        self._seen = np.bincount(events.item, minlength=events.n_items) > 0
        self._fitted_until = now
        self._index, self._served = self._new_index(), None
        return self

    def _checkpoints(self, now: float) -> list[Callback]:
        """The weights after each fit, under the run's folder, by the cut that they were fitted for."""
        if self._logger is None or self._logger.save_dir is None:
            return []
        folder = Path(self._logger.save_dir) / "checkpoints"
        return [ModelCheckpoint(folder, f"sequence-{int(now)}", save_weights_only=True, enable_version_counter=False)]

    def _warm_start(self, events: Interactions, now: float) -> None:
        assert self.encoder is not None
        als = Als(AlsConfig(self.config.dim, iterations=6, threads=self.config.threads, seed=self.config.seed))
        factors = als.fit(events, now).factors
        assert factors is not None
        # Not the factors' length, which is popularity and belongs to the bias, but their direction.
        length = np.linalg.norm(factors, axis=1, keepdims=True)
        direction = factors / np.maximum(length, 1e-12) * (length > 0)
        with torch.no_grad():
            self.encoder.item.weight[:, : factors.shape[1]] = torch.from_numpy(direction)
            self.encoder.item.weight[0] = 0.0

    def _place_new_items(self, events: Interactions) -> None:
        """Items that came after the last fit begin amid what their users have, not at random."""
        if self._seen is None:
            return
        assert self.encoder is not None
        new = np.flatnonzero((np.bincount(events.item, minlength=events.n_items) > 0) & ~self._seen)
        if not len(new):
            return
        matrix = events.matrix(np.ones(len(events), dtype=np.float32))
        table = self.encoder.item.weight.detach().numpy()
        known = table * self._seen[:, None]
        placed = matrix.T.tocsr()[new] @ (matrix @ known)  # [new, dim]
        typical = np.linalg.norm(table[self._seen], axis=1).mean()
        placed *= typical / np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-12)
        with torch.no_grad():
            self.encoder.item.weight[torch.from_numpy(new)] = torch.from_numpy(placed.astype(np.float32))

    @torch.inference_mode()
    def ask(self, batch: StateBatch) -> ByVector:
        """The sessions' vectors."""
        if self.encoder is None or self._index is None:
            raise NotFittedError("sequence: call fit or load first")
        item = batch.session_item
        given = {
            "vectors": self._table()[item],
            "padded": item == 0,
            "kind": batch.session_type.astype(np.int64),
            "gap": batch.session_gap,
        }
        if self._served:
            [hidden] = self._served(**given)
        else:
            hidden = _Last(self.encoder)(**{name: torch.from_numpy(array) for name, array in given.items()}).numpy()
        return ByVector(hidden, np.asarray(item.any(axis=1)), self._index)

    def _table(self) -> Scores:
        """[n_items, dim]"""
        assert self.encoder is not None
        table: Scores = self.encoder.item.weight.detach().numpy()
        return table

    def _new_index(self) -> VectorIndex:
        assert self.encoder is not None
        assert self._seen is not None
        bias = (self.encoder.bias.weight[:, 0] + self.encoder.prior).detach().numpy()
        bias = np.where(self._seen, bias, NOTHING).astype(np.float32)
        bias[0] = NOTHING
        return VectorIndex.build(self._table(), bias)

    @property
    def is_whole(self) -> bool:
        return self._index is None or self._index.is_whole

    def save(self, folder: Path) -> None:
        """Writes weights and configuration, and what is served: the encoder as ONNX, the index."""
        if self.encoder is None or self._seen is None or self._index is None:
            raise NotFittedError("sequence: nothing to save before fit")
        state = {**self.encoder.state_dict(), "seen": torch.from_numpy(self._seen)}
        torch.save(state, folder / _WEIGHTS)
        (folder / _CONFIG).write_text(json.dumps({"until": self._fitted_until, **asdict(self.config)}))
        flags = torch.zeros(2, SESSION_EVENTS, dtype=torch.bool)
        codes = torch.zeros(2, SESSION_EVENTS, dtype=torch.int64)
        vectors = torch.zeros(2, SESSION_EVENTS, self.config.dim)
        example = {"vectors": vectors, "padded": flags, "kind": codes, "gap": codes}
        dynamic = {name: {0: "users"} for name in example}
        export(_Last(self.encoder).eval(), example, ["hidden"], folder / _SERVED, dynamic)
        self._index.save(folder / _INDEX)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Tables are mapped, so that several processes share them in memory."""
        config = json.loads((folder / _CONFIG).read_text())
        until = config.pop("until")
        source = cls(SequenceConfig(**config))
        state = torch.load(folder / _WEIGHTS, weights_only=True, map_location="cpu", mmap=True)
        source._seen = state.pop("seen").numpy()
        with torch.device("meta"):
            encoder = Encoder(len(source._seen), source.config).eval()
        encoder.causal = _causal()
        encoder.load_state_dict(state, assign=True)
        source.encoder, source._fitted_until = encoder, until
        source._served, source._index = Session(folder / _SERVED), VectorIndex.load(folder / _INDEX)
        return source


class _Windows(Dataset[tuple[Tensor, ...]]):
    """Batches of windows: items, kinds, gaps, targets, target weights, each [batch_size, SESSION_EVENTS]."""

    def __init__(self, events: Interactions, since: float, config: SequenceConfig) -> None:
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        self.events = events
        bounds = np.flatnonzero(np.diff(events.user, prepend=-1, append=-2))
        self.end = np.repeat(bounds[1:], np.diff(bounds))  # [E] where the event's user ends
        self.start = np.repeat(bounds[:-1], np.diff(bounds))
        pair = events.user.astype(np.int64) * events.n_items + events.item
        _, first = np.unique(pair, return_index=True)  # events are in time order within a user
        self.weight = np.full(len(events), config.repeat_weight)
        self.weight[first] = 1.0
        ends = [np.arange(stop - 1, start - 1, -SESSION_EVENTS) for start, stop in pairwise(bounds) if stop - start > 1]
        windows = np.concatenate(ends) if ends else np.empty(0, dtype=np.int64)
        fresh = events.time[windows] >= since
        older = self.rng.permutation(windows[~fresh])[: int(fresh.sum() * config.rehearsal)]
        self.windows = np.concatenate([windows[fresh], older])
        self.gap = gap_buckets_flat(events.time, events.user)

    def __len__(self) -> int:
        return -(-len(self.windows) // self.config.batch_size)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        if index >= len(self):
            raise IndexError(index)
        if index == 0:
            self.rng.shuffle(self.windows)
        ends = self.windows[index * self.config.batch_size : (index + 1) * self.config.batch_size]
        # Each epoch cuts the history elsewhere.
        ends = ends - self.rng.integers(0, SESSION_EVENTS, len(ends))
        ends = np.maximum(ends, self.start[self.windows[index * self.config.batch_size :][: len(ends)]])
        at = ends[:, None] + np.arange(-SESSION_EVENTS + 1, 1)  # [b, L]
        inside = at >= self.start[ends][:, None]
        at = np.maximum(at, 0)
        ahead = 1 + self.rng.integers(0, self.config.horizon_events, at.shape)
        stop = self.end[ends][:, None]
        room = np.maximum(stop - 1 - at, 1)
        target = at + np.where(ahead > room, 1 + ahead % room, ahead)
        valid = inside & (target < stop)
        target = np.minimum(target, len(self.events) - 1)
        weight = np.where(valid, self.weight[target], 0.0)
        lot = self.rng.random(at.shape) * (weight > 0)
        weight = np.where(
            lot >= -np.partition(-lot, self.config.targets, axis=1)[:, self.config.targets, None], weight, 0.0
        )
        kept = [np.where(inside, column[at], 0) for column in (self.events.item, self.events.kind, self.gap)]
        arrays = (*kept, np.where(weight > 0, self.events.item[target], 0))
        return (*(torch.from_numpy(a.astype(np.int64)) for a in arrays), torch.from_numpy(weight.astype(np.float32)))


class _Training(lightning.LightningModule):
    """Sampled softmax over the batch's own targets and uniform negatives."""

    def __init__(self, encoder: Encoder, data: _Windows, config: SequenceConfig, epochs: int, rate: float) -> None:
        super().__init__()
        self.encoder, self.config, self.rate = encoder, config, rate
        self.steps = max(1, len(data) * epochs)
        events = data.events
        share = np.bincount(events.item, weights=data.weight, minlength=events.n_items)
        share = share / share.sum()
        self.register_buffer("share", torch.from_numpy(share.astype(np.float32)), persistent=False)
        self.share: Tensor

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        item, kind, gap, target, weight = batch
        hidden = self.encoder(item, kind, gap)
        rows = weight > 0
        if not bool(rows.any()):
            return hidden.sum() * 0.0
        hidden, target, weight = hidden[rows], target[rows], weight[rows]  # [T, dim], [T], [T]
        n_items, half = self.encoder.item.num_embeddings, self.config.negatives // 2
        drawn = target[torch.multinomial(weight, min(half, len(target)), replacement=False)] if half else target[:0]
        uniform = torch.randint(1, n_items, (self.config.negatives - half,), device=target.device)
        negative = torch.cat([drawn, uniform])  # [N]
        expected = len(drawn) * self.share + len(uniform) / max(1, n_items - 1)  # [n_items] expected draws
        table = self.encoder.item
        scores = hidden @ table(negative).T + self.encoder.prior[negative] + self.encoder.bias(negative)[:, 0]  # [T, N]
        scores = scores - expected[negative].log()
        scores = scores.masked_fill(negative == target[:, None], -1e9)
        positive = (
            (hidden * table(target)).sum(-1) + self.encoder.prior[target] + self.encoder.bias(target)[:, 0]
        )  # [T]
        loss = torch.logsumexp(torch.cat([positive[:, None], scores], 1).float(), 1) - positive.float()
        mean: Tensor = (loss * weight).sum() / weight.sum()
        self.log("sequence/loss", mean, batch_size=len(item))
        return mean

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.encoder.parameters(), lr=self.rate, weight_decay=0.01, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=self.steps + 1, pct_start=0.15)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
