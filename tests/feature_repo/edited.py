"""Feature files that a test writes, found as those of the package are."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from feature_repo import features

HEAD = """
from datetime import timedelta
from feast.types import *
from feature_repo.feature import ITEM, MOMENT, USER, Expect, Feature
from feature_repo.schema import USER_ID
"""


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of feature files; what is written counts from the next look on, as in a new process."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        file = self.path / f"{name}.py"
        file.write_text(HEAD + text)
        self._read_anew()
        return file

    def remove(self, name: str) -> None:
        (self.path / f"{name}.py").unlink()
        self._read_anew()

    def _read_anew(self) -> None:
        for file in self.path.glob("*.py"):
            sys.modules.pop(f"{features.__name__}.{file.stem}", None)
        importlib.invalidate_caches()
        features._discovered.cache_clear()


def feature_folder(folder: Path, patch: pytest.MonkeyPatch, *, beside_ours: bool) -> FeatureFolder:
    folder.mkdir()
    patch.setattr(features, "__path__", [*(features.__path__ if beside_ours else []), str(folder)])
    patch.setattr(sys, "dont_write_bytecode", True)  # else an edit within a second goes unseen
    return FeatureFolder(folder)


def counting(
    name: str, fields: str = "n=Float64", columns: str = "n=history.count().cast('float64')", more: str = ""
) -> str:
    """A feature file's text: columns of an aggregation of a user's history."""
    return f"""
def compute(history):
    return history.group_by(USER_ID, MOMENT).agg({columns})

FEATURE = Feature(
    name="{name}",
    entity=USER,
    reads="history",
    compute=compute,
    fields=dict({fields}),
    description="A count",
    {more}
)
"""
