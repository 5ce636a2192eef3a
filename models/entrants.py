"""The models that a plain log of events can be ranked with, by name, as they are before they are fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from models import blend
from models.attributes import ItemAttributes
from models.errors import ConfigError, TooLargeError
from models.interactions import Interactions
from models.places import Hide, Scorer
from models.sources.als import Als, AlsConfig
from models.sources.base import Source
from models.sources.bpr import Bpr
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
from models.sources.two_tower import TwoTower
from models.sources.user_neighbours import UserNeighbours
from models.split import Holdout

HYBRID: Final = "hybrid"
LENGTH: Final = 50
"""Events of a session."""
K: Final = 10
"""Of the NDCG on validation that choices are made by."""

GRU: Final = "gru"
_SESSIONS: Final = SequenceConfig(length=LENGTH, horizon_events=1, repeat_weight=1.0, targets=LENGTH, epochs=10)

ENTRANTS: Final[Mapping[str, Callable[[], Source]]] = {
    Popularity.name: lambda: Popularity(PopularityConfig(half_life_days=60.0)),
    Own.name: Own,
    Recent.name: Recent,
    Neighbours.name: Neighbours,
    UserNeighbours.name: UserNeighbours,
    Als.name: lambda: Als(AlsConfig()),
    Bpr.name: Bpr,
    Linear.name: Linear,
    GraphFilter.name: GraphFilter,
    Sequence.name: lambda: Sequence(_SESSIONS),
    GRU: lambda: Sequence(replace(_SESSIONS, network="gru")),
    MultVae.name: MultVae,
    LightGcn.name: LightGcn,
    TwoTower.name: TwoTower,
}
WITH_ATTRIBUTES: Final = (Content.name,)
"""Those that take part where there are attributes of the items alone; `TwoTower` does with ids where there are none."""
REPEATING: Final = (Own.name, Recent.name)
"""Those that know nothing but what the user had already."""
COSTLY: Final = (Bpr.name, GRU, MultVae.name, LightGcn.name, TwoTower.name)
"""Those that take long and add little to the others: not in the hybrid, but to be asked for."""
Choices = Mapping[str, Any]
"""Field of an entrant's configuration -> its value instead of the one in `ENTRANTS`."""


def entrant(name: str, choices: Choices) -> Source:
    """One model before it is fitted, with some choices made otherwise.

    Raises:
        ConfigError: its configuration has no such field, or holds another type there.
    """
    source = ENTRANTS[name]()
    known = {field: getattr(source.config, field) for field in source.config.__dataclass_fields__}
    for field, value in choices.items():
        if field not in known:
            raise ConfigError(f"{name}: there is no {field!r} to choose; expected one of {', '.join(known)}")
        expected = (int, float) if isinstance(known[field], float) else type(known[field])
        if not isinstance(value, expected) or isinstance(value, bool) != isinstance(known[field], bool):
            kind = type(known[field]).__name__
            raise ConfigError(f"{name}: {field} is {value!r}; expected a value of type {kind}, as {known[field]!r}")
    return type(source)(replace(source.config, **choices))  # type: ignore[call-arg]


def fit(source: Source, events: Interactions) -> Source:
    """Fits a model on events, just after the last of them."""
    return source.fit(events, float(events.time.max()) + 1.0)


@dataclass(frozen=True)
class Fitted:
    """Models after the fit."""

    scorers: Mapping[str, Scorer]
    left_out: Mapping[str, str]
    """Name -> why it could not take part"""


def entrants(
    attributes: ItemAttributes | None = None, tuned: Mapping[str, Choices] = {}
) -> Mapping[str, Callable[[], Source]]:
    """All that can take part, with what is known of the items and the choices of a tuning."""
    makers: dict[str, Callable[[], Source]] = {name: partial(entrant, name, tuned.get(name, {})) for name in ENTRANTS}
    if attributes is not None:
        choices = tuned.get(TwoTower.name, {})
        makers[TwoTower.name] = lambda: TwoTower(entrant(TwoTower.name, choices).config, attributes)
        makers[Content.name] = lambda: Content(attributes)
    return makers


def fitted(
    wanted: str,
    learned: Interactions,
    validation: Holdout | None,
    *,
    hide: Hide,
    tuned: Mapping[str, Choices] = {},
    attributes: ItemAttributes | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """Fits one model, or all of them and their hybrid.

    Args:
        wanted: a name of `entrants`, or `HYBRID`.
        learned: what the models are fitted on in the end.
        validation: what the hybrid's weights are fitted on, by models that know nothing later; None: no hybrid.
        hide: what may not come again.
        tuned: name -> choices, of those that are not to be as in `ENTRANTS`.
        attributes: of the items, for the sources that read them.
        say: told what is being done.
    """
    out = COSTLY if hide != "seen" else (*COSTLY, *REPEATING)
    makers = entrants(attributes, tuned)
    chosen = [name for name in makers if name not in out] if wanted == HYBRID else [wanted]
    left_out: dict[str, str] = {}
    sources = _fit_all({name: makers[name] for name in chosen}, learned, left_out, say)
    scorers: dict[str, Scorer] = {name: source.scores for name, source in sources.items()}
    if validation is not None:
        early = _fit_all({name: makers[name] for name in sources}, validation.learned, left_out, say)
        say("weights")
        weights = blend.learned(early, validation, K, LENGTH, hide=hide).weights
        scorers[HYBRID] = blend.Blend(sources, weights).scores
    return Fitted(scorers, left_out)


def _fit_all(
    makers: Mapping[str, Callable[[], Source]],
    events: Interactions,
    left_out: dict[str, str],
    say: Callable[[str], None],
) -> dict[str, Source]:
    sources = {}
    for name, make in makers.items():
        say(name)
        try:
            sources[name] = fit(make(), events)
        except TooLargeError as error:
            if len(makers) == 1:
                raise
            left_out[name] = str(error)
    return sources
