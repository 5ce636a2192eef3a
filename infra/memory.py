"""What stays in memory for as long as a process lives is not looked through again and again."""

from __future__ import annotations

import gc


def keep_for_good() -> None:
    """Tell Python's cyclic garbage collection that what is there now stays.

    To be called once a process has loaded what it works with: a full collection looks at every object, of which Feast,
    Ibis and torch make millions, and holds Python's lock for 400 ms meanwhile, several times a minute under load.
    """
    gc.collect()
    gc.freeze()
