"""The clients' keys: one file that the command line writes and the service reads."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

_PREFIX = "kairos_"
_KEY_BYTES = 32
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class KeysError(RuntimeError):
    """The keys' file cannot be used, or a key cannot be added or removed; the message says what to do."""


class Right(StrEnum):
    """What a key may be used for; none implies another."""

    EVENTS = "events"
    RECOMMEND = "recommend"
    ADMIN = "admin"


class Key(BaseModel):
    """A client's key, without the key itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    rights: Annotated[tuple[Right, ...], Field(min_length=1)]
    rate: str | None = Field(default=None, description="as in 100/second; None: the service's own limit")
    created: datetime

    @field_validator("rate")
    @classmethod
    def _a_rate(cls, value: str | None) -> str | None:
        return value if value is None else checked_rate(value)


class Keys(BaseModel):
    """Every key of an installation. Names are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the file; where there is none, there are no keys.

        Raises:
            KeysError: it is damaged, or others than its owner may write it.
        """
        try:
            if file.stat().st_mode & _WRITABLE_BY_OTHERS:
                raise KeysError(f"{file}: others may write it, so anybody could let themselves in: chmod 600 it")
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, ValidationError) as error:
            raise KeysError(f"{file} cannot be read: {error}") from error

    def save(self, file: Path) -> None:
        """Write the file whole or not at all, for its owner's eyes alone."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(handle, "w") as out:
            out.write(self.model_dump_json(indent=2))
        os.replace(partial, file)

    def add(self, name: str, rights: Sequence[Right], rate: str | None, now: datetime) -> tuple[Self, str]:
        """These keys and a new one.

        Returns:
            The keys, and the new key itself, which nothing keeps.

        Raises:
            KeysError: the name is taken, or a value is wrong.
        """
        if any(key.name == name for key in self.keys):
            raise KeysError(f"there is a key named {name} already: remove it, or take another name")
        secret = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        try:
            key = Key(name=name, sha256=_digest(secret), rights=tuple(rights), rate=rate, created=now.astimezone(UTC))
        except ValidationError as error:
            wrong = error.errors()[0]
            raise KeysError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
        return self.model_copy(update={"keys": (*self.keys, key)}), secret

    def remove(self, name: str) -> Self:
        """These keys without one.

        Raises:
            KeysError: there is none of that name.
        """
        left = tuple(key for key in self.keys if key.name != name)
        if len(left) == len(self.keys):
            raise KeysError(f"there is no key named {name}; `kairos keys list` shows what there is")
        return self.model_copy(update={"keys": left})

    def find(self, secret: str) -> Key | None:
        """The key that a client presents; None: nobody's.

        Every key is compared, each in constant time, so that an answer's time tells nothing about the keys.
        """
        digest = _digest(secret)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def checked_rate(text: str) -> str:
    """A rate limit such as `100/second`, `5000 per minute` or `20/10seconds`.

    Raises:
        ValueError: it is none.
    """
    from limits import parse  # a tenth of a second that most commands do not need

    try:
        parse(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no rate; expected for example 100/second or 5000/minute") from error
    return text


def _digest(secret: str) -> str:
    # The keys are random and long: a slow hash would protect nothing more, and costs each request.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
