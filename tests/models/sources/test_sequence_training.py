"""A training that is killed and goes on, or that several processes share, ends where one alone ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from models.batch import StateBatch
from models.interactions import Interactions
from models.sources import sequence_training
from models.sources.encoder import Encoder, SequenceConfig
from models.sources.sequence import Sequence
from models.training import TrainingConfig
from models.unfinished import Unfinished
from models.vocabulary import Vocabulary

Known = tuple[Vocabulary, Interactions]


class KilledError(Exception):
    """Stands for whatever ends a process."""


class KilledAfter(ModelCheckpoint):
    """Ends the fit just after an epoch's checkpoint was written."""

    epochs = 2

    def on_train_epoch_end(self, trainer, module) -> None:  # type: ignore[no-untyped-def]
        super().on_train_epoch_end(trainer, module)
        if trainer.current_epoch + 1 == self.epochs:
            raise KilledError


@pytest.fixture
def choices(small_config: TrainingConfig) -> SequenceConfig:
    return replace(small_config.sequence, epochs=4, dropout=0.2)


def weights(encoder: Encoder | None) -> dict[str, torch.Tensor]:
    assert encoder is not None
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def test_a_killed_fit_goes_on_and_ends_with_the_same_weights(
    known: Known, world, choices: SequenceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(Sequence(choices).fit(known[1], world.end).encoder)
    with monkeypatch.context() as killing:
        killing.setattr("models.unfinished.ModelCheckpoint", KilledAfter)
        with pytest.raises(KilledError):
            Sequence(choices, unfinished=Unfinished(tmp_path)).fit(known[1], world.end)
    [left] = tmp_path.glob("*.ckpt")
    assert torch.load(left, weights_only=True)["epoch"] == KilledAfter.epochs - 1
    epochs = []
    begin = sequence_training._Windows._begin_epoch
    monkeypatch.setattr(sequence_training._Windows, "_begin_epoch", lambda data: (epochs.append(1), begin(data)))
    resumed = weights(Sequence(choices, unfinished=Unfinished(tmp_path)).fit(known[1], world.end).encoder)
    assert len(epochs) == choices.epochs - KilledAfter.epochs
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0.0, atol=0.0, msg=name)


def test_what_another_fit_left_is_not_taken_up(known: Known, world, choices: SequenceConfig, tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path)
    Sequence(choices, unfinished=unfinished).fit(known[1], world.end)
    other = replace(choices, learning_rate=choices.learning_rate / 2)
    left = weights(Sequence(other, unfinished=unfinished).fit(known[1], world.end).encoder)
    alone = weights(Sequence(other).fit(known[1], world.end).encoder)
    torch.testing.assert_close(left, alone, rtol=0.0, atol=0.0)
    assert len(list(tmp_path.glob("*.ckpt"))) == 2
    unfinished.clear()
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_thrown_away(known: Known, world, choices: SequenceConfig, tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path)
    whole = weights(Sequence(choices, unfinished=unfinished).fit(known[1], world.end).encoder)
    [left] = tmp_path.glob("*.ckpt")
    for content in (b"", left.read_bytes()[:1_000]):
        left.write_bytes(content)
        assert unfinished.found(left.stem) is None
        assert not left.exists()
    again = weights(Sequence(choices, unfinished=unfinished).fit(known[1], world.end).encoder)
    torch.testing.assert_close(again, whole, rtol=0.0, atol=0.0)


def test_two_processes_end_where_one_ends(known: Known, batch: StateBatch, world, choices: SequenceConfig) -> None:
    # Without what each process draws on its own, dropout and negatives, rounding alone is left between them. Scores are
    # compared, for some weights change none: the bias of keys has rounding for a gradient.
    alike = replace(choices, epochs=2, dropout=0.0, negatives=0, batch_size=7)
    one = Sequence(alike).fit(known[1], world.end).scores(batch)
    two = Sequence(replace(alike, devices=2)).fit(known[1], world.end).scores(batch)
    np.testing.assert_allclose(two, one, rtol=1e-2, atol=1e-2)
    other = Sequence(replace(alike, seed=8)).fit(known[1], world.end).scores(batch)
    proposed = np.isfinite(one)
    assert np.abs(other[proposed] - one[proposed]).max() > 0.1
