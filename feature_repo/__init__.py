"""The event contract, the feature definitions, and the only code that reads or writes Feast."""

from __future__ import annotations

from typing import Any


def _leave_feast_alone() -> None:
    """Importing Feast took 6 s of processor time in every process; 3.6 s of them typeguard rewrote its classes.

    What that checks, the types of what Feast is given, mypy and `feature_repo.checks` see before.
    """
    try:
        import typeguard
    except ImportError:  # where there is the client alone, there is no Feast
        return
    original: Any = typeguard.typechecked

    def typechecked(target: Any = None, /, **options: Any) -> Any:
        if str(getattr(target, "__module__", "")).partition(".")[0] == "feast":
            return target
        return original(target, **options)

    typeguard.typechecked = typechecked


_leave_feast_alone()
