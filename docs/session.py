"""Plays a shopping session against a running service and shows what each step does to the recommendations.

    make serve                                 # in another terminal
    .venv/bin/python docs/session.py 900       # a user of the data, or any other id

The user turns to a category that their list hardly holds: looks at three things in it, puts one into the cart, buys it,
and takes along what goes with it. In the lists, + was not there a step before, * and green are of that category, bold
is what was put into the cart. The events stay in the service's log: the same user starts from there next time.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from feature_repo.event import Event
from services.client import KairosClient, KairosError
from services.messages import RecommendAnswer

K = 10
LOOKS = 3
FEATURES_WITHIN_S = 60.0
"""The process that applies events is ready some seconds after the service."""


class SessionError(RuntimeError):
    """The session cannot be played; says why."""


@dataclass(frozen=True)
class Step:
    """What the user is shown at one moment."""

    page: RecommendAnswer
    """The best for them."""
    new: RecommendAnswer
    """The best of what they have never bought."""
    of_category: frozenset[str]
    """Which of both are of the session's category."""


@dataclass(frozen=True)
class Shopper:
    """One user at the service."""

    kairos: KairosClient
    user: str

    def sees(self, category: str) -> Step:
        """Both lists now, and what of them is of the category."""
        page, new = (self.kairos.recommend(self.user, k=K, novel_only=novel) for novel in (False, True))
        # The best of a category are in its own list before they are in a list of all.
        own = self.kairos.recommend(self.user, k=100, categories=[category])
        return Step(page, new, frozenset(item.item_id for item in own.items))

    def does(self, kind: str, item: str) -> None:
        """Tell an event, and wait until the features hold it: usually the first answer says so.

        Raises:
            SessionError: they do not hold it in time.
        """
        event = Event(user_id=self.user, item_id=item, event_type=kind)
        deadline = time.monotonic() + FEATURES_WITHIN_S
        while not self.kairos.events([event]).features_updated:  # repeated, it counts once
            if time.monotonic() > deadline:
                raise SessionError(f"no features after {FEATURES_WITHIN_S:g} s; see the service's log and /healthz")
            time.sleep(0.2)

    def least_shown_category(self) -> str:
        """Of the categories that sell now, the one of which the user's list holds least.

        Raises:
            SessionError: the service does not know what sells now.
        """
        values = {name: value for view in self.kairos.profile(self.user).views for name, value in view.values.items()}
        categories = values.get("top_categories")
        if not isinstance(categories, list) or not categories:
            raise SessionError("no feature says which categories sell now; name one with --category")
        shown = {str(name): self.sees(str(name)) for name in categories}
        return min(
            shown, key=lambda name: sum(item.item_id in shown[name].of_category for item in shown[name].new.items)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("user", nargs="?", default=f"newcomer-{uuid.uuid4().hex[:6]}", help="by default somebody new")
    parser.add_argument("--category", help="by default one that sells now and that the user's list hardly holds")
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--key", help="where keys are in force")
    given = parser.parse_args()
    try:
        with KairosClient(given.url, key=given.key, timeout_s=10) as kairos:
            play(Shopper(kairos, given.user), given.category, Console())
    except (KairosError, SessionError) as error:
        sys.exit(str(error))


def play(shopper: Shopper, category: str | None, console: Console) -> None:
    """The session, and what came of it."""
    category = category or shopper.least_shown_category()
    found = shopper.kairos.recommend(shopper.user, k=LOOKS, categories=[category], novel_only=True).items
    if not found:
        raise SessionError(f"nothing in category {category} is new to {shopper.user}")
    steps = {"before": shopper.sees(category)}
    for look in found:
        shopper.does("view", look.item_id)
    steps[f"after {len(found)} views"] = shopper.sees(category)
    item = found[0]
    shopper.does("cart", item.item_id)
    steps["in the cart"] = shopper.sees(category)
    along = shopper.kairos.cart([item.item_id], user_id=shopper.user, k=3).items
    shopper.does("purchase", item.item_id)
    steps["bought"] = shopper.sees(category)
    for companion in along[:1]:
        shopper.does("purchase", companion.item_id)
        steps["bought what goes with it"] = shopper.sees(category)

    console.print(f"\n[b]{escape(shopper.user)}[/b] looks at {len(found)} things in [green]{escape(category)}[/green],")
    console.print(f"puts [b]{escape(item.name)}[/b] ({escape(item.item_id)}) into the cart and buys it.")
    console.print(f"What the cart page offers with it: {escape(', '.join(c.name for c in along)) or 'nothing'}.\n")
    console.print(_side_by_side("New to them", {name: step.new for name, step in steps.items()}, steps, item.item_id))
    console.print(_side_by_side("Their page", {name: step.page for name, step in steps.items()}, steps, item.item_id))
    best = {entry.item_id for entry in shopper.kairos.recommend(shopper.user, k=100).items}
    for bought in (item, *along[:1]):
        fate = "is still among the best 100" if bought.item_id in best else "rests: it is not among the best 100"
        console.print(f"{escape(bought.name)} ({escape(bought.item_id)}) was bought and {fate}.")


def _side_by_side(title: str, answers: Mapping[str, RecommendAnswer], steps: Mapping[str, Step], carted: str) -> Table:
    """A column per step, and below it how many are of the category."""
    table = Table(title=title, title_justify="left", show_footer=True)
    before: set[str] | None = None
    columns = []
    for name, answer in answers.items():
        ids = [entry.item_id for entry in answer.items]
        of_category = steps[name].of_category
        table.add_column(name, f"{sum(i in of_category for i in ids)} of {len(ids)}", no_wrap=True, ratio=1)
        cells = []
        for entry in answer.items:
            is_own, is_added = entry.item_id in of_category, before is not None and entry.item_id not in before
            style = ("green " if is_own else "") + ("bold" if entry.item_id == carted else "")
            text = f"{'+' if is_added else ' '}{'*' if is_own else ' '} {escape(entry.name)}"
            cells.append(f"[{style.strip()}]{text}[/]" if style else text)
        columns.append(cells + [""] * (K - len(cells)))
        before = set(ids)
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
