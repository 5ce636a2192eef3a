"""The Frappe split as its authors wrote it, in lines of libFM: a label, then `id:1` for each field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.models.public import folder
from models.field_training import FieldRows

SOURCE: Final = "github.com/hexiangnan/neural_factorization_machine, data/frappe/"
_FILES: Final = {
    "train": "frappe.train.RESAMPLED_NEGATIVES.libfm",
    "validation": "frappe.validation.libfm",
    "test": "frappe.test.libfm",
}


@dataclass(frozen=True)
class FrappeSplit:
    """Uses of apps (1) and apps drawn at random in the same context (0)."""

    fields: dict[str, int]
    """Name -> how many codes it has, in the order of the columns."""
    train: FieldRows
    """Its negatives' apps are drawn again: the original file of the training is not to be had."""
    validation: FieldRows
    test: FieldRows


def frappe() -> FrappeSplit:
    """The three files and the map of their ids."""
    found = folder("frappe", SOURCE)
    about = json.loads((found / "feature_map.json").read_text())
    fields = {name: len(about["maps"][name]) for name in about["fields"]}
    first_ids = [about["offset"][name] for name in fields]
    return FrappeSplit(fields, **{part: read_libfm(found / file, first_ids) for part, file in _FILES.items()})


def read_libfm(file: Path, first_ids: list[int]) -> FieldRows:
    """Rows of a file whose lines have one feature of each field, in order.

    Args:
        first_ids: of each field; its codes count from there.

    Raises:
        SystemExit: lines have another form.
    """
    width = len(first_ids) + 1
    lines = [line.split() for line in file.read_text().splitlines()]
    for number, words in enumerate(lines, 1):
        if len(words) != width or not all(word.endswith(":1") for word in words[1:]):
            raise SystemExit(f"{file}, line {number}: expected a label and {width - 1} times id:1, found {words}")
    ids = np.array([[word.removesuffix(":1") for word in words] for words in lines]).astype(np.int64)
    return FieldRows(ids[:, 1:] - np.array(first_ids), (ids[:, 0] > 0).astype(np.float32))
