import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from models.calibration import KINDS, Calibration, calibration_error, log_loss
from models.errors import CalibrationFileError, LabelsError


def rows(slope: float, intercept: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model, and labels whose true logit is a line over them."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 3.0, count)
    return logits, (rng.random(count) < expit(slope * logits + intercept)).astype(float)


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.2 and 0.4 with no ones of two, gap 0.3; 0.9 with one of one, gap 0.1.
    error = calibration_error(np.array([0.2, 0.4, 0.9]), np.array([0, 0, 1]), bins=2)
    assert error == pytest.approx((2 * 0.3 + 1 * 0.1) / 3)
    assert calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


def test_log_loss_by_hand() -> None:
    assert log_loss(np.array([0.5, 0.25]), np.array([1, 0])) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)


def test_temperature_and_platt_find_the_line_that_made_the_labels() -> None:
    cooled = Calibration.fit("temperature", *rows(0.5, 0.0))
    assert cooled.slope == pytest.approx(0.5, abs=0.03)
    assert cooled.intercept == 0.0
    line = Calibration.fit("platt", *rows(0.5, -1.0))
    assert (line.slope, line.intercept) == (pytest.approx(0.5, abs=0.03), pytest.approx(-1.0, abs=0.06))


def test_isotonic_by_hand() -> None:
    # The pair in the wrong order shares one level; 1 / (4 + 2) is as sure as four rows may be.
    found = Calibration.fit("isotonic", np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 0, 1]))
    assert found(np.array([-9.0, 0.0, 0.5, 1.0, 1.7, 2.0, 3.0, 9.0])) == pytest.approx(
        [1 / 6, 1 / 6, 1 / 3, 0.5, 0.5, 0.5, 5 / 6, 5 / 6]
    )


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
def test_fresh_rows_are_calibrated(kind) -> None:
    logits, labels = rows(0.5, 0.0)
    half = len(labels) // 2
    found = Calibration.fit(kind, logits[:half], labels[:half])
    before, after = expit(logits[half:]), found(logits[half:])
    assert calibration_error(before, labels[half:]) > 0.08
    assert calibration_error(after, labels[half:]) < 0.025
    assert log_loss(after, labels[half:]) < log_loss(before, labels[half:])


def test_the_best_kind_is_the_one_that_fits() -> None:
    assert Calibration.best(*rows(0.5, -1.0)).kind in ("platt", "isotonic")
    rng = np.random.default_rng(0)
    truth = rng.random(20_000)  # labels' probability bends over the logit as no line does
    bent = logit(truth) ** 3
    assert Calibration.best(bent, (rng.random(20_000) < truth).astype(float)).kind == "isotonic"


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_stays_and_so_does_what_is_saved(kind, tmp_path: Path) -> None:
    logits, labels = rows(0.7, 0.3, 500)
    found = Calibration.fit(kind, logits, labels)
    assert (np.diff(found(np.sort(logits))) >= 0).all()
    found.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == found


def test_a_model_that_is_wrong_way_round_is_not_turned() -> None:
    logits, labels = rows(1.0, 0.0, 500)
    assert Calibration.fit("platt", -logits, labels).slope == 0.0


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([0.0, np.nan], [0, 1], "logits: nan in row 1, expected a finite number"),
        ([0.0, np.inf], [0, 1], "logits: inf in row 1"),
        ([0.0, 1.0], [0, 2], "labels: 2.0 in row 1, expected 0 or 1"),
        ([0.0, 1.0], [0, np.nan], "labels: nan in row 1, expected 0 or 1"),
        ([0.0, 1.0], [1, 1], "labels: only 1, expected 0 and 1 both"),
        ([], [], "labels: none, expected 0 and 1 both"),
        ([0.0, 1.0], [1], "labels: 1 rows, expected as many as logits, 2"),
    ],
)
def test_bad_rows_are_named(logits, labels, message) -> None:
    for fit in (Calibration.best, lambda *given: Calibration.fit("platt", *given)):
        with pytest.raises(LabelsError, match=message):
            fit(np.array(logits), np.array(labels, dtype=float))


@pytest.mark.parametrize("content", ["", "{}", "[1]", json.dumps({"kind": "x", "logits": [], "probabilities": []})])
def test_a_file_that_holds_none(content, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(content)
    with pytest.raises(CalibrationFileError, match=r"calibration\.json"):
        Calibration.load(file)
