"""How well logits of single rows tell yes from no, with intervals over rows, of models fitted with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from models.calibration import Calibration, calibration_error, losses

Values = npt.NDArray[Any]
AUC: Final = "auc"
LOGLOSS: Final = "logloss"
"""Of calibrated probabilities."""
RAW_LOGLOSS: Final = "logloss, not calibrated"


@dataclass(frozen=True)
class Logits:
    """What one model says, fitted once."""

    validation: Values
    test: Values


@dataclass(frozen=True)
class Judged:
    """One fitted model on the test, calibrated on the validation.

    AUC is of the logits: isotonic calibration makes some of them equal.
    """

    level: Values
    """[T] ranks of the logits, equal ones the same"""
    labels: Values
    """[T]"""
    calibration: Calibration
    losses: tuple[Values, Values]
    """[T] calibrated and not"""
    ece: tuple[float, float]
    """Calibrated and not"""

    @classmethod
    def of(cls, said: Logits, validation: Values, test: Values) -> Judged:
        """Of labels [V] and [T]."""
        calibration = Calibration.best(said.validation, validation)
        calibrated, raw = calibration(said.test), expit(said.test.astype(float))
        return cls(
            np.unique(said.test, return_inverse=True)[1],
            test,
            calibration,
            (losses(calibrated, test), losses(raw, test)),
            (calibration_error(calibrated, test), calibration_error(raw, test)),
        )

    def figures(self, times: Values) -> tuple[float, float, float]:
        """AUC, log loss calibrated and not; each row [T] counts as often as `times` says."""
        ones, zeros = (np.bincount(self.level, times * (self.labels == one)) for one in (1, 0))  # [levels]
        below = np.cumsum(zeros) - zeros / 2
        calibrated, raw = (float(times @ each / times.sum()) for each in self.losses)
        return float(ones @ below / (ones.sum() * zeros.sum())), calibrated, raw


def figures_of(models: Mapping[str, Sequence[Judged]], resamples: int, seed: int) -> dict[str, Any]:
    """Name -> figures on the test rows, of models fitted with one seed or several; of several, the means of theirs.

    A resample draws test rows with replacement, the same for all models.
    """
    count = len(next(iter(models.values()))[0].labels)
    random = np.random.default_rng(seed)
    drawn: dict[str, list[Values]] = {name: [] for name in models}
    for _ in range(resamples):
        times = np.bincount(random.integers(0, count, count), minlength=count)
        for name, seeds in models.items():
            drawn[name].append(np.mean([each.figures(times) for each in seeds], axis=0))
    return {name: _row(seeds, np.array(drawn[name])) for name, seeds in models.items()}


def _row(seeds: Sequence[Judged], drawn: Values) -> dict[str, Any]:
    """Of one model; `drawn` are its figures [resamples, figures]."""
    values = np.array([each.figures(np.ones(len(each.labels))) for each in seeds])  # [seeds, figures]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    row: dict[str, Any] = {}
    for at, name in enumerate((AUC, LOGLOSS, RAW_LOGLOSS)):
        row[name] = {
            "value": round(float(values[:, at].mean()), 5),
            "low": round(float(low[at]), 5),
            "high": round(float(high[at]), 5),
            "seeds": [round(float(value), 5) for value in values[:, at]],
        }
    for at, name in enumerate(("expected calibration error", "expected calibration error, not calibrated")):
        row[name] = round(float(np.mean([each.ece[at] for each in seeds])), 5)
    row["calibration"] = [each.calibration.kind for each in seeds]
    return row
