"""What the ranker's heads mean: how likely it is that a user does something with an item within a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from models.calibration import Calibration


@dataclass(frozen=True)
class Probabilities:
    """A calibration for each head that has one."""

    horizon_s: float
    """Within which it happens or does not."""
    heads: Mapping[str, Calibration]

    def save(self, folder: Path) -> dict[str, Any]:
        """Writes one file for each head into a new folder; returns what `load` needs beside them, as plain data."""
        folder.mkdir()
        for head, calibration in self.heads.items():
            calibration.save(_file(folder, head))
        return {"horizon_s": self.horizon_s, "heads": list(self.heads)}

    @classmethod
    def load(cls, folder: Path, about: Mapping[str, Any]) -> Self:
        """Reads what `save` wrote, and returned.

        Raises:
            FileNotFoundError: a head's file is missing.
            CalibrationFileError: a file is something else.
        """
        return cls(about["horizon_s"], {head: Calibration.load(_file(folder, head)) for head in about["heads"]})


def _file(folder: Path, head: str) -> Path:
    return folder / f"{head}.json"
