import numpy as np
import pytest
import torch

from models.ranker import RankerConfig
from models.ranker_training import lambda_loss, listwise, ndcg_at_10
from models.training import TrainingConfig


def test_listwise_by_hand() -> None:
    scores = torch.tensor([[0.0, 0.0, 99.0]])
    inside = torch.tensor([[True, True, False]])  # the third is padding
    assert listwise(scores, torch.tensor([[True, False, False]]), inside).item() == pytest.approx(np.log(2))
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert listwise(scores, nothing, inside).item() == 0.0


def test_lambda_by_hand() -> None:
    scores = torch.tensor([[1.0, 0.0]])
    positive, inside = torch.tensor([[False, True]]), torch.ones(1, 2, dtype=torch.bool)
    # One pair in the wrong order: |1 - 1/log2(3)| * log(1 + e^1), ideal 1.
    expected = (1 - 1 / np.log2(3)) * np.log1p(np.e)
    assert lambda_loss(scores, positive, inside).item() == pytest.approx(expected, rel=1e-5)


def test_lambda_ignores_padding_and_pairs_below_the_cutoff() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0]], requires_grad=True)
    positive = torch.tensor([[True, False, False, True]])
    inside = torch.tensor([[True, True, True, True]])
    loss = lambda_loss(scores, positive, inside, cutoff=1)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad[0, 3].item() == 0.0  # no negative above the cut to swap with
    assert lambda_loss(scores, torch.zeros(1, 4, dtype=torch.bool), inside).item() == 0.0


def test_ndcg_agrees_with_the_metric() -> None:
    from models.metrics import ndcg

    rng = np.random.default_rng(0)
    scores, positive = rng.random((5, 30)).astype(np.float32), rng.random((5, 30)) < 0.2
    expected = [
        ndcg([str(i) for i in np.argsort(-scores[row])], {str(i) for i in np.flatnonzero(positive[row])}, 10)
        for row in range(5)
        if positive[row].any()
    ]
    inside = torch.ones(5, 30, dtype=torch.bool)
    value = ndcg_at_10(torch.from_numpy(scores), torch.from_numpy(positive), inside).item()
    assert value == pytest.approx(np.mean(expected), abs=1e-6)


def test_alpha_can_be_fixed(trained, world) -> None:
    from dataclasses import replace

    ranker = trained.ranker
    states = world.states(world.end)
    learned = ranker.config
    try:
        ranker.config = replace(learned, fixed_alpha=1.0)
        rule = trained.recommend(states, 5, mode="classic")
        assert rule == trained.recommend(states, 5, mode="collaborative")
        ranker.config = replace(learned, fixed_alpha=0.0)
        assert trained.recommend(states, 5, mode="classic") == trained.recommend(states, 5, mode="ranker")
    finally:
        ranker.config = learned


def test_default_config_is_consistent() -> None:
    assert TrainingConfig().ranker == RankerConfig()


def test_the_trees_have_a_say_by_their_weight(trained, world) -> None:
    ranker = trained.ranker
    states, learned = world.states(world.end), ranker.trees_weight

    def answers(weight: float) -> list[list[str]]:
        ranker.trees_weight = weight
        return [[item.item_id for item in answer] for answer in trained.recommend(states, 5)]

    def alone(mode) -> list[list[str]]:
        return [[item.item_id for item in answer] for answer in trained.recommend(states, 5, mode=mode)]

    try:
        assert answers(0.0) == alone("classic")
        assert answers(1.0) == alone("trees")
        assert answers(0.5) not in (alone("classic"), alone("trees"))
    finally:
        ranker.trees_weight = learned
