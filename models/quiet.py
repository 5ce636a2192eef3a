"""How Lightning is run here: the precision that the machine has, and no advice printed."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import torch


def precision() -> Any:
    """bf16 where a CUDA device knows it, else full."""
    return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"


def plain_trainer(epochs: int, **choices: Any) -> lightning.Trainer:
    """A trainer on the one best device, that keeps nothing and prints nothing; `choices` are Lightning's."""
    plain: dict[str, Any] = {
        "max_epochs": epochs,
        "accelerator": "auto",
        "devices": 1,
        "precision": precision(),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return lightning.Trainer(**{**plain, **choices})


def fit_quietly(trainer: lightning.Trainer, module: lightning.LightningModule, *loaders: Any) -> None:
    """`trainer.fit` without Lightning's advice on workers and its banner: batches are made by vectorised numpy."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            trainer.fit(module, *loaders)
    finally:
        log.setLevel(level)
