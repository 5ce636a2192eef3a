"""What a training goes on from: the champion, where it was trained as one would train now, and not too long ago anew.

The ranker learns over a whole horizon, the distance of the training cuts, from the last model that stood at the
beginning of one; in between, the nights' models carry it on as it is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from feature_repo.definitions import USER_SERVICE
from feature_repo.feature_code import code_digest
from feature_repo.features import discover
from feature_repo.store import Features
from flows.decisions import decisions
from flows.timeline import Timeline, just_before
from infra.settings import Settings
from models import bundle, registry
from models.errors import BundleError, NotUpdatableError
from models.recommender import Recommender
from models.training import TrainingConfig
from models.unfinished import Unfinished


@dataclass(frozen=True)
class Begun:
    """A training that begins."""

    model: TrainingConfig
    cuts: Timeline
    features: Features
    events: pa.Table
    """Those before the cut"""
    run: Path
    """Folder of its checkpoints and logs; its name will be the bundle's."""

    @property
    def unfinished(self) -> Unfinished:
        """What a training that was killed has left."""
        return Unfinished(self.run.with_name("unfinished"))

    @cached_property
    def choices(self) -> dict[str, Any]:
        """What two trainings must have in common for one to go on from the other, as plain data."""
        choices = asdict(self.model)
        for name in ("als", "neighbours", "sequence"):
            choices[name].pop("threads")
        choices["sequence"].pop("devices")
        digests = {name: code_digest(feature) for name, feature in discover().items()}
        plain: dict[str, Any] = json.loads(json.dumps({**choices, "features": digests}))
        return plain


@dataclass(frozen=True)
class Origin:
    """How a bundle came about; kept in its manifest."""

    choices: dict[str, Any]
    anew_at: float
    """Cut, epoch s, of the last training that began anew,"""
    because: str
    """and why it did."""
    goes_on_from: str | None
    """Name of the bundle before; None: of none"""
    teacher: str
    """Name of the bundle whose sources, as of its own cut, the next lesson begins with"""

    @classmethod
    def anew(cls, begun: Begun, why: str) -> Self:
        """Of a training that goes on from nothing."""
        return cls(begun.choices, begun.cuts.cut.timestamp(), why, None, begun.run.name)


@dataclass(frozen=True)
class Base:
    """What to go on from."""

    name: str
    folder: Path
    """Of the champion's bundle"""
    about: dict[str, Any]
    """Its manifest"""
    teacher: Path
    """Folder of the bundle that stood where the next lesson begins,"""
    taught_until: datetime
    """which is at that moment."""
    origin: Origin

    def lesson_at(self, begun: Begun) -> datetime | None:
        """Where the lesson begins that can be learned by now; None: a whole horizon has not passed yet."""
        return self.taught_until if begun.cuts.cut - self.taught_until >= begun.cuts.step else None

    def load(self, *, taught: bool) -> tuple[Recommender, Recommender | None]:
        """The model to go on from, and the one that teaches.

        Raises:
            NotUpdatableError: one cannot be read, by this code at least.
        """
        try:
            model = bundle.load(self.folder)
            if not taught:
                return model, None
            # Mostly they are the same, and it teaches before it goes on: reading it once will do.
            return model, model if bundle.manifest(self.teacher) == self.about else bundle.load(self.teacher)
        except Exception as error:
            raise NotUpdatableError(f"{self.name} or its teacher cannot be read: {error}") from error

    def origin_of_next(self, begun: Begun, *, taught: bool) -> Origin:
        """Of the bundle that goes on from this one."""
        teacher = begun.run.name if taught else self.origin.teacher
        return Origin(begun.choices, self.origin.anew_at, self.origin.because, self.name, teacher)


def base_of(config: Settings, begun: Begun) -> Base | str:
    """The champion to go on from; else why a training has to begin anew."""
    base = _champion(config)
    if isinstance(base, str):
        return base
    try:
        registry.check(base.folder)
    except BundleError as error:
        return str(error)
    about, origin, cut = base.about, base.origin, begun.cuts.cut.timestamp()
    if unlike := difference(base.name, about, origin, begun):
        return unlike
    if not begun.cuts.training_cuts:
        return "there are no cuts to learn from"
    if about["items_at"] > cut:
        return f"{base.name} was trained on later events"
    age = timedelta(seconds=cut - origin.anew_at)
    if age >= timedelta(days=config.full_training_days):
        return f"the last training that began anew is {age.days} days old"
    refused = [decision.challenger for decision in decisions(config)[-1:] if not decision.accepted]
    if refused:
        return f"{refused[0]} was refused: what goes on from the champion may fare no better"
    return base


def difference(name: str, about: dict[str, Any], origin: Origin, begun: Begun) -> str | None:
    """Why a bundle is no beginning of a training, by its manifest; None: it is one."""
    if about["ranker"] is None:
        return f"{name} has no ranker"
    if origin.choices != begun.choices:
        return f"{name} was trained with other choices: {', '.join(_different(origin.choices, begun.choices))}"
    if about["features"] != begun.features.feature_names(USER_SERVICE):
        return f"{name} was trained on other features"
    return None


def next_lesson(config: Settings) -> list[datetime]:
    """The moment of the snapshots that the champion's next lesson reads; none where there is no such lesson."""
    base = _champion(config)
    return [] if isinstance(base, str) else [just_before(base.taught_until)]


def _champion(config: Settings) -> Base | str:
    """The champion and its teacher, whoever would go on from it; else what is missing."""
    try:
        tag = registry.champion(config.champion).tag
        folder = registry.bundle_path(tag)
        about = bundle.manifest(folder)
        if not about.get("origin"):
            return f"{tag} does not say how it was trained"
        origin = Origin(**about["origin"])
    except (registry.NoChampionError, BundleError, ValueError, TypeError) as error:
        return str(error)
    teacher = config.bundles / origin.teacher
    try:
        taught_until = bundle.manifest(teacher)["items_at"]
    except BundleError as error:
        return f"the bundle that the next lesson begins with is gone: {error}"
    return Base(tag, folder, about, teacher, datetime.fromtimestamp(taught_until, UTC), origin)


def _different(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
