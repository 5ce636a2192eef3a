"""Rows of several views as Redis commands: one HMGET per entity, because all views of an entity share one hash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from functools import lru_cache
from typing import Final

from feast import RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3
from feast.infra.online_stores.redis import _versioned_fv_name
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from feature_repo.online_store.base import FoundRow, Wanted

_NULL: Final = Value()


class HashReads:
    """What `wanted` asks of Redis, and how its answers become rows."""

    def __init__(self, config: RepoConfig, wanted: Sequence[Wanted]) -> None:
        project = config.project.encode()
        asked: dict[bytes, list[bytes]] = {}
        keys: dict[int, bytes] = {}  # Feast's form of a key is dear, and a user's views are asked with one object
        self._places: list[tuple[tuple[str, ...], list[tuple[bytes, int]]]] = []
        """For each of `wanted` the features, and for each entity its key and where in its answer they begin."""
        for view, entities, features in wanted:
            names = tuple(features or (feature.name for feature in view.features))
            fields = hash_fields(_versioned_fv_name(view, config), names)
            places = []
            for entity in entities:
                if (key := keys.get(id(entity))) is None:
                    key = serialize_entity_key(entity, config.entity_key_serialization_version) + project
                    keys[id(entity)] = key
                already = asked.setdefault(key, [])
                places.append((key, len(already)))
                already += fields
            self._places.append((names, places))
        self.commands: list[tuple[bytes, list[bytes]]] = list(asked.items())
        """Key and fields of each HMGET."""

    def rows(self, answers: Sequence[Sequence[bytes | None]]) -> list[list[FoundRow]]:
        """For each of `wanted` a row per entity, from the commands' answers."""
        answer_of = {key: answer for (key, _), answer in zip(self.commands, answers, strict=True)}
        return [[found_row(names, answer_of[key], start) for key, start in places] for names, places in self._places]


@lru_cache(maxsize=1_000)
def hash_fields(view: str, features: tuple[str, ...]) -> tuple[bytes, ...]:
    """The hash's fields of a view's features, and after them that of the row's timestamp."""
    return (*(_mmh3(f"{view}:{feature}") for feature in features), f"_ts:{view}".encode())


def found_row(names: Sequence[str], answer: Sequence[bytes | None], start: int = 0) -> FoundRow:
    """One view's row: the values of `names` from `start` on, then the timestamp. Unlike Feast's, a row that was never
    written is told apart from one of nulls of the year 1970."""
    end = start + len(names)
    stamp = answer[end]
    if stamp is None:
        return None, None
    values = {
        name: Value.FromString(held) if held else _NULL for name, held in zip(names, answer[start:end], strict=True)
    }
    return Timestamp.FromString(stamp).ToDatetime(UTC), values
