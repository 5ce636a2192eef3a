"""The figure `reaction_p99`: from an event's acknowledgement to the first answer that knows it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.serving.client import Client
from benchmarks.serving.load import Load, loading
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import Running, running
from benchmarks.serving.sample import shop
from benchmarks.serving.traffic import EVENTS, RECOMMEND, Events, Mixed, Recommends, Request, post

P99_MS: Final = 50.0
BACKGROUND_CLIENTS: Final = 32
PROBES_WITHIN_S: Final = 600.0
"""All of them; those that are left then count as never seen."""
PAUSE_S: Final = 0.02
GIVE_UP_S: Final = 10.0
K: Final = 100
FULL: Final = "full"
"""The rung of the ladder that reads the user's features; an answer from another knows nothing."""
Knows = Callable[[dict[str, Any]], bool]


def measure(plan: Plan) -> dict[str, Any]:
    """The figure, over users never seen before and users with a history in turns.

    An answer knows a new user's event when it says that the user is known, and a known user's purchase when it no
    longer holds the item among those that the user has not bought yet.
    """
    people = shop()
    watched, others = people.users[::2], people.users[1::2]
    are_watched = set(watched)
    events = [event for event in people.events if event[0] not in are_watched]
    per_s, telling = plan.asking_per_s + plan.telling_per_s, plan.telling_per_s
    traffic = Mixed([Recommends(others), Events(events, "reaction-")], [1 - telling / per_s, telling / per_s])
    with running() as service:
        background_s = plan.warm_up_s + PROBES_WITHIN_S + GIVE_UP_S
        with loading((Load(service.port, background_s, BACKGROUND_CLIENTS, per_s), traffic)) as loads:
            time.sleep(plan.warm_up_s)
            reactions = _reactions(service, watched, plan.probes)
            loads.end()
            background = loads.outcome()
    seen = [reaction for reaction in reactions if reaction is not None]
    times = percentiles_ms([start for start, _, _ in seen])
    return {
        "reaction_p99": figure(
            times.get("p99_ms"),
            "ms",
            P99_MS,
            len(seen) == plan.probes and times["p99_ms"] <= P99_MS and not background.failures,
            to_the_start_of_the_first_answer_that_knows=times,
            to_its_end=percentiles_ms([end for _, end, _ in seen]),
            known_by_the_first_answer=sum(asked == 1 for _, _, asked in seen),
            probes=plan.probes,
            never_seen=plan.probes - len(seen),
            background={
                "recommendations_per_s": plan.asking_per_s,
                "events_per_s": plan.telling_per_s,
                "latency": percentiles_ms(background.times()),
                "failures": background.failures,
            },
        )
    }


def _reactions(service: Running, watched: list[str], count: int) -> list[tuple[float, float, int] | None]:
    deadline, found = time.monotonic() + PROBES_WITHIN_S, []
    probe = _Probe(service.port)
    for number in range(count):
        if time.monotonic() > deadline:
            break
        try:
            found.append(probe.react(watched[number % len(watched)], number))
        except OSError as error:  # an answer that is none
            print(f"probe {number}: {error}", flush=True)
            probe = _Probe(service.port)
    return found


class _Probe:
    """One client that sends an event and asks until it is known."""

    def __init__(self, port: int) -> None:
        self._client = Client(port)
        if not self._client.connect():
            raise ConnectionRefusedError(f"nobody takes a connection on port {port}")

    def react(self, known: str, number: int) -> tuple[float, float, int] | None:
        """Seconds from the acknowledgement to the start and the end of the first answer that knows, and how many it
        took; None: none did in time."""
        time.sleep(PAUSE_S)
        if number % 2:
            user, ask = f"reaction-new-{number}", {}
            item, kind = str(self._ask(known, {})["items"][0]["item_id"]), "view"
            knows: Knows = lambda answer: bool(answer["user_known"])  # noqa: E731
        else:
            user, kind, ask = known, "purchase", {"novel_only": True, "k": K}
            item = str(self._ask(user, ask)["items"][0]["item_id"])
            knows = lambda answer: all(item != one["item_id"] for one in answer["items"])  # noqa: E731
        event = {"event_id": f"reaction-probe-{number}", "user_id": user, "item_id": item, "event_type": kind}
        self._call(EVENTS, event)
        acknowledged = time.perf_counter()
        asked = 0
        while (start := time.perf_counter()) < acknowledged + GIVE_UP_S:
            asked += 1
            answer = self._ask(user, ask)
            if answer["served_by"] == FULL and knows(answer):
                return start - acknowledged, time.perf_counter() - acknowledged, asked
        return None

    def _ask(self, user: str, more: dict[str, Any]) -> dict[str, Any]:
        return self._call(RECOMMEND, {"user_id": user, **more})

    def _call(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        if not self._client.send(Request(path, post(path, content)), time.perf_counter()):
            raise ConnectionResetError("the service broke the connection")
        while (answer := self._client.receive()) is None:
            pass
        status, body = answer
        if status != 200:
            raise OSError(f"{path} answered {status}: {body[:500]!r}")
        decoded: dict[str, Any] = json.loads(body)
        return decoded
