"""The gate before service: a published bundle beside the champion on the newest holdout, and what was decided of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from feature_repo import schema as s
from feature_repo.errors import NoRequestsError
from feature_repo.parity.requests import check_requests
from feature_repo.store import Features
from flows.decisions import Decision
from flows.evaluate import HeldOut, held_out, judged_users
from flows.train import fingerprint
from flows.trial import try_over_http
from infra.settings import Settings
from models import bundle, gate, registry, smoke
from models.gate import Finding, GateConfig, Holdout, Shown
from models.judged_probabilities import judge_probabilities
from models.recommender import Recommender

REQUESTS: Final = 200
"""Logged requests whose features are compared with the lake's."""


@dataclass(frozen=True)
class _Model:
    """A published bundle in memory, tried out."""

    tag: str
    recommender: Recommender
    manifest: dict[str, Any]
    folder: Path

    @classmethod
    def read(cls, tag: str) -> _Model:
        """Read and try out.

        Raises:
            Exception: it is not what was published, or does not answer; every library has errors of its own for that.
        """
        folder = registry.bundle_path(tag)
        registry.check(folder)
        recommender = bundle.load(folder)
        smoke.try_out(recommender)
        return cls(tag, recommender, bundle.manifest(folder), folder)

    @property
    def cut(self) -> float | None:
        """Epoch seconds: nothing later was learned from."""
        return self.manifest.get("items_at")


def judge(config: Settings, tag: str, limits: GateConfig = GateConfig()) -> Decision:
    """Compare a published bundle with the champion; nothing is put into service.

    Without a champion, or beside itself, a bundle has to be whole, fast, calibrated and better than popularity. A check
    that fails itself is a finding that says no.

    Raises:
        NoChampionError: the store holds no such bundle.
    """
    registry.bundle_path(tag)
    champion_tag, champion, note = _champion(config, tag)
    findings = [note] if note else []
    challenger: _Model | None = None
    try:
        challenger = _Model.read(tag)
    except Exception as error:  # noqa: BLE001 - see `_Model.read`
        findings.append(Finding("whole", False, f"{type(error).__name__}: {error}"))
    if challenger:
        findings.append(Finding("whole", True, "it is what was published, and answers what requests ask for"))
        findings += _judged(config, challenger, champion, limits)
    return Decision.of(tag, champion_tag, findings, _is_improvement(findings, limits))


def _champion(config: Settings, challenger: str) -> tuple[str | None, _Model | None, Finding | None]:
    """Tag of the one in service; the model to compare with; what there is to say of it, where it cannot be."""
    try:
        tag = registry.champion(config.champion).tag
    except registry.NoChampionError:
        return None, None, None
    except (ValueError, TypeError) as error:
        return None, None, Finding("champion", True, f"its pointer is damaged, nothing is compared: {error}")
    if tag == challenger:
        return tag, None, None
    try:
        return tag, _Model.read(tag), None
    except Exception as error:  # noqa: BLE001 - see `_Model.read`; what is in service is worse than nothing to compare with
        return tag, None, Finding("champion", True, f"{tag} does not work, nothing is compared: {error}")


def _judged(config: Settings, challenger: _Model, champion: _Model | None, limits: GateConfig) -> list[Finding]:
    held = held_out(config)
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "origin": lambda: _origin(challenger, champion, held),
        "features": lambda: [_features(config, challenger)],
        "parity of requests": lambda: [_requests(config, limits)],
        "answers over HTTP": lambda: [_over_http(config, challenger, held, limits)],
        "quality": lambda: _compared(challenger, champion, held, limits),
        "calibration": lambda: [_calibration(challenger, champion, held, limits)],
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            findings += check()
        except Exception as error:  # noqa: BLE001 - a check that breaks says no; an operator may say otherwise
            findings.append(Finding(name, False, f"could not be looked at: {type(error).__name__}: {error}"))
    return findings


def _compared(challenger: _Model, champion: _Model | None, held: HeldOut, limits: GateConfig) -> Iterator[Finding]:
    """Beside the champion, on what the champion is for: a challenger does not choose what it is judged by."""
    target = (champion or challenger).recommender.target
    catalogue = set(challenger.recommender.item_names) | set(champion.recommender.item_names if champion else ())
    holdout = Holdout(*judged_users(held, target, catalogue))
    everybody = replace(holdout, states=held.states)
    yield gate.latency(challenger.recommender, champion.recommender if champion else None, everybody, limits)
    yield gate.repeats(challenger.recommender, bundle.load(challenger.folder), everybody, limits)
    if not holdout.states:
        said = f"nobody had a {target} in the holdout, so quality could not be compared"
        yield Finding("quality", champion is None, said)
        return
    ours = Shown.by(challenger.recommender, holdout, limits.k)
    yield gate.better_than_popular(ours, Shown.popular(challenger.recommender, holdout, limits.k), holdout, limits)
    if champion:
        theirs = Shown.by(champion.recommender, holdout, limits.k)
        yield from gate.quality(ours, theirs, holdout, limits)
        yield gate.coverage(ours, theirs, limits)


def _origin(challenger: _Model, champion: _Model | None, held: HeldOut) -> Iterator[Finding]:
    """What it was trained on: nothing that it is judged on, no older than the champion's, and still there."""
    cut, judged_from = challenger.cut, held.cuts.cut.timestamp()
    if cut is None:
        yield Finding("reproducible", False, "the bundle does not say what it was trained on; train again")
        return
    for who, model in (("it", challenger), ("the champion", champion)):
        if model and model.cut is not None and model.cut > judged_from:
            said = f"{who} was trained until {_date(model.cut)}, on part of the holdout from {_date(judged_from)} on"
            yield Finding("unseen", False, f"{said}: train it with the KAIROS_HOLDOUT_DAYS that hold now")
    if champion and champion.cut is not None:
        said = f"trained on what happened until {_date(cut)}, the champion until {_date(champion.cut)}"
        yield Finding("as fresh", cut >= champion.cut, said)
    moment = datetime.fromtimestamp(cut, UTC)
    stamps = held.events[s.TIMESTAMP]
    before = held.events.filter(pa.compute.less(stamps, pa.scalar(moment, stamps.type)))
    same = fingerprint(before, moment) == challenger.manifest["fingerprint"]
    said = f"the lake {'still holds' if same else 'no longer holds just'} what it was trained on"
    yield Finding("reproducible", same, said if same else f"{said}: events came or went since; train again")


def _features(config: Settings, challenger: _Model) -> Finding:
    """Every feature that it asks for is there to be read."""
    service = challenger.manifest["feature_service"]
    there = set(Features.open(config).feature_names(service)) if service else set()
    missing = [name for name in challenger.manifest["features"] if service and name not in there]
    said = f"{', '.join(missing)}: no feature of {service} any more" if missing else "all that it asks for are there"
    return Finding("features", not missing, said)


def _requests(config: Settings, limits: GateConfig) -> Finding:
    """What requests were answered from is what training reads of the same moments."""
    try:
        report = check_requests(config, REQUESTS)
    except NoRequestsError:
        return Finding("parity of requests", True, "no request is logged, so nothing was compared")
    values = report.values.total()
    share = report.differences / max(values, 1)
    said = f"{report.differences:,} of {values:,} values that requests read differ from the lake's"
    passed = share <= limits.other_values
    return Finding("parity of requests", passed, f"{said} (at most {limits.other_values:.1%})", {"share": share})


def _over_http(config: Settings, challenger: _Model, held: HeldOut, limits: GateConfig) -> Finding:
    """The latency that clients will see, with the features that are online."""
    return try_over_http(config, challenger.tag, [state.user_id for state in held.states[: limits.asked]], limits)


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
