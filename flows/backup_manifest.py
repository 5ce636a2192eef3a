"""What a backup holds, file by file, and whether it still does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from flows.errors import BackupError, DamagedBackupError
from flows.json_file import write_json

FORMAT: Final = 1
HOME: Final = "home"
"""In a backup: the files of the home, under the names that they have there."""
_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class Held:
    """One file of a backup."""

    bytes: int
    digest: str
    """BLAKE2b."""


@dataclass(frozen=True)
class BackupManifest:
    """The list of a backup's files, written last: a folder without it is no backup.

    Args:
        made_at: UTC.
        version: of Kairos.
        home: where the installation was.
        champion: tag of the model in service; None: there was none.
        left_out: what else belongs to the installation and must be brought back another way, in sentences.
        files: path under `HOME` -> what it must be.
    """

    made_at: datetime
    version: str
    home: str
    champion: str | None
    left_out: tuple[str, ...]
    files: dict[str, Held]

    @property
    def bytes(self) -> int:
        return sum(held.bytes for held in self.files.values())

    def save(self, backup: Path) -> None:
        """Write it into the backup, whole or not at all."""
        content = {"format": FORMAT, **asdict(self), "made_at": self.made_at.isoformat()}
        write_json(backup / _MANIFEST, content)

    @classmethod
    def of(cls, backup: Path) -> BackupManifest:
        """A backup's manifest.

        Raises:
            BackupError: there is no such backup, or this code cannot read it.
            DamagedBackupError: the manifest is damaged.
        """
        file = backup / _MANIFEST
        try:
            content = json.loads(file.read_text())
            if content.pop("format") != FORMAT:
                raise BackupError(f"{backup} is of another format: restore it with the Kairos that made it")
            content["files"] = {name: Held(**held) for name, held in content["files"].items()}
            content["made_at"] = datetime.fromisoformat(content["made_at"])
            return cls(**content | {"left_out": tuple(content["left_out"])})
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BackupError(
                f"{backup} is no backup, there is no {_MANIFEST} in it: name a folder that `kairos backup` printed"
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DamagedBackupError(f"{file} is damaged ({error}): restore another backup") from error

    def check(self, backup: Path) -> None:
        """Read every file of the backup.

        Raises:
            DamagedBackupError: one is missing or not what was written; names the first and how many there are.
        """
        if wrong := list(self._wrong(backup / HOME)):
            more = f", and {len(wrong) - 1:,} more files are" if len(wrong) > 1 else " is"
            raise DamagedBackupError(f"{wrong[0]}{more} missing or not what was written: restore another backup")

    def _wrong(self, home: Path) -> Iterator[Path]:
        for name, held in self.files.items():
            try:
                if digest(home / name) != held.digest:
                    yield home / name
            except OSError:
                yield home / name


def backups_in(folder: Path) -> list[Path]:
    """The whole backups in a folder, oldest first."""
    return sorted(manifest.parent for manifest in folder.glob(f"*Z/{_MANIFEST}"))


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()
