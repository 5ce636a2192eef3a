"""What the last accepted run's features looked like: the measure of drift, one small JSON per feature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from flows.json_file import write_json
from flows.quality.spread import Spread


@dataclass(frozen=True)
class Accepted:
    """A feature as of the run that was accepted last.

    Args:
        moment: that its values were true for; None: the rows carry their own time.
        columns: spread of each column that has expectations.
    """

    feature: str
    run: str
    moment: datetime | None
    columns: Mapping[str, Spread] = field(default_factory=dict)

    @property
    def had_rows(self) -> bool:
        return any(spread.rows for spread in self.columns.values())

    def save(self, folder: Path) -> None:
        content = {**asdict(self), "moment": self.moment and self.moment.isoformat()}
        for name, spread in self.columns.items():
            content["columns"][name]["null_share"] = round(spread.null_share, 6)  # for people who read the file
        write_json(folder / f"{self.feature}.json", content)

    @classmethod
    def of(cls, folder: Path, feature: str) -> Accepted | None:
        """None: no run of the feature was accepted yet."""
        try:
            content = json.loads((folder / f"{feature}.json").read_text())
        except FileNotFoundError:
            return None
        columns = {name: Spread(c["edges"], c["counts"]) for name, c in content["columns"].items()}
        moment = content["moment"] and datetime.fromisoformat(content["moment"])
        return cls(content["feature"], content["run"], moment, columns)
