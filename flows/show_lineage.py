"""What `kairos features lineage` shows: from a value to its snapshot, its run, its batches and its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from feature_repo import schema as s
from feature_repo.lineage import Computed, Lineage, Online, Share
from flows.present import console

NOT_KEPT = "(not kept)"


def show_lineage(found: Lineage) -> None:
    console.print(f"{found.feature} of {found.entity}", style="bold")
    if found.computed:
        _show_computed(found.computed)
    if found.online:
        _show_online(found.online)


def _show_computed(computed: Computed) -> None:
    manifest = computed.manifest
    facts = {
        "value": _value(computed.value),
        "true for": _at(computed.moment) + (" (expired by then: counts as unknown)" if computed.expired else ""),
        "snapshot": computed.snapshot,
        "digest": manifest.digest if manifest else NOT_KEPT,
        "engine": manifest.engine if manifest else NOT_KEPT,
        "run": (manifest.run if manifest else "") or NOT_KEPT,
        "computed at": _at(manifest.computed_at) if manifest else NOT_KEPT,
    }
    _facts("Computed in batch", facts)
    _lines("Batches that went in", [_share(share) for share in computed.shares])
    _lines("Newest events that went in", [_event(row) for row in computed.newest_events])
    if computed.late:
        console.print(f"{computed.late:,} events came in after it was computed: `kairos features` takes them in")


def _show_online(online: Online) -> None:
    origin = "the snapshot above" if online.from_snapshot else "events since the snapshot"
    _facts("Online", {"value": _value(online.value), "true for": _at(online.moment), "from": origin})
    _lines("Events since the snapshot", [_event(row) for row in online.since])


def _facts(title: str, facts: Mapping[str, Any]) -> None:
    _lines(title, [f"{name}: {value}" for name, value in facts.items()])


def _lines(title: str, lines: Sequence[str]) -> None:
    """A line each: in a table, ids would be cut short where the window is narrow."""
    if lines:
        console.print(f"\n{title}", style="italic")
    for line in lines:
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)


def _share(share: Share) -> str:
    parts = [share.batch_id or "(no batch id)"]
    if share.events is not None:
        parts.append(f"{share.events:,} events, the newest of {_at(share.newest)}" if share.newest else "0 events")
    batch = share.batch
    parts.append(f"from {batch.source}, ingested {_at(batch.ingested_at)}" if batch else "source not kept")
    if batch and batch.run:
        parts.append(f"run {batch.run}")
    return "; ".join(parts)


def _event(row: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in row.items() if value is not None and name != s.TIMESTAMP}
    return f"{_at(row[s.TIMESTAMP])}  " + " ".join(f"{name}={value}" for name, value in shown.items())


def _value(value: Any) -> str:
    if isinstance(value, list) and len(value) > 10:
        return f"[{', '.join(map(str, value[:10]))}, … {len(value):,} values]"
    return str(value)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
