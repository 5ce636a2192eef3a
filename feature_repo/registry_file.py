"""Feast's registry file, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from feast.infra.registry.file import FileRegistryStore


class WholeFileRegistryStore(FileRegistryStore):
    """Feast itself empties the file and then writes it: a kill, a full disk or a reader in between meets half of it."""

    _filepath: Path

    def _write_registry(self, registry_proto: Any) -> None:
        whole = self._filepath
        self._filepath = whole.with_name(f"{whole.name}.{os.getpid()}.partial")
        try:
            super()._write_registry(registry_proto)
            os.replace(self._filepath, whole)
        finally:
            self._filepath.unlink(missing_ok=True)
            self._filepath = whole
