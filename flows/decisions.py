"""What was decided of models: a file per decision, by the gate or by an operator, that nobody writes to again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from flows.errors import ModelRefusedError
from flows.json_file import write_json
from infra.settings import Settings
from models.gate import Finding

GATE: Final = "gate"


@dataclass(frozen=True)
class Decision:
    """Whether a model may go into service, and why.

    Attributes:
        challenger: tag of the model.
        champion: tag of the one that it was compared with; None: there was none.
        accepted: whether it may.
        improvement: whether it is surely better than the champion, and not only no worse.
        findings: of the checks.
        by: the gate, or the operator who decided otherwise.
        because: the operator's reason.
        at: ISO 8601, UTC.
    """

    challenger: str
    champion: str | None
    accepted: bool
    improvement: bool
    findings: tuple[Finding, ...]
    by: str = GATE
    because: str = ""
    at: str = ""

    @classmethod
    def of(cls, challenger: str, champion: str | None, findings: Sequence[Finding], improvement: bool) -> Decision:
        """The gate's: every check has to pass."""
        accepted = all(finding.passed for finding in findings)
        now = datetime.now(UTC).isoformat()
        return cls(challenger, champion, accepted, improvement and accepted, tuple(findings), at=now)

    def overridden(self, because: str, by: str) -> Decision:
        """An operator's: into service all the same."""
        return replace(self, accepted=True, by=by, because=because, at=datetime.now(UTC).isoformat())

    @property
    def reasons(self) -> list[str]:
        """Why it was refused."""
        return [f"{finding.check}: {finding.said}" for finding in self.findings if not finding.passed]

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.by != GATE:
            return f"approved by {self.by}: {self.because}"
        if not self.accepted:
            return "refused"
        if self.champion in (None, self.challenger):
            return "accepted: there is no champion to compare with"
        return "accepted: better than the champion" if self.improvement else "accepted: no worse than the champion"

    def rows(self) -> list[dict[str, str]]:
        """A row per check, for people."""
        return [{"check": f.check, "": "ok" if f.passed else "NO", "found": f.said} for f in self.findings]

    def summary(self) -> dict[str, str]:
        """Its row among all decisions, for people."""
        return {
            "when (UTC)": self.at[:19],
            "model": self.challenger,
            "champion then": self.champion or "",
            "decision": self.verdict,
            "because": "; ".join(self.reasons),
        }


def record(config: Settings, decision: Decision) -> None:
    """Keep a decision."""
    name = f"{datetime.fromisoformat(decision.at):%Y%m%dT%H%M%S.%f}-{decision.challenger.partition(':')[2]}.json"
    write_json(config.decisions / name, asdict(decision))


def decisions(config: Settings) -> list[Decision]:
    """All that were recorded, oldest first."""
    return [_read(json.loads(file.read_text())) for file in sorted(config.decisions.glob("*.json"))]


def latest_of(config: Settings, tag: str) -> Decision:
    """The newest decision of a model.

    Raises:
        ModelRefusedError: nothing was decided of it.
    """
    found = [decision for decision in decisions(config) if decision.challenger == tag]
    if not found:
        raise ModelRefusedError(f"{tag}: the gate has not judged it yet; run `kairos gate {tag}` first")
    return found[-1]


def _read(content: Mapping[str, Any]) -> Decision:
    return Decision(**{**content, "findings": tuple(Finding(**finding) for finding in content["findings"])})
