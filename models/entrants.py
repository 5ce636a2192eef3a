"""The models that a plain log of events can be ranked with, by name, as they are before they are fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from models import blend
from models.attributes import ItemAttributes
from models.errors import TooLargeError
from models.interactions import Interactions
from models.places import Hide, Scorer
from models.sources.als import Als, AlsConfig
from models.sources.base import Source
from models.sources.content import Content
from models.sources.encoder import SequenceConfig
from models.sources.graph_filter import GraphFilter
from models.sources.light_gcn import LightGcn
from models.sources.linear import Linear
from models.sources.mult_vae import MultVae
from models.sources.neighbours import Neighbours
from models.sources.own import Own
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.recent import Recent
from models.sources.sequence import Sequence
from models.sources.user_neighbours import UserNeighbours
from models.split import Holdout

HYBRID: Final = "hybrid"
LENGTH: Final = 50
"""Events of a session."""

ENTRANTS: Final[Mapping[str, Callable[[], Source]]] = {
    Popularity.name: lambda: Popularity(PopularityConfig(half_life_days=60.0)),
    Own.name: Own,
    Recent.name: Recent,
    Neighbours.name: Neighbours,
    UserNeighbours.name: UserNeighbours,
    Als.name: lambda: Als(AlsConfig()),
    Linear.name: Linear,
    GraphFilter.name: GraphFilter,
    Sequence.name: lambda: Sequence(
        SequenceConfig(length=LENGTH, horizon_events=1, repeat_weight=1.0, targets=LENGTH, epochs=10)
    ),
    MultVae.name: MultVae,
    LightGcn.name: LightGcn,
}
WITH_ATTRIBUTES: Final = (Content.name,)
"""Those that take part where there are attributes of the items, too."""
REPEATING: Final = (Own.name, Recent.name)
"""Those that know nothing but what the user had already."""
COSTLY: Final = (MultVae.name, LightGcn.name)
"""Those that take long and add little to the others: not in the hybrid, but to be asked for."""


@dataclass(frozen=True)
class Fitted:
    """Models after the fit."""

    scorers: Mapping[str, Scorer]
    left_out: Mapping[str, str]
    """Name -> why it could not take part"""


def entrants(attributes: ItemAttributes | None = None) -> Mapping[str, Callable[[], Source]]:
    """All that can take part, with what is known of the items."""
    return ENTRANTS if attributes is None else {**ENTRANTS, Content.name: lambda: Content(attributes)}


def fitted(
    wanted: str,
    learned: Interactions,
    validation: Holdout | None,
    *,
    hide: Hide,
    attributes: ItemAttributes | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """Fits one model, or all of them and their hybrid.

    Args:
        wanted: a name of `entrants`, or `HYBRID`.
        learned: what the models are fitted on in the end.
        validation: what the hybrid's weights are fitted on, by models that know nothing later; None: no hybrid.
        hide: what may not come again.
        attributes: of the items, for the sources that read them.
        say: told what is being done.
    """
    out = COSTLY if hide != "seen" else (*COSTLY, *REPEATING)
    makers = entrants(attributes)
    chosen = [name for name in makers if name not in out] if wanted == HYBRID else [wanted]
    left_out: dict[str, str] = {}
    sources = _fit_all({name: makers[name] for name in chosen}, learned, left_out, say)
    scorers: dict[str, Scorer] = {name: source.scores for name, source in sources.items()}
    if validation is not None:
        early = _fit_all({name: makers[name] for name in sources}, validation.learned, left_out, say)
        say("weights")
        weights = blend.learned(early, validation, LENGTH, hide=hide).weights
        scorers[HYBRID] = blend.Blend(sources, weights).scores
    return Fitted(scorers, left_out)


def _fit_all(
    makers: Mapping[str, Callable[[], Source]],
    events: Interactions,
    left_out: dict[str, str],
    say: Callable[[str], None],
) -> dict[str, Source]:
    now = float(events.time.max()) + 1.0
    sources = {}
    for name, make in makers.items():
        say(name)
        try:
            sources[name] = make().fit(events, now)
        except TooLargeError as error:
            if len(makers) == 1:
                raise
            left_out[name] = str(error)
    return sources
