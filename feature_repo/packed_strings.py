"""Many strings in a file: JSON lists, a line each.

In parts, because a parser holds Python's lock until it is through, and in the service requests wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LINE: Final = 5_000
"""Strings per line: about half a millisecond."""


def write_strings(file: Path, strings: Sequence[str | None]) -> None:
    """Write a file that `read_strings` reads."""
    lines = (json.dumps(strings[start : start + LINE], ensure_ascii=False) for start in range(0, len(strings), LINE))
    file.write_text("\n".join(lines), encoding="utf-8")


def read_strings(file: Path) -> tuple[str | None, ...]:
    """The strings, in order.

    Raises:
        ValueError: it is not such a file.
    """
    strings: list[str | None] = []
    for line in file.read_bytes().splitlines():  # of bytes: of text, it splits at more than line feeds
        strings += json.loads(line)
    return tuple(strings)
