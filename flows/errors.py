"""What can go wrong on the way in; every message says where, what was expected and what to do next."""

from __future__ import annotations

from feature_repo.errors import FeatureError


class IngestError(RuntimeError):
    """Base of the errors of ingest. Whatever the error, the lake is as it was before the run."""


class SourceError(IngestError):
    """Something is wrong with the data that a connector was pointed at."""


class SourceMissingError(SourceError):
    """The file or folder isn't there."""


class SourceDownError(SourceError):
    """The database cannot be reached, or refuses."""


class MissingPackageError(SourceError):
    """The Python package that carries the data isn't installed."""


class UnknownConnectorError(SourceError):
    """No connector of that name, or an option that it doesn't have."""


class MissingColumnError(SourceError):
    """A required column isn't in the source, or a mapping names one that isn't there."""


class EmptySourceError(SourceError):
    """The source holds no header or no bytes at all."""


class BrokenEncodingError(SourceError):
    """Bytes that aren't text in the stated encoding."""


class BrokenFileError(SourceError):
    """A file that is cut short or isn't of the format that its name says."""


class BatchRefusedError(IngestError):
    """A batch broke a batch rule and was refused whole.

    Args:
        batch_id: the batch; its rejected rows stay in the quarantine under this id.
        source: where the batch came from.
        rule: name of the batch rule.
        measured: what the batch has.
        expected: what the rule wants.
        hint: what to do next.
    """

    def __init__(self, batch_id: str, source: str, rule: str, measured: str, expected: str, hint: str) -> None:
        super().__init__(batch_id, source, rule, measured, expected, hint)
        self.batch_id = batch_id
        self.source = source
        self.rule = rule
        self.measured = measured
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        return (
            f"batch {self.batch_id} from {self.source} is refused, the lake is as it was: rule {self.rule}: "
            f"{self.measured}, expected {self.expected}; {self.hint}"
        )


class ValidationRunError(IngestError):
    """Great Expectations could not evaluate an expectation, so nothing is known about the rows."""


class LakeBusyError(IngestError):
    """Another process is writing the lake; one writer at a time."""


class UnknownBatchError(IngestError):
    """The quarantine holds nothing under that batch id."""


class FixedRowsError(IngestError):
    """A file of corrected rows that does not fit the batch that it corrects."""


class OtherDataError(IngestError):
    """The home holds a demo of other data."""


class BentoError(RuntimeError):
    """BentoML could not build the Bento."""


class ServeError(RuntimeError):
    """The service did not come up."""


class FeatureQualityError(FeatureError):
    """Features that break their expectations stay out of the online store.

    Attributes:
        drift_alone: nothing is wrong with them but that they are distributed otherwise than before.
    """

    def __init__(self, message: str, *, drift_alone: bool = False) -> None:
        super().__init__(message)
        self.drift_alone = drift_alone


class BackupError(RuntimeError):
    """A backup that cannot be made, or cannot be restored; what is there is as it was."""


class DamagedBackupError(BackupError):
    """A backup that is not what was written; names the file."""


class ReplayError(RuntimeError):
    """A logged answer that cannot be made again."""


class NotLoggedError(ReplayError):
    """The request log holds no such request."""


class SplitError(RuntimeError):
    """An evaluation that cannot be done as asked: no such split or model."""


class TunedReportError(RuntimeError):
    """A report of tuning that cannot be used for this evaluation."""


class MissingFigureError(RuntimeError):
    """A benchmark's figure that something is computed from was not measured; names the command."""


class PlatformError(RuntimeError):
    """A part of the local platform did not start; the message names the part and its log."""


class MonitorError(RuntimeError):
    """A part of the monitoring could not be looked at; the message names it."""


class ModelRefusedError(RuntimeError):
    """The gate does not let a model into service; the message has its reasons."""
