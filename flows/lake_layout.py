"""Where the event files lie: in a numbered folder, a generation, to which `events` leads.

    lake/events -> generations/000002
    lake/generations/000001/    the files as they were before the last compaction
    lake/generations/000002/    the files as they are; ingest adds to them

A folder cannot be put in another one's place in one step, but a link can: every moment there is one whole set of files.
A folder of before stays for those that are reading it. A lake without links, from before there were any or from a
copy that did not keep them, is given this layout by whoever writes to it next. Everything here wants the lake's lock.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from feature_repo.lake import EVENTS_LINK, GENERATIONS, Lake

READ_FOR: Final = timedelta(hours=12)
"""The longest that anybody reads the files that were listed once: so long a generation stays after the next came."""
_PARTIAL: Final = ".partial"


def settled_events(lake: Path) -> Path:
    """The folder of the event files, by its own name; made where there is none."""
    link = lake / EVENTS_LINK
    if not (link.is_symlink() and link.is_dir()):
        _turn_link(lake, _folder_without_link(lake))
    folder = link.resolve()
    _drop_unfinished(folder)
    return folder


def begin_generation(events: Path) -> Path:
    """An empty folder for the files of the next generation, which nobody sees.

    Args:
        events: the folder of this one.
    """
    begun = events.with_name(_name(_number(events) + 1) + _PARTIAL)
    begun.mkdir()
    return begun


def finish_generation(lake: Path, events: Path, begun: Path, now: datetime) -> Path:
    """Let `events` lead to the folder that `begin_generation` gave, all or nothing; returns its name from now on."""
    for path in (*begun.iterdir(), begun):
        sync(path)
    finished = begun.with_name(begun.name.removesuffix(_PARTIAL))
    os.rename(begun, finished)
    sync(finished.parent)
    os.utime(events, (now.timestamp(), now.timestamp()))  # since when it is not the newest
    _turn_link(lake, finished)
    return finished


def drop_superseded(events: Path, now: datetime) -> None:
    """Remove the generations before that of `events` which nobody can be reading any more."""
    for folder in events.parent.iterdir():
        is_older = folder.name.isdigit() and _number(folder) < _number(events)
        if is_older and folder.stat().st_mtime < (now - READ_FOR).timestamp():
            shutil.rmtree(folder.rename(folder.with_suffix(_PARTIAL)))  # a kill leaves what looks unfinished


def sync(path: Path) -> None:
    """See that a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _folder_without_link(lake: Path) -> Path:
    """Where the link should lead: to the folder that stands in its place, or else the newest one."""
    newest = max(Lake(lake).generations(), default=None)
    following = lake / GENERATIONS / _name(_number(newest) + 1)
    if (lake / EVENTS_LINK).is_dir():
        following.parent.mkdir(exist_ok=True)
        os.rename(lake / EVENTS_LINK, following)  # until there is the link, readers take the newest generation
        return following
    if newest is None:
        following.mkdir(parents=True)
    return newest or following


def _drop_unfinished(events: Path) -> None:
    """What a killed compaction left: the link does not lead there, and must not if it is lost."""
    for folder in events.parent.iterdir():
        if folder.name.endswith(_PARTIAL) or _number(folder) > _number(events):
            shutil.rmtree(folder)


def _turn_link(lake: Path, folder: Path) -> None:
    beside = lake / f"{EVENTS_LINK}.new"
    beside.unlink(missing_ok=True)
    beside.symlink_to(Path(GENERATIONS, folder.name))
    os.replace(beside, lake / EVENTS_LINK)
    sync(lake)


def _name(number: int) -> str:
    return f"{number:06d}"


def _number(folder: Path | None) -> int:
    return int(folder.name) if folder else 0
