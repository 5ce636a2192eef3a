"""Fits that were killed go on where they were: a full checkpoint after each epoch, found by what is fitted on what."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from models.batch import Array

_RANDOM = "random"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unfinished:
    """Where the fits of a training keep what they have until all of it is over."""

    folder: Path

    def checkpoint(self, key: str) -> ModelCheckpoint:
        """Writes weights, optimizer and random numbers after each epoch, in place of those of the epoch before."""
        return ModelCheckpoint(self.folder, key, enable_version_counter=False, save_on_train_epoch_end=True)

    def found(self, key: str) -> Path | None:
        """What an earlier attempt at the same fit left, if there was one; what cannot be read is thrown away."""
        file = self.folder / f"{key}.ckpt"
        if not file.exists():
            return None
        try:
            torch.load(file, weights_only=True, map_location="cpu", mmap=True)
        except (EOFError, OSError, RuntimeError, pickle.UnpicklingError) as error:
            _log.warning("%s cannot be read, the fit begins anew: %s", file, error)
            file.unlink()
            return None
        return file

    def clear(self) -> None:
        """Forgets everything: the training is over."""
        for file in self.folder.glob("*.ckpt"):
            file.unlink(missing_ok=True)


def key_of(choices: Mapping[str, Any], arrays: Iterable[Array]) -> str:
    """Tells fits apart: equal only for equal choices on equal arrays."""
    digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def keep_random(checkpoint: dict[str, Any], numbers: np.random.Generator) -> None:
    """Puts the states of `numbers` and of torch's generators into a checkpoint."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    checkpoint[_RANDOM] = {"numpy": numbers.bit_generator.state, "torch": torch.get_rng_state(), "cuda": cuda}


def restore_random(checkpoint: Mapping[str, Any], numbers: np.random.Generator) -> None:
    """What `keep_random` kept, so that the next epoch draws what it would have drawn."""
    kept = checkpoint[_RANDOM]
    numbers.bit_generator.state = kept["numpy"]
    torch.set_rng_state(kept["torch"])
    if torch.cuda.is_available():
        for device, state in enumerate(kept["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, device)
