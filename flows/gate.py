"""The gate before service: a published bundle beside the champion on the newest holdout, and what was decided of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from feature_repo.errors import NoRequestsError
from feature_repo.parity.requests import check_requests
from feature_repo.store import Features
from flows.decisions import Decision
from flows.evaluate import HeldOut, held_out, judged_users
from flows.train import fingerprint
from infra.settings import Settings
from models import bundle, gate, registry, smoke
from models.errors import ModelError
from models.gate import Finding, GateConfig, Holdout, Shown
from models.judged_probabilities import judge_probabilities
from models.recommender import Recommender

REQUESTS: Final = 200
"""Logged requests whose features are compared with the lake's."""


@dataclass(frozen=True)
class _Model:
    """A published bundle in memory."""

    tag: str
    recommender: Recommender
    manifest: dict[str, Any]
    folder: Path

    @classmethod
    def read(cls, tag: str) -> _Model:
        """Raises:
        ModelError: it is not what was published, or cannot be read.
        NoChampionError: the store holds no such model.
        """
        folder = registry.bundle_path(tag)
        registry.check(folder)
        return cls(tag, bundle.load(folder), bundle.manifest(folder), folder)

    @property
    def cut(self) -> float | None:
        """Epoch seconds: nothing later was learned from."""
        return self.manifest["items_at"]


def judge(config: Settings, tag: str, limits: GateConfig = GateConfig()) -> Decision:
    """Compare a published bundle with the champion; nothing is put into service.

    Without a champion, or beside itself, a bundle has to be whole, fast, calibrated and better than popularity.

    Raises:
        NoChampionError: the store holds no such bundle.
    """
    champion, note = _champion(config, tag)
    findings = list(_findings(config, tag, champion, limits))
    if note:
        findings.append(Finding("champion", True, note))
    return Decision.of(tag, champion.tag if champion else None, findings, _is_improvement(findings, limits))


def _champion(config: Settings, challenger: str) -> tuple[_Model | None, str]:
    """The model to compare with, and a note where there is one but it cannot be compared with."""
    try:
        tag = registry.champion(config.champion).tag
        return (None, "") if tag == challenger else (_Model.read(tag), "")
    except registry.NoChampionError:
        return None, ""
    except (ModelError, ValueError, TypeError, OSError) as error:
        return None, f"the champion cannot be read, so there is nothing to compare with: {error}"


def _findings(config: Settings, tag: str, champion: _Model | None, limits: GateConfig) -> Iterator[Finding]:
    try:
        challenger = _Model.read(tag)
        smoke.try_out(challenger.recommender)
    except ModelError as error:
        yield Finding("whole", False, str(error))
        return
    yield Finding("whole", True, "it is what was published, and answers what requests ask for")
    held = held_out(config)
    yield from _origin(challenger, champion, held.events)
    yield _features(config, challenger)
    yield _requests(config)
    catalogue = set(challenger.recommender.item_names) | set(champion.recommender.item_names if champion else ())
    states, truth, bought = judged_users(held, challenger.recommender.target, catalogue)
    if not states:
        yield Finding("quality", True, "nobody took anything in the holdout: quality was not compared")
        return
    yield from _compared(challenger, champion, Holdout(states, truth, bought), limits)
    yield _calibration(challenger, champion, held, limits)


def _compared(challenger: _Model, champion: _Model | None, holdout: Holdout, limits: GateConfig) -> Iterator[Finding]:
    ours = Shown.by(challenger.recommender, holdout, limits.k)
    yield gate.better_than_popular(ours, Shown.popular(challenger.recommender, holdout, limits.k), holdout, limits)
    yield gate.latency(challenger.recommender, champion.recommender if champion else None, holdout, limits)
    yield gate.repeats(challenger.recommender, bundle.load(challenger.folder), holdout, limits)
    if champion:
        theirs = Shown.by(champion.recommender, holdout, limits.k)
        yield from gate.quality(ours, theirs, holdout, limits)
        yield gate.coverage(ours, theirs, limits)


def _origin(challenger: _Model, champion: _Model | None, events: pa.Table) -> Iterator[Finding]:
    """What it was trained on: no older than what the champion was, and still there to train it again."""
    cut = challenger.cut
    if cut is None:
        yield Finding("reproducible", False, "the bundle does not say what it was trained on; train again")
        return
    if champion and champion.cut is not None:
        said = f"trained on what happened until {_date(cut)}, the champion until {_date(champion.cut)}"
        yield Finding("as fresh", cut >= champion.cut, said)
    moment = datetime.fromtimestamp(cut, UTC)
    before = pa.compute.less(events["timestamp"], pa.scalar(moment, events["timestamp"].type))
    same = fingerprint(events.filter(before), moment) == challenger.manifest["fingerprint"]
    said = f"the lake {'still holds' if same else 'no longer holds just'} what it was trained on"
    yield Finding("reproducible", same, said if same else f"{said}: events came or went since; train again")


def _features(config: Settings, challenger: _Model) -> Finding:
    """Every feature that it asks for is there to be read."""
    service = challenger.manifest["feature_service"]
    there = set(Features.open(config).feature_names(service)) if service else set()
    missing = [name for name in challenger.manifest["features"] if service and name not in there]
    said = f"{', '.join(missing)}: no feature of {service} any more" if missing else "all that it asks for are there"
    return Finding("features", not missing, said)


def _requests(config: Settings) -> Finding:
    """What requests were answered from is what training reads of the same moments."""
    try:
        report = check_requests(config, REQUESTS)
    except NoRequestsError:
        return Finding("parity of requests", True, "no request is logged yet")
    said = f"{report.differences:,} of {report.values.total():,} values that requests read differ from the lake's"
    return Finding("parity of requests", report.differences == 0, said, {"differences": float(report.differences)})


def _calibration(challenger: _Model, champion: _Model | None, held: HeldOut, limits: GateConfig) -> Finding:
    cut, end = held.cuts.cut.timestamp(), held.cuts.end.timestamp()
    ours, theirs = (
        judge_probabilities(model.recommender, held.states, held.events, cut, end) if model else None
        for model in (challenger, champion)
    )
    return gate.calibration(ours, theirs, limits)


def _is_improvement(findings: list[Finding], limits: GateConfig) -> bool:
    by_name = {finding.check: finding for finding in findings}
    over_all = by_name.get("quality, all items")
    if over_all is None or not over_all.figures:
        return False
    figures = over_all.figures
    return gate.Compared(
        int(figures["users"]), figures["ours"], figures["theirs"], figures["low"], figures["high"]
    ).is_better(limits.margin)


def _date(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
