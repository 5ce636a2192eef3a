"""The choices that a report of `kairos tune` holds, for the evaluation of the same question."""

from __future__ import annotations

import json
from pathlib import Path

from flows.errors import TunedReportError
from models.entrants import ENTRANTS, Choices


def tuned_choices(file: Path, split: str, keep_seen: bool) -> dict[str, Choices]:
    """Model -> its best choices, from a report of `tune_log`.

    Raises:
        TunedReportError: it is no such report, or was made for another question.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        about, models = report["about"], report["models"]
        made_for = {"split": about["split"], "keep_seen": about["keep_seen"]}
        choices: dict[str, Choices] = {name: dict(tuned["choices"]) for name, tuned in models.items()}
    except OSError as error:
        raise TunedReportError(f"--tuned {file}: cannot be read ({error.strerror}); kairos tune writes it") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TunedReportError(f"--tuned {file}: is no report of kairos tune ({error!r})") from None
    for field, asked in {"split": split, "keep_seen": keep_seen}.items():
        if made_for[field] != asked:
            raise TunedReportError(
                f"--tuned {file}: was made with {field} {made_for[field]!r}, expected {asked!r} as is evaluated: with "
                "another split the choices may know the answers"
            )
    if unknown := [name for name in choices if name not in ENTRANTS]:
        raise TunedReportError(f"--tuned {file}: there is no model {unknown[0]!r}; expected {', '.join(ENTRANTS)}")
    return choices
