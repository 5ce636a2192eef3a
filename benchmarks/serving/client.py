"""One kept-alive connection to the service, without a library between the client and the socket."""

from __future__ import annotations

import re
import socket
import time
from typing import Final

from benchmarks.serving.traffic import Request

CONNECT_WITHIN_S: Final = 5.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Client:
    """One connection, with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket: socket.socket | None = None
        self.request: Request | None = None
        self.at = self.sent_at = 0.0
        self._got = bytearray()

    @property
    def file(self) -> int:
        """Number of the open socket."""
        assert self.socket is not None
        return self.socket.fileno()

    def connect(self) -> bool:
        """Whether somebody takes the connection."""
        try:
            self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=CONNECT_WITHIN_S)
        except OSError:
            return False
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True

    def send(self, request: Request, at: float) -> bool:
        """Whether the connection took it.

        Args:
            at: the moment that its time counts from.
        """
        assert self.socket is not None
        self.request, self.at, self.sent_at = request, at, time.perf_counter()
        self._got.clear()
        try:
            self.socket.sendall(request.data)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body when the answer is whole; None until then.

        Raises:
            OSError: the connection broke.
        """
        assert self.socket is not None
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionResetError("closed by the service")
        self._got += part
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = _LENGTH.search(self._got, 0, head)
        if length is None or len(self._got) < head + 4 + int(length[1]):
            return None
        return int(self._got[9:12]), bytes(self._got[head + 4 :])

    def close(self) -> None:
        """Forget the connection, and what it was waiting for."""
        if self.socket is not None:
            self.socket.close()
        self.socket, self.request = None, None
