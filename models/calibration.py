"""From a model's logits to probabilities that come true as often as they say.

Fitted on rows that the model did not learn from. Temperature and Platt scaling (Guo et al., 2017, section 4) are a line
over the logit, isotonic regression (Zadrozny and Elkan, 2002) any rising step function.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from models.errors import CalibrationFileError, LabelsError

Values = npt.NDArray[np.floating]
Kind = Literal["none", "temperature", "platt", "isotonic"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
BINS: Final = 15
"""Of the expected calibration error."""
_FOLDS: Final = 5


@dataclass(frozen=True)
class Calibration:
    """A rising function from logit to probability."""

    kind: Kind
    slope: float = 1.0
    """Of the line over the logit: 1 / temperature."""
    intercept: float = 0.0
    logits: tuple[float, ...] = ()
    """Isotonic: where the function is known, ascending; it is straight between them and flat outside."""
    probabilities: tuple[float, ...] = ()
    """Isotonic: its values there."""

    @classmethod
    def fit(cls, kind: Kind, logits: Values, labels: Values) -> Self:
        """The function of a kind with the least log loss.

        Args:
            kind: of the function.
            logits: [N] finite.
            labels: [N] 0 or 1, both among them.

        Raises:
            LabelsError: logits or labels are none of these.
        """
        _check(logits, labels)
        if kind == "none":
            return cls(kind)
        score, label = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        return cls._isotonic(score, label) if kind == "isotonic" else cls._line(kind, score, label)

    @classmethod
    def best(cls, logits: Values, labels: Values, seed: int = 7) -> Self:
        """The kind with the least log loss on rows left out in turns, fitted on all; arguments as for `fit`."""
        _check(logits, labels)
        fold = np.random.default_rng(seed).permutation(len(labels)) % _FOLDS

        def loss(kind: Kind) -> float:
            left_out = np.empty(len(labels))
            for each in range(_FOLDS):
                out = fold == each
                left_out[out] = cls.fit(kind, logits[~out], labels[~out])(logits[out])
            return log_loss(left_out, labels)

        return cls.fit(min(KINDS, key=loss), logits, labels)

    def __call__(self, logits: Values) -> npt.NDArray[np.float64]:
        """[N] probabilities of any logits [N]."""
        if self.kind == "isotonic":
            return np.interp(logits, self.logits, self.probabilities)
        return expit(self.slope * np.asarray(logits, dtype=np.float64) + self.intercept)

    def save(self, file: Path) -> None:
        """Writes it as JSON."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            CalibrationFileError: the file is something else.
        """
        try:
            read = json.loads(file.read_text())
            found = cls(**{**read, **{name: tuple(read[name]) for name in ("logits", "probabilities")}})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CalibrationFileError(f"{file}: no calibration ({error!r}); write it with Calibration.save") from error
        if found.kind not in KINDS:
            raise CalibrationFileError(f"{file}: kind is {found.kind!r}, expected one of {', '.join(KINDS)}")
        return found

    @classmethod
    def _line(cls, kind: Kind, logits: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> Self:
        inputs = np.stack([logits, np.full_like(logits, kind == "platt")])  # [2, N]

        def loss(line: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            score = line @ inputs
            gradient = inputs @ (expit(score) - labels) / len(labels)
            return float(np.mean(np.logaddexp(0.0, score) - labels * score)), gradient

        # A falling line would turn the model's order around: 0 is as low as it goes.
        found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)])
        return cls(kind, slope=float(found.x[0]), intercept=float(found.x[1]))

    @classmethod
    def _isotonic(cls, logits: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> Self:
        at, inverse, weight = np.unique(logits, return_inverse=True, return_counts=True)
        share = np.bincount(inverse, weights=labels) / weight
        level = isotonic_regression(share, weights=weight).x
        # A level of 0 or 1 would be sure for ever; one more row of the other label is always thinkable.
        least = 1.0 / (len(labels) + 2.0)
        level = np.clip(level, least, 1.0 - least)
        ends = np.flatnonzero(np.diff(level, prepend=-1.0, append=2.0))  # where levels start, and one beyond the last
        kept = np.unique(np.concatenate([ends[:-1], ends[1:] - 1]))
        return cls("isotonic", logits=tuple(at[kept].tolist()), probabilities=tuple(level[kept].tolist()))


def log_loss(probabilities: Values, labels: Values) -> float:
    """Mean negative log likelihood of labels [N] under probabilities [N], in nats."""
    return float(np.mean(losses(probabilities, labels)))


def losses(probabilities: Values, labels: Values) -> npt.NDArray[np.float64]:
    """[N] each row's negative log likelihood, in nats."""
    score = logit(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-15, 1.0 - 1e-15))
    return np.logaddexp(0.0, score) - np.asarray(labels, dtype=np.float64) * score


def calibration_error(probabilities: Values, labels: Values, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al., 2017, section 2): |mean probability - share of ones| over equal bins.

    Args:
        probabilities: [N]
        labels: [N] 0 or 1
        bins: of equal width over 0..1; each counts by its rows.
    """
    place = np.minimum((np.asarray(probabilities) * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=np.asarray(probabilities, dtype=np.float64) - labels, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def _check(logits: Values, labels: Values) -> None:
    if len(logits) != len(labels):
        raise LabelsError(f"labels: {len(labels)} rows, expected as many as logits, {len(logits)}")
    wrong = np.flatnonzero(~np.isfinite(logits))
    if len(wrong):
        raise LabelsError(f"logits: {logits[wrong[0]]} in row {wrong[0]}, expected a finite number")
    check_labels(labels)


def check_labels(labels: Values) -> None:
    """Labels to learn two classes from.

    Raises:
        LabelsError: a label is neither 0 nor 1, or all are the same.
    """
    wrong = np.flatnonzero(~np.isin(labels, (0, 1)))
    if len(wrong):
        raise LabelsError(f"labels: {labels[wrong[0]]} in row {wrong[0]}, expected 0 or 1")
    if len(np.unique(labels)) < 2:
        found = f"only {labels[0]:g}" if len(labels) else "none"
        raise LabelsError(f"labels: {found}, expected 0 and 1 both; take rows of both classes")
