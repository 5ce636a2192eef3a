"""Outside ids become inside ids once; inside id 0 stands for padding and for everything unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

UNKNOWN = 0


class IdMap:
    """Strings <-> the integers 1..n, in the order given. Unknown strings become `UNKNOWN`, never an error."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(dict.fromkeys(names))
        self._ids = {name: index for index, name in enumerate(self.names, start=1)}

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
        ids = self._ids
        return np.fromiter((ids.get(name, UNKNOWN) for name in names), dtype=np.int32, count=len(names))  # type: ignore[arg-type]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The strings of inside ids; 0 and out-of-range ids are a programming error (IndexError)."""
        out = []
        for index in ids:
            if index <= UNKNOWN:
                raise IndexError(f"inside id {index} has no outside name")
            out.append(self.names[index - 1])
        return out

    def save(self, file: Path) -> None:
        """Writes the names as a JSON list."""
        file.write_text(json.dumps(self.names, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> IdMap:
        """Reads what `save` wrote."""
        return cls(json.loads(file.read_text(encoding="utf-8")))
