"""What applying the definitions would change in Feast's registry, and whom it would hurt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from feast import FeatureView
from feast.base_feature_view import BaseFeatureView

from feature_repo.definitions import CODE_TAG
from feature_repo.errors import LiveFeatureError


@dataclass(frozen=True)
class Change:
    """One thing that becomes another.

    Args:
        view: name of the feature view.
        field: name of the feature; None: the view as a whole.
        detail: from what to what.
        touches: the features, as `view:feature`, whose values are others afterwards.
        breaks: whoever reads what it touches can no longer do so.
    """

    kind: Literal["new", "changed", "removed"]
    view: str
    field: str | None
    detail: str
    touches: frozenset[str]
    breaks: bool = False

    def readers(self, features: Mapping[str, Collection[str]]) -> list[str]:
        """Those of the bundles (name -> features that it reads, as `view:feature`) that read what changes."""
        return [name for name, reads in features.items() if not self.touches.isdisjoint(reads)]


def changes(registered: Iterable[BaseFeatureView], defined: Iterable[BaseFeatureView]) -> list[Change]:
    """From the registry's views to the defined ones, in the order of the views' names.

    A view in the registry that no feature file ever made is somebody else's, and stays.
    """
    before = {view.name: view for view in registered}
    after = {view.name: view for view in defined}
    found: list[Change] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            found.append(Change("new", name, None, ", ".join(_types(after[name])), _features(after[name])))
        elif name in after:
            found += _between(before[name], after[name])
        elif CODE_TAG in before[name].tags:
            detail = ", ".join(_types(before[name]))
            found.append(Change("removed", name, None, detail, _features(before[name]), breaks=True))
    return found


def refuse_to_break(found: Iterable[Change], live: Mapping[str, Collection[str]]) -> None:
    """Stop before a model in service loses a feature.

    Args:
        live: bundle -> features that it reads, as `view:feature`.

    Raises:
        LiveFeatureError: names each feature, and each bundle that reads it.
    """
    lost = [
        f"  {bundle} reads {', '.join(sorted(change.touches.intersection(live[bundle])))}: {change.kind}"
        + (f" ({change.detail})" if change.kind == "changed" else "")
        for change in found
        if change.breaks
        for bundle in change.readers(live)
    ]
    if lost:
        raise LiveFeatureError(
            "models in service read what the feature files no longer have; nothing was changed:\n"
            + "\n".join(lost)
            + "\nPut it back; or add the new feature beside the old one, train and publish a model that reads the new "
            "one, and remove the old one then"
        )


def _between(before: BaseFeatureView, after: BaseFeatureView) -> Iterator[Change]:
    name, touches = after.name, _features(after)
    old, new = _types(before), _types(after)
    for field in sorted(old.keys() | new.keys()):
        one = frozenset({f"{name}:{field}"})
        if field not in old:
            yield Change("new", name, field, new[field], one)
        elif field not in new:
            yield Change("removed", name, field, old[field], one, breaks=True)
        elif old[field] != new[field]:
            yield Change("changed", name, field, f"type {old[field]} -> {new[field]}", one, breaks=True)
    if not isinstance(before, FeatureView) or not isinstance(after, FeatureView):
        return
    if before.entities != after.entities:
        detail = f"entity {', '.join(before.entities)} -> {', '.join(after.entities)}"
        yield Change("changed", name, None, detail, touches, breaks=True)
    if (before.ttl or None) != (after.ttl or None):
        yield Change("changed", name, None, f"ttl {_ttl(before)} -> {_ttl(after)}", touches)
    if before.tags.get(CODE_TAG) != after.tags.get(CODE_TAG):
        yield Change("changed", name, None, "what it computes", touches)
    elif before.batch_source != after.batch_source:
        yield Change("changed", name, None, "where its snapshots are", frozenset())


def _types(view: BaseFeatureView) -> dict[str, str]:
    return {field.name: str(field.dtype) for field in view.features}


def _features(view: BaseFeatureView) -> frozenset[str]:
    return frozenset(f"{view.name}:{field.name}" for field in view.features)


def _ttl(view: Any) -> str:
    return str(view.ttl) if view.ttl else "for ever"
