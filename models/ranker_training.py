"""Fitting the ranker: lists of candidates with what happened next, listwise and per-head losses, early stopping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import IterableDataset

from models.batch import Ints, StateBatch
from models.items import ItemTable
from models.quiet import fit_quietly, plain_trainer
from models.ranker import Ranker, RankerScores, RankerTensors, ranker_input
from models.shuffled import batches

_CHECKPOINT = "ranker"
_MONITOR = "ranker/validation_ndcg"
"""NDCG@10 of the held-out users over all candidates plus that over the novel ones."""
_HIDDEN = -1e4
_LEAST_STEPS = 20
"""Of the schedule of learning rates, which divides by the length of its first tenth less one: nothing at ten steps"""
_POINTWISE_SCALE = 5.0
_CUTOFF = 10
MOST_SPARED: Final = 10_000
"""So many users tell how often something happens; complete lists of more would only take memory."""


@dataclass(frozen=True)
class RankerTrainingConfig:
    """How the ranker is fitted."""

    list_size: int = 160
    """Candidates per training list: all positives among the candidates, the rest drawn from the others."""
    epochs: int = 3
    """At most; early stopping may end it before."""
    patience: int = 1
    """Epochs without a better validation NDCG before stopping."""
    batch_size: int = 48
    """Lists per step."""
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    listwise_weight: float = 0.3
    """Weight of the softmax over the list."""
    lambda_weight: float = 1.0
    """Weight of the pairwise loss in which a pair counts by what swapping it would change in NDCG@10."""
    pointwise_weight: float = 1.0
    """Weight of the binary cross-entropy of the score itself: it tells very likely from likely, at the very top."""
    novel_weight: float = 1.0
    """Weight of the list's losses over what the user did not have before; 1 counts as much as those over all."""
    part_weight: float = 0.3
    """Weight of the losses that keep the deep and the collaborative score good on their own."""
    head_weight: float = 0.1
    """Weight of each head's binary cross-entropy."""
    refresh_epochs: int = 1
    """At most, in a later fit, see `again`."""
    refresh_users: int = 450
    """Of so many users at most, drawn by lot, in a later fit: more say the same again."""
    refresh_rate: float = 0.3
    """Learning rate of a later fit, relative to the first's."""
    validation_share: float = 0.1
    """Share of the users kept for early stopping."""
    seed: int = 7

    def again(self) -> RankerTrainingConfig:
        """For a ranker that was fitted before, on lists of one cut: a few steps, small enough not to forget."""
        return replace(self, epochs=self.refresh_epochs, learning_rate=self.learning_rate * self.refresh_rate)


@dataclass(frozen=True)
class Lists:
    """Candidate lists of the users of one cut."""

    batch: StateBatch
    """L users"""
    items: Ints
    """[L, C], 0 where padded"""
    features: npt.NDArray[np.float16]
    """[L, C, F]"""
    labels: npt.NDArray[np.bool_]
    """[L, C, H] what happened in the horizon, per head"""
    novel: npt.NDArray[np.bool_]
    """[L, C] the user did not have it before"""
    user: Ints
    """[L] numbers of the users, the same over all cuts"""

    def __len__(self) -> int:
        return len(self.items)


def fit_ranker(
    ranker: Ranker,
    lists: list[Lists],
    table: ItemTable,
    config: RankerTrainingConfig,
    run_dir: Path,
    *,
    scaled: bool = False,
) -> dict[str, float]:
    """Fits in place and leaves the best epoch's weights; logs and checkpoints go under `run_dir`.

    Args:
        scaled: the ranker was fitted before and keeps its scaling of the features, which its weights were made for.

    Returns:
        Figures of the fit: best validation NDCG (all plus novel), epochs, the learned alpha.
    """
    lightning.seed_everything(config.seed, verbose=False)
    held = held_users(lists, config)
    if not scaled:
        ranker.set_scaling(*_moments(lists))
    training = _Batches(lists, table, config, rows=[np.flatnonzero(~np.isin(p.user, held)) for p in lists])
    validation = _Batches(lists, table, config, [np.flatnonzero(np.isin(p.user, held)) for p in lists], shuffle=False)
    if not training.size or not validation.size:  # too few users to spare some: the training loss decides
        training = validation = _Batches(lists, table, config, [np.arange(len(part)) for part in lists])
    checkpoint = ModelCheckpoint(
        run_dir / "checkpoints", _CHECKPOINT, monitor=_MONITOR, mode="max", enable_version_counter=False
    )
    trainer = plain_trainer(
        config.epochs,
        logger=TensorBoardLogger(run_dir, name="tensorboard"),
        callbacks=[checkpoint, EarlyStopping(_MONITOR, mode="max", patience=config.patience)],
        enable_checkpointing=True,
        gradient_clip_val=5.0,
        log_every_n_steps=20,
        num_sanity_val_steps=0,
    )
    module = _Training(ranker, config, steps=len(training) * config.epochs)
    fit_quietly(trainer, module, batches(training), batches(validation))
    if checkpoint.best_model_path:
        best = torch.load(checkpoint.best_model_path, weights_only=True, map_location="cpu")
        module.load_state_dict(best["state_dict"])
    ranker.cpu().eval()
    best_score = checkpoint.best_model_score
    return {
        "validation_ndcg": float("nan") if best_score is None else float(best_score),
        "epochs": float(trainer.current_epoch),
        "alpha": float(ranker.alpha.detach()),
    }


def held_users(lists: list[Lists], config: RankerTrainingConfig) -> Ints:
    """Numbers of the users whose lists are not learned from, drawn by lot."""
    users = np.unique(np.concatenate([part.user for part in lists]))
    drawn: Ints = np.random.default_rng(config.seed).permutation(users)
    return drawn[: int(len(users) * config.validation_share)]


def spared_users(lists: list[Lists], users: Ints, config: RankerTrainingConfig) -> Ints:
    """Those users that are not learned from: the held ones, and by lot the same share of those without any list.

    Users without a positive have no list to learn from. Left out, they would make everything look more likely than it
    is; all of them, and it would look less so.

    Args:
        lists: of all cuts.
        users: [U] numbers.
    """
    held = held_users(lists, config)
    without = np.setdiff1d(users, np.concatenate([part.user for part in lists]))
    drawn = np.random.default_rng(config.seed).permutation(without)[: int(len(without) * config.validation_share)]
    spared = np.concatenate([np.intersect1d(users, held), drawn]) if len(held) else held
    return np.random.default_rng(config.seed).permutation(spared)[:MOST_SPARED]


@dataclass(frozen=True)
class _Step:
    """One batch on its way to the device."""

    given: RankerTensors
    labels: Tensor
    """[B, C, H] bool"""
    novel: Tensor
    """[B, C] bool"""

    def to(self, device: torch.device) -> _Step:
        return _Step(self.given.to(device), self.labels.to(device), self.novel.to(device))


class _Batches(IterableDataset[_Step]):
    """Batches of lists, each from one cut, in random order."""

    def __init__(
        self,
        lists: list[Lists],
        table: ItemTable,
        config: RankerTrainingConfig,
        rows: list[npt.NDArray[Any]],
        shuffle: bool = True,
    ) -> None:
        self.lists, self.table, self.config, self.rows, self.shuffle = lists, table, config, rows, shuffle
        self.rng = np.random.default_rng(config.seed)
        self.size = sum(len(part) for part in rows)

    def __len__(self) -> int:
        return sum(-(-len(part) // self.config.batch_size) for part in self.rows)

    def __iter__(self) -> Iterator[_Step]:
        size = self.config.batch_size
        chunks: list[tuple[int, npt.NDArray[Any]]] = []
        for index, rows in enumerate(self.rows):
            rows = self.rng.permutation(rows) if self.shuffle else rows
            chunks.extend((index, rows[start : start + size]) for start in range(0, len(rows), size))
        order = self.rng.permutation(len(chunks)) if self.shuffle else np.arange(len(chunks))
        for at in order:
            index, rows = chunks[at]
            yield self._step(self.lists[index], np.sort(rows))

    def _step(self, part: Lists, rows: npt.NDArray[Any]) -> _Step:
        batch = part.batch.session_of(rows)
        given = ranker_input(batch, part.items[rows], part.features[rows], self.table).tensors()
        return _Step(given, torch.from_numpy(part.labels[rows]), torch.from_numpy(part.novel[rows]))


class _Training(lightning.LightningModule):
    """Listwise softmax over all candidates and over the novel ones, plus each head's binary cross-entropy."""

    def __init__(self, ranker: Ranker, config: RankerTrainingConfig, steps: int) -> None:
        super().__init__()
        self.ranker, self.config, self.steps = ranker, config, max(1, steps)

    def training_step(self, step: _Step, index: int) -> Tensor:
        loss = self._loss(step, self.ranker(step.given))
        self.log("ranker/loss", loss, batch_size=len(step.labels))
        self.log("ranker/alpha", self.ranker.alpha, batch_size=len(step.labels))
        return loss

    def validation_step(self, step: _Step, index: int) -> None:
        scores = self.ranker(step.given)
        target = self.ranker.heads.index(self.ranker.target)
        positive, inside = step.labels[:, :, target], step.given.item > 0
        everything = ndcg_at_10(scores.final, positive, inside)
        novel = ndcg_at_10(scores.final, positive & step.novel, inside & step.novel)
        self.log(_MONITOR, everything + novel, batch_size=len(step.labels))
        self.log("ranker/validation_ndcg_all", everything, batch_size=len(step.labels))
        self.log("ranker/validation_ndcg_novel", novel, batch_size=len(step.labels))

    def _loss(self, step: _Step, scores: RankerScores) -> Tensor:
        config = self.config
        inside = step.given.item > 0
        positive = step.labels[:, :, self.ranker.heads.index(self.ranker.target)]
        loss = torch.zeros((), device=positive.device)
        for score, weight in (
            (scores.final, 1.0), (scores.deep, config.part_weight), (scores.collaborative, config.part_weight),
        ):  # fmt: skip
            if weight:
                loss = loss + weight * self._score_loss(score, positive, inside, step.novel)
        for index in range(len(self.ranker.heads)):
            logits, label = scores.logits[:, :, index].float(), step.labels[:, :, index].float()
            bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
            loss = loss + config.head_weight * bce[inside].mean()
        return loss

    def _score_loss(self, score: Tensor, positive: Tensor, inside: Tensor, novel: Tensor) -> Tensor:
        config = self.config
        loss = torch.zeros((), device=score.device)
        for among, weight in ((inside, 1.0), (inside & novel, config.novel_weight)):
            if weight and config.listwise_weight:
                loss = loss + weight * config.listwise_weight * listwise(score, positive & among, among)
            if weight and config.lambda_weight:
                loss = loss + weight * config.lambda_weight * lambda_loss(score, positive & among, among)
        if config.pointwise_weight:
            logits = (score + self.ranker.offset).float()
            bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
            loss = loss + config.pointwise_weight * bce[inside].mean() * _POINTWISE_SCALE
        return loss

    def transfer_batch_to_device(self, batch: _Step, device: torch.device, dataloader_idx: int) -> _Step:
        return batch.to(device)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.ranker.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, total_steps=max(self.steps + 1, _LEAST_STEPS), pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def listwise(scores: Tensor, positive: Tensor, inside: Tensor) -> Tensor:
    """Mean over lists with a positive of the mean over their positives of -log softmax; all [B, C]."""
    log_share = scores.float().masked_fill(~inside, _HIDDEN).log_softmax(dim=1)
    hits = (positive & inside).float()
    count = hits.sum(1)
    per_list = -(log_share * hits).sum(1) / count.clamp_min(1.0)
    return per_list.sum() / (count > 0).sum().clamp_min(1)


def lambda_loss(scores: Tensor, positive: Tensor, inside: Tensor, cutoff: int = _CUTOFF) -> Tensor:
    """LambdaRank (Burges, 2010) with NDCG cut at `cutoff`: pairs outside the top do not count; all [B, C].

    The positives are gathered first, so the cost is positives x candidates and not candidates squared.
    """
    scores = scores.float().masked_fill(~inside, _HIDDEN)
    hits = positive & inside
    most = int(hits.sum(1).max())
    if not most:
        return scores.sum() * 0.0
    with torch.no_grad():
        rank = scores.argsort(1, descending=True).argsort(1)  # [B, C]
        place = torch.arange(scores.shape[1], device=scores.device)
        discount = torch.where(place < cutoff, 1.0 / torch.log2(place + 2.0), 0.0)
        gain = discount[rank]  # [B, C]
        ideal = discount.cumsum(0)[(hits.sum(1) - 1).clamp(0, scores.shape[1] - 1)].clamp_min(1.0)
    at = hits.float().topk(most, dim=1).indices  # [B, P]
    real = hits.gather(1, at)
    swap = (gain.gather(1, at)[:, :, None] - gain[:, None, :]).abs()  # [B, P, C]
    swap = swap * (real[:, :, None] & (inside & ~hits)[:, None, :])
    margin = scores.gather(1, at)[:, :, None] - scores[:, None, :]
    per_list = (swap * torch.nn.functional.softplus(-margin)).sum((1, 2)) / ideal
    return per_list.sum() / hits.any(1).sum()


def ndcg_at_10(scores: Tensor, positive: Tensor, inside: Tensor) -> Tensor:
    """Mean NDCG@10 over the lists with a positive; all [B, C]."""
    hits = positive & inside
    top = scores.float().masked_fill(~inside, _HIDDEN).topk(min(_CUTOFF, scores.shape[1]), dim=1).indices
    discount = 1.0 / torch.log2(torch.arange(_CUTOFF, device=scores.device) + 2.0)
    gained = (hits.gather(1, top) * discount[: top.shape[1]]).sum(1)
    ideal = discount.cumsum(0)[hits.sum(1).clamp(1, _CUTOFF) - 1]
    return (gained / ideal)[hits.any(1)].sum() / hits.any(1).sum().clamp_min(1)


def _moments(lists: list[Lists]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Mean and standard deviation [F] over the real candidates; 1 where a feature does not vary."""
    count, total, squares = 0, np.zeros(0), np.zeros(0)
    for part in lists:
        for start in range(0, len(part), 256):
            rows = slice(start, start + 256)
            values = part.features[rows][part.items[rows] > 0].astype(np.float64)  # [n, F]
            count += len(values)
            total = values.sum(0) + (total if total.size else 0.0)
            squares = (values**2).sum(0) + (squares if squares.size else 0.0)
    mean = total / max(count, 1)
    std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0.0))
    return mean, np.where(std > 1e-6, std, 1.0)
