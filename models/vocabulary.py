"""Every set of strings that the models know: items, the items' categoricals, the users' profile values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from feature_repo.schema import BRAND, CATEGORY, DEPARTMENT, EVENT_TYPES, PROFILE_COLUMNS, SUBCATEGORY
from models.ids import IdMap

ITEM_CATEGORICALS: Final = (CATEGORY, SUBCATEGORY, DEPARTMENT, BRAND)
_ITEMS, _FIELDS = "items.json", "fields.json"


@dataclass(frozen=True)
class Vocabulary:
    """The id maps that one model was trained with."""

    items: IdMap
    fields: dict[str, IdMap]
    """One map per item categorical and per profile column."""
    types: IdMap = field(default_factory=lambda: IdMap(EVENT_TYPES))

    def sizes(self, names: tuple[str, ...]) -> list[int]:
        """Rows that an embedding of each named field needs."""
        return [len(self.fields[name]) for name in names]

    def save(self, folder: Path) -> None:
        """Writes the maps into an existing folder."""
        self.items.save(folder / _ITEMS)
        names = {field: ids.names for field, ids in self.fields.items()}
        (folder / _FIELDS).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Reads what `save` wrote."""
        fields = json.loads((folder / _FIELDS).read_text(encoding="utf-8"))
        known = (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)
        return cls(IdMap.load(folder / _ITEMS), {name: IdMap(fields.get(name, ())) for name in known})
