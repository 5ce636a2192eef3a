"""Fitting the field ranker: logistic loss, embeddings kept small, the epoch that tells validation's labels best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from models.calibration import check_labels
from models.errors import LabelsError
from models.field_ranker import Array, FieldRanker, FieldRankerConfig, checked_codes
from models.metrics import auc
from models.quiet import fit_quietly, plain_trainer
from models.shuffled import Shuffled, batches

_MONITOR = "validation_auc"
_Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class FieldTrainingConfig:
    """How the field ranker is fitted."""

    epochs: int = 18
    """At most; early stopping may end it before."""
    patience: int = 3
    """Epochs without a better validation AUC before stopping."""
    batch_size: int = 4096
    learning_rate: float = 1e-3
    flat: float = 0.6
    """Share of the steps at the full rate; then it falls to a hundredth. At the full rate the embeddings of rare codes
    stay small: they go back to nought by a step of that rate in each batch without them."""
    decay: float = 0.1
    """Half of it times the sum of all squares of the embeddings is added to each batch's mean loss."""
    seed: int = 7


@dataclass(frozen=True)
class FieldRows:
    """Labelled rows."""

    codes: Array
    """[N, F]"""
    labels: Array
    """[N] 0 or 1"""

    def __len__(self) -> int:
        return len(self.codes)


def fit_field_ranker(
    fields: Mapping[str, int],
    training: FieldRows,
    validation: FieldRows,
    network: FieldRankerConfig = FieldRankerConfig(),
    config: FieldTrainingConfig = FieldTrainingConfig(),
) -> tuple[FieldRanker, dict[str, float]]:
    """A ranker with the weights of its best epoch. The same seed gives the same one on the same machine.

    Args:
        fields: name -> how many codes it has.
        training: what is learned from.
        validation: what the epoch is chosen by.

    Returns:
        The ranker, in evaluation mode on the CPU; its validation AUC, and how many epochs there were.

    Raises:
        FieldCodesError: a code is none of its field.
        LabelsError: labels are not 0 and 1, both.
    """
    lightning.seed_everything(config.seed, verbose=False)
    ranker = FieldRanker(fields, network)
    parts = [_shuffled(rows, fields, config) for rows in (training, validation)]
    module = _Training(ranker, config, steps=len(parts[0]) * config.epochs)
    trainer = plain_trainer(
        config.epochs,
        callbacks=[EarlyStopping(_MONITOR, mode="max", patience=config.patience)],
        num_sanity_val_steps=0,
    )
    fit_quietly(trainer, module, *(batches(part) for part in parts))
    ranker.load_state_dict(module.best)
    return ranker.cpu().eval(), {_MONITOR: module.best_auc, "epochs": float(trainer.current_epoch)}


def _shuffled(rows: FieldRows, fields: Mapping[str, int], config: FieldTrainingConfig) -> Shuffled[_Batch]:
    """All rows as two tensors, from which batches are taken by index."""
    if len(rows.codes) != len(rows.labels):
        raise LabelsError(f"labels: {len(rows.labels)} rows, expected as many as codes, {len(rows.codes)}")
    check_labels(rows.labels)
    codes = torch.from_numpy(checked_codes(rows.codes, fields))
    labels = torch.from_numpy(rows.labels.astype("float32"))
    return Shuffled(len(rows), config.batch_size, config.seed, lambda chosen: (codes[chosen], labels[chosen]))


class _Training(lightning.LightningModule):
    """Logistic loss of whole batches; remembers the weights of the best epoch."""

    def __init__(self, ranker: FieldRanker, config: FieldTrainingConfig, steps: int) -> None:
        super().__init__()
        self.ranker, self.config, self.steps = ranker, config, steps
        self.best: dict[str, Tensor] = {}
        self.best_auc = -1.0
        self._held: list[_Batch] = []

    def training_step(self, batch: _Batch, index: int) -> Tensor | None:
        codes, labels = batch
        if len(labels) < 2:
            return None  # batch norm knows no spread of one row; another epoch's order puts it elsewhere
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.ranker(codes).float(), labels)
        return (
            loss + self.config.decay / 2.0 * torch.stack([table.square().sum() for table in self.ranker.tables()]).sum()
        )

    def validation_step(self, batch: _Batch, index: int) -> None:
        codes, labels = batch
        self._held.append((self.ranker(codes).float().cpu(), labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        scores, labels = (torch.cat(column).numpy() for column in zip(*self._held, strict=True))
        self._held.clear()
        reached = auc(scores, labels)
        if reached > self.best_auc:
            self.best_auc = reached
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.ranker.state_dict().items()}
        self.log(_MONITOR, reached)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.ranker.parameters(), lr=self.config.learning_rate)
        flat = self.config.flat

        def share(step: int) -> float:
            done = step / self.steps
            return 1.0 if done < flat else 0.01 ** ((done - flat) / (1.0 - flat))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
