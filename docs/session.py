"""Plays a shopping session against a running service and shows what each step does to the recommendations.

    make serve                                 # in another terminal
    .venv/bin/python docs/session.py 900       # a user of the data, or any other id

The user looks at something new to them, puts it into the cart, buys it, and takes along what goes with it. Rows marked
with + were not in the list before; the item itself is in bold.
"""

from __future__ import annotations

import argparse
import uuid

from rich.console import Console
from rich.table import Table

from services.client import KairosClient
from services.messages import RecommendAnswer

K = 10
WIDTH = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("user", nargs="?", default=f"newcomer-{uuid.uuid4().hex[:6]}", help="by default somebody new")
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--key", help="where keys are in force")
    given = parser.parse_args()
    with KairosClient(given.url, key=given.key, timeout_s=10) as kairos:
        steps = {"before": kairos.recommend(given.user, k=K)}
        # Something that is new to the user and not on the first page.
        item = kairos.recommend(given.user, k=100, novel_only=True).items[-1]
        for kind in ("view", "cart", "purchase"):
            kairos.event(given.user, item.item_id, kind)
            steps[f"after the {kind}"] = kairos.recommend(given.user, k=K)
        along = kairos.cart([item.item_id], user_id=given.user, k=1).items[0]
        kairos.event(given.user, along.item_id, "purchase")
        steps["after a companion"] = kairos.recommend(given.user, k=K)
    console = Console()
    console.print(f"\n{given.user} looks at [b]{item.name}[/b] ({item.item_id}), puts it into the cart and buys it;")
    console.print(f"then buys [b]{along.name}[/b] ({along.item_id}), which goes well with it.\n")
    console.print(side_by_side(steps, item.item_id))


def side_by_side(steps: dict[str, RecommendAnswer], item: str) -> Table:
    """A column per step; + marks what the list before did not have."""
    table = Table(*steps, show_lines=False)
    columns: list[list[str]] = []
    before: set[str] | None = None
    for answer in steps.values():
        ids = {entry.item_id for entry in answer.items}
        columns.append(
            [
                f"{'+' if before is not None and entry.item_id not in before else ' '} "
                f"{'[b]' if entry.item_id == item else ''}{entry.name[:WIDTH]}{'[/b]' if entry.item_id == item else ''}"
                for entry in answer.items
            ]
        )
        before = ids
    for row in zip(*(column + [""] * (K - len(column)) for column in columns), strict=True):
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
