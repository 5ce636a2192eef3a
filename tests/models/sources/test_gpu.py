"""What a CUDA device must do as the CPU does: run wherever there is one, skipped elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.batch import StateBatch
from models.interactions import Interactions
from models.quiet import precision
from models.sources import sequence_training
from models.sources.sequence import Sequence
from models.training import TrainingConfig
from models.vocabulary import Vocabulary

Known = tuple[Vocabulary, Interactions]

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device; on this machine all trainings run on the CPU"
)


def test_batches_are_learned_from_on_the_device_and_answers_come_from_the_cpu(
    known: Known, batch: StateBatch, world, small_config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = set()
    step = sequence_training._Training.training_step
    monkeypatch.setattr(
        sequence_training._Training,
        "training_step",
        lambda module, given, index: (devices.add(given[0].device.type), step(module, given, index))[1],
    )
    source = Sequence(small_config.sequence).fit(known[1], world.end)
    assert devices == {"cuda"}
    assert source.encoder is not None
    assert {tensor.device.type for tensor in source.encoder.state_dict().values()} == {"cpu"}
    assert not np.isnan(source.scores(batch)).any()


def test_half_precision_is_used_where_the_device_has_it() -> None:
    assert precision() == ("bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true")


def test_the_device_teaches_what_the_cpu_teaches(
    known: Known, batch: StateBatch, world, small_config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without what is drawn on the device, dropout and negatives, rounding alone is left between them.
    alike = replace(small_config.sequence, dropout=0.0, negatives=0)
    there = Sequence(alike).fit(known[1], world.end).scores(batch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = Sequence(alike).fit(known[1], world.end).scores(batch)
    proposed = np.isfinite(here)
    assert np.array_equal(proposed, np.isfinite(there))
    assert np.corrcoef(here[proposed], there[proposed])[0, 1] > 0.98


def test_the_same_seed_gives_the_same_model(known: Known, batch: StateBatch, world, small_config) -> None:
    first, second = (Sequence(small_config.sequence).fit(known[1], world.end).scores(batch) for _ in range(2))
    np.testing.assert_allclose(first, second, rtol=1e-2, atol=1e-2)
