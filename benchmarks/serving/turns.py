"""Ours and the floors under the same load in turns, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.serving.load import Load, Outcome, loaded, together
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import Running
from benchmarks.serving.sample import Shop
from benchmarks.serving.traffic import RECOMMEND, Recommends

OURS: Final = "kairos"
FLOOR: Final = "floor"
LEAN: Final = "lean floor"
LEAN_PATH: Final = "/lean"
Side = tuple[Running, str]
"""A service, and the path to ask."""


def in_turns(
    sides: Mapping[str, tuple[Running, str]], shop: Shop, plan: Plan, clients: int
) -> dict[str, list[Outcome]]:
    """Closed loops of recommendations against each side, `plan.rounds` times.

    Args:
        sides: by name.

    Returns:
        Name -> an outcome per round.
    """
    for service, path in sides.values():
        loaded(Load(service.port, plan.warm_up_s, clients), Recommends(shop.users, path))
    measured: dict[str, list[Outcome]] = {name: [] for name in sides}
    for turn in range(plan.rounds):
        for name, (service, path) in sides.items():
            # Each round goes on with other users than the one before.
            traffic = Recommends(shop.users, path, at=turn * len(shop.users) // plan.rounds)
            measured[name].append(loaded(Load(service.port, plan.block_s, clients), traffic))
    return measured


def three_sides(ours: Running, floor: Running) -> dict[str, Side]:
    """Kairos, the floor of the same row and the leaner one."""
    return {OURS: (ours, RECOMMEND), FLOOR: (floor, RECOMMEND), LEAN: (floor, LEAN_PATH)}


def whole(measured: Mapping[str, list[Outcome]]) -> dict[str, Outcome]:
    """The rounds of each side as one outcome; its rate is not that of the rounds, which have gaps between them."""
    return {name: together(rounds) for name, rounds in measured.items()}
