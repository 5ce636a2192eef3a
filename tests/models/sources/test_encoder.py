"""What both networks hold to: nothing is seen before it happens, and padding says nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.batch import StateBatch
from models.interactions import Interactions
from models.sources.encoder import Encoder, SequenceConfig
from models.sources.sequence import Sequence
from models.training import TrainingConfig
from models.vocabulary import Vocabulary


@pytest.fixture(params=["transformer", "gru"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(3)
    return Encoder(9, SequenceConfig(network=request.param, dim=8, layers=2, length=6)).eval()


def read(encoder: Encoder, items: list[int]) -> torch.Tensor:
    item = torch.tensor([items])
    with torch.inference_mode():
        return encoder(item, (item > 0).long(), (item > 0).long())[0]


def test_a_position_does_not_know_what_comes_after_it(encoder: Encoder) -> None:
    one, other = read(encoder, [0, 3, 1, 4, 2]), read(encoder, [0, 3, 1, 7, 8])
    torch.testing.assert_close(one[1:3], other[1:3])
    assert not torch.allclose(one[3:], other[3:], atol=1e-3)


def test_a_position_knows_what_came_before_it_and_in_which_order(encoder: Encoder) -> None:
    last = [read(encoder, items)[-1] for items in ([3, 1, 4], [3, 5, 4], [1, 3, 4])]
    assert not torch.allclose(last[0], last[1], atol=1e-3)
    assert not torch.allclose(last[0], last[2], atol=1e-3)


def test_padding_before_a_session_says_nothing(encoder: Encoder) -> None:
    torch.testing.assert_close(read(encoder, [0, 0, 0, 3, 1, 4])[-3:], read(encoder, [3, 1, 4]))
    assert torch.isfinite(read(encoder, [0, 0, 0])).all()


def test_what_was_saved_before_there_was_a_choice_is_a_transformer(
    known: tuple[Vocabulary, Interactions], batch: StateBatch, world, small_config: TrainingConfig, tmp_path: Path
) -> None:
    source = Sequence(replace(small_config.sequence, epochs=1)).fit(known[1], world.end)
    source.save(tmp_path)
    config = json.loads((tmp_path / "sequence.json").read_text())
    del config["network"]
    (tmp_path / "sequence.json").write_text(json.dumps(config))
    loaded = Sequence.load(tmp_path)
    assert loaded.config == source.config
    np.testing.assert_allclose(loaded.scores(batch), source.scores(batch), rtol=1e-4, atol=1e-4)
