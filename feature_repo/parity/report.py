"""What a comparison found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from feature_repo.feature import Feature
from feature_repo.parity.values import same

SHOWN: Final = 20
"""Differences that are kept; the others are counted."""


@dataclass(frozen=True)
class Difference:
    """One value that was not the same."""

    key: str
    """Of the entity: a user's or an item's id, an hour of the week."""
    moment: datetime
    column: str
    """`view:feature`, or `view:event_timestamp` for a row that is true for another moment than it should be."""
    online: Any
    offline: Any


@dataclass
class ParityReport:
    """Counts what was compared; a list is one value."""

    events: int = 0
    """Applied to the online store one by one, or requests looked at."""
    rows: int = 0
    """Online rows compared, each a view's row of one entity at one moment."""
    values: Counter[str] = field(default_factory=Counter)
    """Per `view:feature`."""
    differing: Counter[str] = field(default_factory=Counter)
    """The same for the values that differ."""
    first: list[Difference] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Per step."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Requests that cannot be compared yet, or any more, by the reason."""

    @property
    def differences(self) -> int:
        return self.differing.total()

    def compare(
        self, feature: Feature, key: Any, moment: datetime, online: Mapping[str, Any], offline: Mapping[str, Any]
    ) -> None:
        """Look at the columns that were read online; a row that is not there has nothing in each of them."""
        self.rows += 1
        for name in online.keys() & feature.fields.keys():
            self.compare_value(f"{feature.name}:{name}", key, moment, online[name], offline.get(name))

    def compare_value(self, column: str, key: Any, moment: datetime, online: Any, offline: Any) -> None:
        """Look at one value."""
        self.values[column] += 1
        if same(online, offline):
            return
        self.differing[column] += 1
        if len(self.first) < SHOWN:
            self.first.append(Difference(str(key), moment, column, online, offline))
