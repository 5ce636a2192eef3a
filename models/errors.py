"""The named errors of `models`; each message says what to do next."""

from __future__ import annotations


class ModelError(RuntimeError):
    """Base of everything that `models` raises on purpose."""


class EmptyTrainingDataError(ModelError):
    """There is no event to learn from before the cut."""


class TableError(ModelError):
    """A table handed to `models` lacks a column or has a wrong one; the message names it."""


class NotFittedError(ModelError):
    """A source was asked for scores before `fit` or `load`."""


class NotUpdatableError(ModelError):
    """A model cannot go on from where it is; the message says what it lacks. Train anew."""


class SeenHoldoutError(ModelError):
    """A model would be judged on what it has learned from; the message says until when it knows what happened."""


class BundleError(ModelError):
    """A bundle's folder is incomplete, of another format, or was written by an unknown version."""


class ItemRowsError(ModelError):
    """Rows of an item table that were kept with an answer are damaged, or of another version."""


class NanScoreError(ModelError):
    """A model gave scores that are no numbers."""


class TooLargeError(ModelError):
    """What was asked for does not fit into memory; the message says what would."""


class LabelsError(ModelError):
    """Labels are not 0 and 1, both, or logits are no numbers; the message names the row."""


class FieldCodesError(ModelError):
    """Rows of categorical codes do not fit the fields of the model; the message names the field and the code."""


class CalibrationFileError(ModelError):
    """A file holds no calibration that `Calibration.save` wrote."""


class FieldRankerFileError(ModelError):
    """A folder holds no field ranker that `FieldRanker.save` wrote."""


class ConfigError(ModelError):
    """A choice that a model's configuration does not have; the message names the field and what was expected."""


class RuleError(ModelError):
    """A rule for answers has a value outside its bounds; the message names the field, the value and the bounds."""
