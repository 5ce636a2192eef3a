"""The process beside a service that refreshes the item features: a moment in, a line about what was done out.

    python -m feature_repo.refresh_worker

It ends when its input does, so it never outlives the service that started it.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any, Final, TextIO

from feature_repo.errors import FeatureError
from feature_repo.refresh import refresh
from feature_repo.store import Features
from infra.memory import keep_for_good
from infra.settings import Settings, settings

POLITENESS: Final = 10
"""Requests come first: added to the process's nice value."""


def work(config: Settings, moments: TextIO, answers: TextIO) -> None:
    """Refresh as of each moment that comes in, ISO 8601, one a line; answer each with one line of JSON.

    An error of another kind than ours ends the process: who asks starts a new one, which opens the stores anew.
    """
    features = Features.open(config)
    for number, line in enumerate(moments):
        answers.write(json.dumps(_refresh(features, datetime.fromisoformat(line.strip()))) + "\n")
        answers.flush()
        if not number:  # the first one loads what all later ones work with
            keep_for_good()


def _refresh(features: Features, moment: datetime) -> dict[str, Any]:
    try:
        features.feast.refresh_registry()
        done = refresh(features, moment, run="refresh")
    except FeatureError as error:
        return {"error": str(error)}
    return {"moment": done.moment.isoformat(), "version": done.version, "rows": done.rows}


if __name__ == "__main__":
    os.nice(POLITENESS)
    # Answers alone go to the standard output: whatever else prints, prints to the log.
    answers, sys.stdout = sys.stdout, sys.stderr
    work(settings(), sys.stdin, answers)
