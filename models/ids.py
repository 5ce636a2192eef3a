"""Outside ids become inside ids once; inside id 0 stands for padding and for everything unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

UNKNOWN = 0
_LINE: Final = 5_000
"""Names per line: a parser holds Python's lock until it is through, and in the service requests wait for it."""


class IdMap:
    """Strings <-> the integers 1..n, in the order given. Unknown strings become `UNKNOWN`, never an error."""

    def __init__(self, names: Iterable[str]) -> None:
        self._ids: dict[str, int] = {}
        # Name by name, because dict() of a million would hold Python's lock until it is through.
        for name in names:
            self._ids.setdefault(name, len(self._ids) + 1)
        self.names: tuple[str, ...] = tuple(self._ids)

    def __len__(self) -> int:
        """Number of inside ids with the reserved 0: the number of rows that an embedding needs."""
        return len(self.names) + 1

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def get(self, name: str | None) -> int:
        """The inside id of one string; `UNKNOWN` if there is none."""
        return UNKNOWN if name is None else self._ids.get(name, UNKNOWN)

    def encode(self, names: Sequence[str | None]) -> npt.NDArray[np.int32]:
        """Inside ids [n] of the strings [n]."""
        # Looked up without a step of Python's own for each: a request has several hundred.
        inside = map(self._ids.get, names, repeat(UNKNOWN))  # type: ignore[arg-type]
        return np.fromiter(inside, dtype=np.int32, count=len(names))

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The strings of inside ids; 0 and out-of-range ids are a programming error (IndexError)."""
        out = []
        for index in ids:
            if index <= UNKNOWN:
                raise IndexError(f"inside id {index} has no outside name")
            out.append(self.names[index - 1])
        return out

    def save(self, file: Path) -> None:
        """Writes the names as JSON lists, a line each."""
        parts = (self.names[start : start + _LINE] for start in range(0, len(self.names), _LINE))
        file.write_text("\n".join(json.dumps(part, ensure_ascii=False) for part in parts) or "[]", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> IdMap:
        """Reads what `save` wrote, and the one list that it wrote before there were lines."""
        # Lines of bytes: those of text end at more than line feeds.
        return cls(name for line in file.read_bytes().splitlines() for name in json.loads(line))


def is_among(ids: npt.NDArray[np.int32], among: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """[M] whether each id is among sorted ids."""
    if not len(among):
        return np.zeros(len(ids), dtype=bool)
    at = np.searchsorted(among, ids)
    at[at == len(among)] = 0
    return among[at] == ids
