from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from benchmarks.models.frappe_files import FrappeSplit, read_libfm
from benchmarks.models.frappe_rivals import boosted_trees, logistic_regression
from benchmarks.models.row_figures import AUC, LOGLOSS, RAW_LOGLOSS, Judged, Logits, figures_of
from models.field_training import FieldRows


def test_lines_of_libfm(tmp_path: Path) -> None:
    file = tmp_path / "rows.libfm"
    file.write_text("-1 2:1 5:1\n1 0:1 7:1\n")
    rows = read_libfm(file, [0, 5])
    assert rows.codes.tolist() == [[2, 0], [0, 2]]
    assert rows.labels.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("line", ["1 2:1", "1 2:1 5:0.5", "1 2:1 5:1 6:1"])
def test_a_line_of_another_form_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.libfm"
    file.write_text(f"-1 2:1 5:1\n{line}\n")
    with pytest.raises(SystemExit, match="line 2: expected a label and 2 times id:1"):
        read_libfm(file, [0, 5])


def test_figures_are_means_over_seeds_with_the_truth_inside() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0.0, 2.0, 4_000)
    labels = (rng.random(4_000) < expit(truth)).astype(float)
    half = slice(None, 2_000), slice(2_000, None)

    def says(sureness: float, noise: float) -> Judged:
        said = sureness * truth + rng.normal(0.0, noise, 4_000)
        return Judged.of(Logits(*(said[each] for each in half)), *(labels[each] for each in half))

    models = {"sure of itself": [says(4.0, 0.0)], "noisy": [says(1.0, 1.0), says(1.0, 1.5)]}
    table = figures_of(models, 100, 0)
    one = table["sure of itself"]
    assert one[AUC]["value"] == pytest.approx(roc_auc_score(labels[half[1]], truth[half[1]]), abs=1e-5)
    assert one[LOGLOSS]["value"] < one[RAW_LOGLOSS]["value"] - 0.1
    assert one["expected calibration error"] < one["expected calibration error, not calibrated"] / 2
    for name, row in table.items():
        for metric in (AUC, LOGLOSS, RAW_LOGLOSS):
            assert row[metric]["low"] < row[metric]["value"] < row[metric]["high"], (name, metric)
    assert table["noisy"][AUC]["value"] == pytest.approx(np.mean(table["noisy"][AUC]["seeds"]), abs=1e-5)
    assert table["noisy"][AUC]["high"] < one[AUC]["low"]


def test_trees_see_an_interaction_that_logistic_regression_does_not() -> None:
    rng = np.random.default_rng(0)
    fields = {"user": 6, "item": 4}
    parts = []
    for count in (3_000, 500, 500):
        codes = np.stack([rng.integers(0, size, count) for size in fields.values()], axis=1)
        parts.append(FieldRows(codes, (codes.sum(axis=1) % 2).astype(np.float32)))
    split = FrappeSplit(fields, *parts)
    for rival, least, most in ((boosted_trees, 0.99, 1.0), (logistic_regression, 0.35, 0.65)):
        said, tried = rival(split, 7)
        assert least <= roc_auc_score(split.test.labels, said.test) <= most
        assert max(tried.values()) == pytest.approx(roc_auc_score(split.validation.labels, said.validation), abs=1e-5)
