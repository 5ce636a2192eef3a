"""Scripted shoppers for locust: home page, a view, an item page of similar ones, the cart, a purchase, home again.

`benchmarks.serving.soak` starts it; by hand, against a service on port 3000:

    KAIROS_SHOPPERS=shoppers.json locust -f benchmarks/serving/shoppers.py --headless -u 20 -H http://127.0.0.1:3000

The file holds `users`, `items`, `steps_per_s` (of each shopper) and `times`, where every request's time is written to.
"""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from locust import FastHttpUser, constant_throughput, events, task

from benchmarks.serving.traffic import CART, EVENTS, RECOMMEND, SIMILAR

_script = json.loads(Path(os.environ["KAIROS_SHOPPERS"]).read_text())
_times = Path(_script["times"]).open("w", buffering=1 << 16)  # noqa: SIM115  (open until locust quits)
_paths: set[str] = set()
"""What the service offers."""
_OK = 200


@events.request.add_listener
def _note(
    name: str, response_time: float, exception: Exception | None, start_time: float, response: Any, **_: Any
) -> None:
    """One line per request: when it began (epoch s), ms, status or 0, path."""
    status = 0 if exception and not response else response.status_code
    _times.write(f"{start_time:.3f},{response_time:.3f},{status},{name}\n")


@events.test_start.add_listener
def _look(environment: Any, **_: Any) -> None:
    with urlopen(f"{environment.host}/docs.json", timeout=30) as answer:
        _paths.update(json.load(answer)["paths"])


@events.quitting.add_listener
def _close(**_: Any) -> None:
    _times.close()


class Shopper(FastHttpUser):
    """Goes through the script again and again, each time as another customer."""

    wait_time = constant_throughput(_script["steps_per_s"])

    def on_start(self) -> None:
        self.steps = self._visit()

    @task
    def step(self) -> None:
        """The next request of the visit; after the last one, another visit begins."""
        if next(self.steps, self) is self:
            self.steps = self._visit()
            next(self.steps)

    def _visit(self) -> Iterator[None]:
        user = random.choice(_script["users"])
        home = self._ask(RECOMMEND, {"user_id": user, "page": "home"})
        yield
        # Mostly what was recommended, sometimes something of their own.
        items = [item["item_id"] for item in home] or _script["items"]
        item = random.choice(items if random.random() < 0.7 else _script["items"])
        self._tell(user, item, "view")
        yield
        if SIMILAR in _paths:
            self._ask(SIMILAR, {"user_id": user, "item_id": item})
            yield
        self._tell(user, item, "cart")
        yield
        if CART in _paths:
            self._ask(CART, {"user_id": user, "items": [item]})
        else:
            self._ask(RECOMMEND, {"user_id": user, "page": "cart", "items": [item]})
        yield
        self._tell(user, item, "purchase")
        yield
        self._ask(RECOMMEND, {"user_id": user, "page": "home"})
        yield

    def _ask(self, path: str, content: dict[str, Any]) -> list[dict[str, Any]]:
        with self.client.post(path, json=content, catch_response=True) as answer:
            return answer.json()["items"] if answer.status_code == _OK else []

    def _tell(self, user: str, item: str, kind: str) -> None:
        event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": item, "event_type": kind}
        self.client.post(EVENTS, json=[event])
