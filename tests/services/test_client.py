"""The typed client against the real service, and against servers that fail it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from feature_repo.event import Event
from infra.settings import PROJECT_ROOT
from services.client import KairosClient, KairosError, Retries
from services.messages import RecommendRequest, Step

from .conftest import Running


@pytest.fixture
def client(running: Running) -> Iterator[KairosClient]:
    with KairosClient(str(running.client.base_url), timeout_s=20) as client:
        yield client


def test_every_call(client: KairosClient) -> None:
    answer = client.recommend("u1", k=3, categories=["milk"])
    assert (len(answer.items), answer.served_by) == (3, Step.FULL)
    users = ["u1", "u2"]
    batch = client.recommend_batch([RecommendRequest(user_id=user, k=4) for user in users])
    assert [len(one.items) for one in batch] == [4, 4]
    assert len(client.similar("i6", k=2).items) == 2
    assert client.cart(["i6", "never seen"], user_id="u1").unknown_items == ["never seen"]
    assert client.rank(["never seen", "i1"], "u1").items[-1].score is None
    assert client.explain("u1", "i1").item_known
    assert client.profile("u1").user_known
    assert client.health().model_version == answer.model_version
    more = {"event_id": "of-the-client", "request_id": answer.request_id, "position": 1}
    told = client.event("client-user", "i6", "cart", **more)
    assert told.accepted == 1
    deadline = time.monotonic() + 15
    while not told.features_updated:  # on a busy machine the first answer need not have waited for them
        assert time.monotonic() < deadline
        time.sleep(0.1)
        told = client.event("client-user", "i6", "cart", **more)
        assert told.duplicates == 1
    assert client.profile("client-user").user_known


def test_events_that_are_sent_again_count_once(client: KairosClient) -> None:
    events = [Event(user_id="again", item_id=f"i{n}", event_type="view") for n in range(3)]
    assert client.events(events).accepted == 3
    assert client.events(events).duplicates == 3


def test_mistakes_are_found_before_they_are_sent() -> None:
    with KairosClient("http://127.0.0.1:9") as client, pytest.raises(ValidationError):
        client.recommend("u1", k=0)


def test_an_error_has_its_code_and_field(client: KairosClient) -> None:
    with pytest.raises(KairosError, match="in the future") as refused:
        client.event("u1", "i1", "view", timestamp="2199-01-01T00:00:00Z")
    error = refused.value
    assert (error.status, error.code, error.field) == (400, "timestamp_out_of_range", "0.timestamp")


def test_who_is_not_there_is_told_after_some_tries() -> None:
    waited: list[float] = []
    with KairosClient("http://127.0.0.1:9", retries=Retries(times=2), sleep=waited.append) as client:
        with pytest.raises(KairosError, match="no answer from http") as refused:
            client.recommend("u1")
        assert (refused.value.status, refused.value.code) == (None, "unreachable")
    assert len(waited) == 2
    assert 0.05 <= waited[0] <= 0.1 <= waited[1] <= 0.2


@contextmanager
def failing(status: int, retry_after: str, fails: int) -> Iterator[tuple[str, list[bytes]]]:
    """A server that fails some times before it takes events; its address, and the bodies that it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            taken = len(bodies) > fails
            body = b'{"accepted": 1, "duplicates": 0, "features_updated": true}' if taken else b"busy"
            self.send_response(200 if taken else status)
            self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies
        finally:
            server.shutdown()
            thread.join()


def test_a_repeated_call_sends_the_same_events_when_it_was_told_to() -> None:
    waited: list[float] = []
    with failing(503, "2", 2) as (url, bodies), KairosClient(url, sleep=waited.append) as client:
        assert client.event("u1", "i1", "view").accepted == 1
        assert len(bodies) == 3
        assert len(set(bodies)) == 1
    assert waited == [2.0, 2.0]


def test_too_long_a_wait_is_an_error_at_once() -> None:
    waited: list[float] = []
    with failing(429, "3600", 9) as (url, bodies), KairosClient(url, sleep=waited.append) as client:
        with pytest.raises(KairosError) as refused:
            client.event("u1", "i1", "view")
        assert (refused.value.status, refused.value.code) == (429, "unreadable")
        assert (len(bodies), waited) == (1, [])


def test_it_needs_no_framework() -> None:
    code = "import sys, services.client; print({'bentoml', 'torch', 'feast', 'prefect'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
