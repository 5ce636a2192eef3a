import numpy as np
import pytest

from models import metrics


@pytest.mark.parametrize(
    ("ranked", "relevant", "expected"),
    [
        (["a", "b", "c"], {"a"}, 1.0),
        (["b", "a", "c"], {"a"}, 1 / np.log2(3)),
        (["a", "b", "c"], {"a", "b", "x", "y"}, (1 + 1 / np.log2(3)) / (1 + 1 / np.log2(3) + 0.5)),
        (["a", "b"], {"a", "b"}, 1.0),  # two relevant, two found: ideal is for two, not for three
        (["b", "c"], {"a"}, 0.0),
        (["b"], set(), 0.0),
    ],
)
def test_ndcg_at_3(ranked: list[str], relevant: set[str], expected: float) -> None:
    assert metrics.ndcg(ranked, relevant, 3) == pytest.approx(expected)


def test_the_others_by_hand() -> None:
    ranked, relevant = ["a", "b", "c", "d"], {"b", "d", "z"}
    assert metrics.hit_rate(ranked, relevant, 1) == 0.0
    assert metrics.hit_rate(ranked, relevant, 2) == 1.0
    assert metrics.recall(ranked, relevant, 3) == pytest.approx(1 / 3)
    assert metrics.reciprocal_rank(ranked, relevant, 4) == 0.5
    assert metrics.coverage([["a", "b"], ["b", "c"]], 6, 2) == 0.5
    assert metrics.coverage([["a", "b"], ["b", "c"]], 6, 1) == pytest.approx(2 / 6)
    assert metrics.novelty(["a", "b", "c"], {"a": 0.5, "b": 0.25}, 3, rarest=0.125) == 2.0


def test_interval_holds_its_mean_and_is_the_same_for_a_seed() -> None:
    values = np.random.default_rng(0).random(200)
    first = metrics.interval(values, metrics.resampled_rows(200, 500, seed=1))
    again = metrics.interval(values, metrics.resampled_rows(200, 500, seed=1))
    assert first == again
    assert first.low < first.value < first.high
    # 95 % of a mean of 200 uniform values: 1.96 * sqrt(1/12/200) to either side
    assert first.high - first.low == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 200), rel=0.2)
    assert metrics.interval(np.ones(5), metrics.resampled_rows(5, 10, 0)).as_dict() == {"value": 1, "low": 1, "high": 1}
