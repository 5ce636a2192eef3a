"""How the sequence encoder is trained: a softmax over what came next, sampled with logQ correction or over all items.

Sampled softmax corrected for the sampling probabilities: Yi et al. (2019).
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.utils.data import Dataset

from models.batch import Array
from models.gaps import gap_buckets_flat
from models.interactions import Interactions
from models.processes import mean_of_all, place
from models.quiet import fit_quietly, plain_trainer
from models.shuffled import batches
from models.sources import encoder as encoder_module
from models.sources.als import Als, AlsConfig
from models.sources.encoder import Encoder, SequenceConfig
from models.unfinished import Unfinished, keep_random, key_of, restore_random


def train_encoder(
    encoder: Encoder | None,
    seen: Array | None,
    events: Interactions,
    now: float,
    until: float,
    config: SequenceConfig,
    logger: Logger | None = None,
    unfinished: Unfinished | None = None,
) -> Encoder:
    """Trains a new encoder, or goes on with one.

    Several processes (`SequenceConfig.devices`) take equal parts of each batch, so that the gradient is the one of the
    whole batch however many they are.

    Args:
        encoder: trained on events before `until`; None: a new one.
        seen: [n_items] the items of those events.
        events: to learn from, all before `now` (epoch s).
        config: choices.
        logger: where the loss goes.
        unfinished: where each epoch is kept; a fit that was killed goes on after its last whole epoch, and draws what
            it would have drawn.
    """
    lightning.seed_everything(config.seed, verbose=False)
    if encoder is None:
        encoder = Encoder(events.n_items, config)
        if config.warm_start:
            _warm_start(encoder, events, now, config)
    if seen is not None:
        _place_new_items(encoder, events, seen)
    popular = np.bincount(events.item, events.decayed(now, config.prior_half_life_days), events.n_items)
    encoder.prior.copy_(torch.from_numpy(np.log1p(popular).astype(np.float32)))
    data = _Windows(events, until, config)
    is_first = until == -np.inf
    epochs = config.epochs if is_first else config.refresh_epochs
    if len(data) and epochs:
        rate = config.learning_rate * (1.0 if is_first else config.refresh_rate)
        training = _Training(encoder, data, config, epochs, rate)
        key = _key(encoder, events, now, until, config) if unfinished else ""
        trainer = plain_trainer(
            epochs,
            devices=config.devices,
            logger=logger or False,
            callbacks=[unfinished.checkpoint(key)] if unfinished else [],
            enable_checkpointing=unfinished is not None,
            gradient_clip_val=1.0,
            log_every_n_steps=20,
        )
        fit_quietly(trainer, training, batches(data), ckpt_path=unfinished.found(key) if unfinished else None)
    return encoder.cpu().eval()


def _key(encoder: Encoder, events: Interactions, now: float, until: float, config: SequenceConfig) -> str:
    choices = {name: choice for name, choice in asdict(config).items() if name not in ("devices", "threads")}
    code = [Path(file).read_text() for file in (__file__, encoder_module.__file__)]
    columns = (events.user, events.item, events.kind, events.time)
    weights = (tensor.detach().cpu().numpy() for tensor in encoder.state_dict().values())
    return key_of(
        {**choices, "now": now, "until": until, "code": code, "torch": torch.__version__}, (*columns, *weights)
    )


def _warm_start(encoder: Encoder, events: Interactions, now: float, config: SequenceConfig) -> None:
    als = Als(AlsConfig(config.dim, iterations=6, threads=config.threads, seed=config.seed))
    factors = als.fit(events, now).factors
    assert factors is not None
    # Not the factors' length, which is popularity and belongs to the bias, but their direction.
    length = np.linalg.norm(factors, axis=1, keepdims=True)
    direction = factors / np.maximum(length, 1e-12) * (length > 0)
    with torch.no_grad():
        encoder.item.weight[:, : factors.shape[1]] = torch.from_numpy(direction)
        encoder.item.weight[0] = 0.0


def _place_new_items(encoder: Encoder, events: Interactions, seen: Array) -> None:
    """Items that came after the last fit begin amid what their users have, not at random."""
    new = np.flatnonzero((np.bincount(events.item, minlength=events.n_items) > 0) & ~seen)
    if not len(new):
        return
    matrix = events.matrix(np.ones(len(events), dtype=np.float32))
    table = encoder.item.weight.detach().numpy()
    known = table * seen[:, None]
    placed = matrix.T.tocsr()[new] @ (matrix @ known)  # [new, dim]
    typical = np.linalg.norm(table[seen], axis=1).mean()
    placed *= typical / np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-12)
    with torch.no_grad():
        encoder.item.weight[torch.from_numpy(new)] = torch.from_numpy(placed.astype(np.float32))


class _Windows(Dataset[tuple[Tensor, ...]]):
    """Batches of windows of similar length L: items, kinds, gaps, targets, target weights, each [batch_size, L]."""

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
        step = config.length
        ends = [np.arange(stop - 1, start - 1, -step) for start, stop in pairwise(bounds) if stop - start > 1]
        windows = np.concatenate(ends) if ends else np.empty(0, dtype=np.int64)
        fresh = events.time[windows] >= since
        older = self.rng.permutation(windows[~fresh])[: int(fresh.sum() * config.rehearsal)]
        self.windows = np.concatenate([windows[fresh], older])
        self.gap = gap_buckets_flat(events.time, events.user)
        self.ends: list[Array] = []
        """The ends of each batch's windows, made anew for each epoch"""

    def __len__(self) -> int:
        return -(-len(self.windows) // self.config.batch_size)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        if index >= len(self):
            raise IndexError(index)
        if index == 0:
            self._begin_epoch()
        ends = self.ends[index]
        start = self.start[ends]
        width = int(min((ends - start).max() + 1, self.config.length))
        at = ends[:, None] + np.arange(-width + 1, 1)  # [b, L]
        inside = at >= start[:, None]
        at = np.maximum(at, 0)
        ahead = 1 + self.rng.integers(0, self.config.horizon_events, at.shape)
        stop = self.end[ends][:, None]
        room = np.maximum(stop - 1 - at, 1)
        target = at + np.where(ahead > room, 1 + ahead % room, ahead)
        valid = inside & (target < stop)
        target = np.minimum(target, len(self.events) - 1)
        weight = np.where(valid, self.weight[target], 0.0)
        if (count := self.config.targets) < width:
            lot = self.rng.random(at.shape) * (weight > 0)
            weight = np.where(lot >= -np.partition(-lot, count, axis=1)[:, count, None], weight, 0.0)
        kept = [np.where(inside, column[at], 0) for column in (self.events.item, self.events.kind, self.gap)]
        arrays = (*kept, np.where(weight > 0, self.events.item[target], 0))
        own = _share(len(ends))
        if not len(own):  # more processes than windows: what is left over looks at one and learns nothing
            own, weight = np.zeros(1, dtype=np.int64), np.zeros_like(weight)
        codes = (torch.from_numpy(array[own].astype(np.int64)) for array in arrays)
        return (*codes, torch.from_numpy(weight[own].astype(np.float32)))

    def _begin_epoch(self) -> None:
        """Cuts long histories elsewhere than before, and puts windows of one length together: no batch is padding."""
        start = self.start[self.windows]
        is_long = self.end[self.windows] - start > self.config.length
        shift = np.where(is_long, self.rng.integers(0, self.config.length, len(self.windows)), 0)
        ends = np.maximum(self.windows - shift, start)
        length = np.minimum(ends - start + 1, self.config.length)
        ends = ends[np.lexsort((self.rng.random(len(ends)), length))]
        parts = np.split(ends, np.arange(self.config.batch_size, len(ends), self.config.batch_size))
        self.ends = [parts[n] for n in self.rng.permutation(len(parts))]


def _share(count: int) -> Array:
    """Which of a batch's windows are this process's: all have the same number but for one."""
    return np.arange(count)[slice(place()[0], None, place()[1])]


class _Training(lightning.LightningModule):
    """Softmax over what came next."""

    def __init__(self, encoder: Encoder, data: _Windows, config: SequenceConfig, epochs: int, rate: float) -> None:
        super().__init__()
        self.encoder, self.data, self.config, self.rate = encoder, data, config, rate
        self.steps = max(1, len(data) * epochs)
        events = data.events
        share = np.bincount(events.item, weights=data.weight, minlength=events.n_items)
        share = share / share.sum()
        self.register_buffer("share", torch.from_numpy(share.astype(np.float32)), persistent=False)
        self.share: Tensor

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        item, kind, gap, target, weight = batch
        hidden = self.encoder(item, kind, gap)
        # Gradients are averaged over processes: measured by the mean weight, they add up to those of the whole batch.
        total = mean_of_all(weight.sum())
        rows = weight > 0
        if not bool(rows.any()):
            return (hidden.sum() + self.encoder.bias.weight.sum()) * 0.0
        hidden, target, weight = hidden[rows], target[rows], weight[rows]  # [T, dim], [T], [T]
        loss = self._sampled(hidden, target, weight) if self.config.negatives else self._whole(hidden, target)
        mean: Tensor = (loss * weight).sum() / total
        self.log("sequence/loss", mean, batch_size=len(item))
        return mean

    def on_train_start(self) -> None:
        rank, _ = place()
        if rank:  # all begin with the same random numbers: dropout and negatives would be the same on each
            torch.manual_seed(self.config.seed + rank + 1_000 * self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keep_random(checkpoint, self.data.rng)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        restore_random(checkpoint, self.data.rng)

    def _whole(self, hidden: Tensor, target: Tensor) -> Tensor:
        """[T] over every item that may be proposed."""
        bias = self.encoder.prior + self.encoder.bias.weight[:, 0]
        # The logits are by far the largest tensor, so item 0 is barred in the bias, and the bias goes into the product.
        bias = torch.cat([bias.new_full((1,), -1e9), bias[1:]])
        scores = torch.addmm(bias, hidden, self.encoder.item.weight.T)  # [T, n_items]
        return torch.nn.functional.cross_entropy(scores.float(), target, reduction="none")

    def _sampled(self, hidden: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """[T] over the batch's own targets and uniform negatives."""
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
        return torch.logsumexp(torch.cat([positive[:, None], scores], 1).float(), 1) - positive.float()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.encoder.parameters(), lr=self.rate, weight_decay=0.01, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=self.steps + 1, pct_start=0.15)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
