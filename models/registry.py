"""Published bundles in BentoML's model store, and the champion pointer that names the one in service.

The pointer is one small file, replaced whole: whoever reads it sees the old champion or the new one. It remembers the
champions before, newest first, so that going back is the same act as going forward. It may name a second bundle, the
champion caught up with the days that it was judged on: that one answers, the champion is what others are compared with.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import bentoml
from bentoml.exceptions import NotFound

from models.errors import BundleError

MODEL_NAME = "kairos"
KEPT: Final = 20
"""Champions that the pointer remembers."""
TEACHER: Final = "teacher"
"""In a published model's metadata: name of the trained bundle that the next lesson of its ranker begins with"""
DIGESTS: Final = "digests.json"
"""In a published bundle: what every other file of it must be."""

_STORES_OWN: Final = "model.yaml"
"""What BentoML writes beside the bundle's files."""


class NoChampionError(RuntimeError):
    """No bundle is in service yet."""


class OtherChampionError(RuntimeError):
    """Another champion is in service than the one that a challenger was compared with."""


class NoEarlierChampionError(NoChampionError):
    """There is no champion to go back to."""


@dataclass(frozen=True)
class Reign:
    """Which bundle was put into service, and when (ISO 8601, UTC)."""

    tag: str
    since: str


@dataclass(frozen=True)
class Champion(Reign):
    """The bundle in service."""

    before: tuple[Reign, ...] = ()
    """The champions before it, newest first; those that were rolled back are left out."""
    caught_up: str | None = None
    """Tag of the same model with what happened since it was trained, which nobody can judge yet. Its own: it is held"""

    @property
    def serves(self) -> str:
        """Tag of the bundle that answers."""
        return self.caught_up or self.tag

    @property
    def is_held(self) -> bool:
        """It answers as it was judged, because somebody wants it to."""
        return self.caught_up == self.tag

    @property
    def version(self) -> str:
        return self.tag.partition(":")[2]


def publish(bundle: Path, metadata: Mapping[str, Any]) -> str:
    """Copy a bundle's folder into the model store.

    Returns:
        The new model's tag, `kairos:VERSION`.
    """
    with bentoml.models.create(MODEL_NAME, metadata=dict(metadata)) as model:
        folder = Path(model.path)
        # What a bundle that was published before has of the store and of us is made anew.
        shutil.copytree(bundle, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DIGESTS, _STORES_OWN))
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _STORES_OWN)
        digests = {str(file.relative_to(folder)): _digest(file) for file in files}
        (folder / DIGESTS).write_text(json.dumps(digests, indent=1))
    return str(model.tag)


def check(folder: Path) -> None:
    """See that a published bundle is what was published; one from before there were digests is taken as it is.

    Raises:
        BundleError: a file is missing or damaged; it names the file.
    """
    try:
        digests = json.loads((folder / DIGESTS).read_text())
    except FileNotFoundError:
        return
    except ValueError as error:
        raise BundleError(f"{folder / DIGESTS}: damaged ({error}); publish again") from error
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"{folder}: incomplete, {name} is missing; publish again")
        if _digest(file) != digest:
            raise BundleError(f"{file}: not what was published; publish again")


def crown(pointer: Path, tag: str, *, instead_of: str | None = None, now: datetime | None = None) -> Champion:
    """Put a published bundle into service; running services follow without a restart.

    Args:
        tag: of the bundle.
        instead_of: the only champion that it may take the place of, empty: only of none; None: whatever is in service.

    Raises:
        NoChampionError: the store holds no such model.
        OtherChampionError: another one is in service by now.
    """
    bundle_path(tag)
    with _alone(pointer):
        try:
            held = champion(pointer)
        except (NoChampionError, ValueError, TypeError):  # the first one, or a pointer that somebody damaged
            return _point(pointer, Champion(tag, _iso(now)))
        if instead_of is not None and held.tag != instead_of:
            raise OtherChampionError(f"{held.tag} is in service by now, {tag} was compared with {instead_of}")
        if held.tag == tag:
            return _point(pointer, replace(held, since=_iso(now)))
        return _point(pointer, Champion(tag, _iso(now), (Reign(held.tag, held.since), *held.before)))


def catch_up(pointer: Path, tag: str | None, *, of: str) -> Champion:
    """Have a published bundle answer in the champion's place; the champion stays what others are compared with.

    Args:
        tag: of the bundle; the champion's own: that answers until somebody says otherwise, with None. Where somebody
            wanted that meanwhile, it stays so.
        of: tag of the champion that it is a later state of.

    Raises:
        NoChampionError: none is in service, or the store does not hold the bundle.
        OtherChampionError: another one is in service by now.
    """
    if tag is not None:
        bundle_path(tag)
    with _alone(pointer):
        held = champion(pointer)
        if held.tag != of:
            raise OtherChampionError(f"{held.tag} is in service by now, no longer {of}")
        if held.is_held and tag not in (None, of):
            return held
        return _point(pointer, replace(held, caught_up=tag))


def rollback(pointer: Path, *, to: str | None = None, now: datetime | None = None) -> Champion:
    """Put an earlier champion back into service; again, and it is the one before that.

    Args:
        to: tag of which one; None: the one before.

    Raises:
        NoChampionError: none is in service, or the store does not hold the earlier one any more.
        NoEarlierChampionError: none is known, or `to` is not among them.
    """
    with _alone(pointer):
        held = champion(pointer)
        known = [reign.tag for reign in held.before]
        if not known:
            raise NoEarlierChampionError(f"nothing to go back to: no champion is known from before {held.tag}")
        if to is not None and to not in known:
            raise NoEarlierChampionError(f"{to} was not champion before {held.tag}; those known are {', '.join(known)}")
        at = known.index(to) if to else 0
        bundle_path(known[at])
        return _point(pointer, Champion(known[at], _iso(now), held.before[at + 1 :]))


def champion(pointer: Path) -> Champion:
    """The bundle in service.

    Raises:
        NoChampionError: none is.
        ValueError, TypeError: the pointer is damaged.
    """
    try:
        content = json.loads(pointer.read_text())
    except FileNotFoundError as error:
        raise NoChampionError(
            "no model in service: run `kairos train` and `kairos publish`, or `kairos demo`"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{pointer}: not a champion pointer")
    return Champion(**{**content, "before": tuple(Reign(**reign) for reign in content.get("before", ()))})


def bundle_path(tag: str) -> Path:
    """Folder of a published bundle.

    Raises:
        NoChampionError: the store holds no such model.
    """
    try:
        return Path(bentoml.models.get(tag).path)
    except NotFound as error:
        raise NoChampionError(f"model {tag} is not in BentoML's store at {os.environ.get('BENTOML_HOME')}") from error


def _iso(now: datetime | None) -> str:
    return (now or datetime.now(UTC)).isoformat()


def _point(pointer: Path, named: Champion) -> Champion:
    named = replace(named, before=named.before[:KEPT])
    partial = pointer.with_suffix(".partial")
    with partial.open("w") as file:
        json.dump(asdict(named), file)
        file.flush()
        os.fsync(file.fileno())  # or a machine that loses its power could leave an empty one, and no history
    os.replace(partial, pointer)
    return named


@contextmanager
def _alone(pointer: Path) -> Iterator[None]:
    """One writer at a time: else of two champions that are crowned at once, one would be missing from the history."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    with pointer.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()
