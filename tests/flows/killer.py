"""A process that ends at a chosen step, without ending the tests' own."""

from __future__ import annotations

import sys
from pathlib import Path


class Killed(BaseException):
    """The end of a process: no `except Exception` hears of it."""


class Killer:
    """Ends whoever touches files under a folder, right before one of the steps."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.left = 0
        sys.addaudithook(self._step)  # for good, as Python has it

    def arm(self, folder: Path, step: int) -> None:
        self.folder, self.left = str(folder), step

    def _step(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder is None or not (event == "open" or event.startswith(("os.", "shutil."))):
            return
        if not any(str(argument).startswith(self.folder) for argument in arguments[:2]):
            return
        self.left -= 1
        if self.left == 0:
            self.folder = None
            raise Killed
