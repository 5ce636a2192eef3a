"""How Lightning is run here: the precision that the machine has, and no advice printed."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch


def precision() -> Any:
    """bf16 where a CUDA device knows it, else full."""
    return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"


def plain_trainer(epochs: int, devices: int = 1, **choices: Any) -> lightning.Trainer:
    """A trainer that keeps nothing and prints nothing.

    Args:
        epochs: at most.
        devices: GPUs or, where there are none, processes. More than one train the module together (DDP), each in a
            process of its own; the datasets know which part of a batch is whose.
        choices: Lightning's.
    """
    plain: dict[str, Any] = {
        "max_epochs": epochs,
        "accelerator": "auto",
        "devices": devices,
        "strategy": "ddp_spawn" if devices > 1 else "auto",
        "use_distributed_sampler": False,
        "precision": precision(),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return lightning.Trainer(**{**plain, **choices})


def fit_quietly(
    trainer: lightning.Trainer, module: lightning.LightningModule, *loaders: Any, ckpt_path: Path | None = None
) -> None:
    """`trainer.fit` without Lightning's advice on workers and its banner: batches are made by vectorised numpy.

    Args:
        trainer: Lightning's.
        module: what is fitted.
        loaders: of batches, for training and for validation.
        ckpt_path: a checkpoint of the same fit, after which it goes on.
    """
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            trainer.fit(module, *loaders, ckpt_path=ckpt_path, weights_only=True)
    finally:
        log.setLevel(level)
