"""Going back to an earlier champion, and who did: a file per rollback, that nobody writes to again.

They are kept apart from the decisions, for a rollback says nothing of whether a model may go into service.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from flows.json_file import write_json
from infra.settings import Settings
from models import registry


@dataclass(frozen=True)
class Rollback:
    """Which champion came back, and who said so.

    Attributes:
        to: tag of the champion that came back.
        champion: tag of the one that was in service.
        by: the operator.
        because: the reason; empty: none was given.
        at: ISO 8601, UTC.
    """

    to: str
    champion: str
    by: str
    because: str
    at: str

    def summary(self) -> dict[str, str]:
        """Its row among the decisions, for people."""
        return {
            "when (UTC)": self.at[:19],
            "model": self.to,
            "champion then": self.champion,
            "decision": f"rolled back to by {self.by}",
            "because": self.because,
        }


def roll_back(config: Settings, to: str | None, by: str, because: str = "") -> registry.Champion:
    """Put an earlier champion back into service, and keep who did; arguments and errors are `registry.rollback`'s."""
    held = registry.champion(config.champion).tag
    back = registry.rollback(config.champion, to=to)
    name = f"{datetime.fromisoformat(back.since):%Y%m%dT%H%M%S.%f}-{back.version}.json"
    write_json(config.rollbacks / name, asdict(Rollback(back.tag, held, by, because, back.since)))
    return back


def rollbacks(config: Settings) -> list[Rollback]:
    """All that were recorded, oldest first."""
    return [Rollback(**json.loads(file.read_text())) for file in sorted(config.rollbacks.glob("*.json"))]
