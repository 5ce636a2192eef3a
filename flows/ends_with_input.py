"""Runs a module's command that ends, with all processes that it started, when our input does.

    python -m flows.ends_with_input MODULE ARGUMENT...

Whoever starts this holds the other end of its input: that one's end, however it comes, is the command's end, too.
BentoML's workers outlive the process that started them, and are in no group with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress

import psutil


def _end_with_input(command: psutil.Process) -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock would be held when we end
        pass
    command.suspend()  # or it would start others in place of those that are gone
    for process in (*command.children(recursive=True), command):
        with suppress(psutil.NoSuchProcess):  # some end with their parent
            process.kill()


if __name__ == "__main__":
    child = psutil.Popen([sys.executable, "-m", *sys.argv[1:]], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    sys.exit(child.wait())
