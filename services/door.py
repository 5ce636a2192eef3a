"""Who comes in: the key, its right for the path, the client's rate."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Scope

from infra.keys import Key
from services.endpoints import right_for
from services.failures import failure
from services.keys import KeyRing
from services.rates import Rates

_BEARER = "bearer "


class Door:
    """Says no, or nothing."""

    def __init__(self, keys: KeyRing, rates: Rates) -> None:
        self._keys = keys
        self._rates = rates

    def refusal(self, scope: Scope, path: str) -> JSONResponse | None:
        """The answer to whom may not come in; None: go on.

        Rates count before rights, so that guessing keys is slowed down too.
        """
        right = right_for(path)
        if right is None:
            return None
        in_force = self._keys.in_force
        key = self._key(Headers(scope=scope)) if in_force else None
        wait_s = self._rates.wait_s(_client(scope, key), key.rate if key else None)
        if wait_s is not None:
            return failure(429, "more requests than this client may send; slow down", retry_after_s=wait_s)
        if not in_force:
            return None
        if key is None:
            return failure(401)
        return None if right in key.rights else failure(403, f"the key {key.name} does not have the right `{right}`")

    def _key(self, headers: Headers) -> Key | None:
        given = headers.get("authorization", "")
        secret = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else headers.get("x-api-key", "")
        return self._keys.find(secret) if secret else None


def _client(scope: Scope, key: Key | None) -> str:
    if key:
        return f"key {key.name}"
    client = scope.get("client")
    return f"address {client[0] if client else ''}"
