"""The tables of an evaluation, by hand."""

from __future__ import annotations

from flows.leaderboard import segment_rows, shown_difference


def test_a_row_for_each_segment_that_has_the_metric() -> None:
    value = {"value": 0.25, "low": 0.2, "high": 0.3}
    segments = {
        "one": {"new users": {"ndcg@10": value, "lift": value}, "tail items": {"ndcg@10": value}},
        "other": {"new users": {"ndcg@10": value}, "tail items": {"ndcg@10": value}},
    }
    cuts = {"new users": "3: fewer than 5 events", "tail items": "2: all others"}
    assert segment_rows(["other", "one"], segments, cuts, "lift") == [
        {"segment": "new users (3: fewer than 5 events)", "other": "–", "one": "0.2500"}
    ]
    assert [row["segment"] for row in segment_rows(["one"], segments, cuts, "ndcg@10")] == [
        "new users (3: fewer than 5 events)",
        "tail items (2: all others)",
    ]


def test_a_difference_is_told_with_its_p_value_and_the_best_as_the_best() -> None:
    difference = {"value": -0.01, "low": -0.02, "high": 0.0, "p": 0.02, "p_holm": 0.04}
    assert shown_difference(difference) == "-0.0100 [-0.0200, +0.0000], p=0.040"
    assert shown_difference(None) == "best"
