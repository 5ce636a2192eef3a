"""Runs a module's command that ends, with all processes that it started, when its input does.

    python -m flows.ends_with_input MODULE ARGUMENT...

Whoever starts it, as the first of a session, holds the other end of its input: that one's end is its end, too.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
