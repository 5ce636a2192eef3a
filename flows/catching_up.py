"""The champion, caught up: the same model with what has happened since it was trained, its holdout included.

What judges a model it must not have seen, so a champion knows nothing of the newest weeks. Once it is in service
nothing speaks against learning them: sources follow, new items enter, the ranker stays as it was judged. What comes of
it answers in the champion's place. Nobody can judge it yet: challengers are compared with the champion, and go on from
it.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import timedelta
from typing import Final

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from feature_repo.errors import FeaturesBusyError
from flows.bundles import known_until, publish_bundle
from flows.features import data_timeline
from flows.frames import items_at
from flows.going_on import Origin, difference
from flows.naming import run_name
from flows.time_limits import TIME_LIMITS_S
from flows.timeline import Timeline
from flows.train import begin, configured, save
from flows.training_turn import WAIT_S, training_turn
from infra.settings import Settings, settings
from models import bundle, registry, smoke
from models.errors import BundleError, NotUpdatableError
from models.training import TrainingConfig
from models.update import update

TRIES: Final = 3
"""Another champion may come into service meanwhile."""

_log = logging.getLogger(__name__)


def catch_up_champion(
    config: Settings, model: TrainingConfig | None = None, wait_s: float = WAIT_S
) -> registry.Champion:
    """Have the champion answer with all that the lake holds.

    Nothing happens where it does already, or where somebody wants it to answer as it was judged.

    Args:
        model: the choices of a training; None: those of the settings.
        wait_s: how long to wait for a training's end.

    Raises:
        NoChampionError: none is in service.
        NotUpdatableError: it cannot go on by today's choices, features or events.
        OtherChampionError: another one came into service meanwhile.
        FeaturesBusyError: a training took longer.
        BundleError: it is damaged.
    """
    with training_turn(config, wait_s):
        held, now = registry.champion(config.champion), _everything(data_timeline(config))
        if held.is_held or _knows_all(held, now):
            return held
        folder = registry.bundle_path(held.tag)
        registry.check(folder)
        about = bundle.manifest(folder)
        try:
            origin = replace(Origin(**about["origin"]), goes_on_from=held.tag)
        except (KeyError, TypeError) as error:
            raise NotUpdatableError(f"{held.tag} does not say how it was trained") from error
        begun = begin(config, model or configured(config), now)
        if unlike := difference(held.tag, about, origin, begun):
            raise NotUpdatableError(unlike)
        _log.info("catching %s up until %s", held.tag, now.newest)
        caught_up = update(
            bundle.load(folder),
            begun.events,
            items_at(begun.features, begun.events, now.cut),
            final_cut=now.cut.timestamp(),
            lesson=None,
            config=begun.model,
            run_dir=begun.run,
        )
        made = save(caught_up, origin, begun, begun.run / "bundle")
        smoke.try_out(bundle.load(made))
        tag = publish_bundle(made)
        shutil.rmtree(made)
        return registry.catch_up(config.champion, tag, of=held.tag)


def catch_up_if_possible(config: Settings, wait_s: float = WAIT_S) -> str:
    """The same; where it is not possible, the champion goes on as it is. Returns in a sentence which of them it was.

    Raises:
        NoChampionError, BundleError: as `catch_up_champion`.
    """
    why: Exception
    for _ in range(TRIES):
        try:
            held = catch_up_champion(config, wait_s=wait_s)
            return f"{held.tag} answers by what happened until {known_until(held.serves):%Y-%m-%d %H:%M} UTC"
        except registry.OtherChampionError as error:
            why = error  # that one, then
        except (NotUpdatableError, FeaturesBusyError) as error:
            why = error
            break
    held = registry.champion(config.champion)
    _log.warning("%s is not caught up: %s", held.tag, why)
    return f"{held.tag} answers as before, by no more than it knew: {why}"


def _knows_all(held: registry.Champion, now: Timeline) -> bool:
    try:
        registry.check(registry.bundle_path(held.serves))
        return known_until(held.serves) >= now.cut
    except (registry.NoChampionError, BundleError):
        return False  # gone or damaged: it is made anew


def _everything(cuts: Timeline) -> Timeline:
    """The cut behind the newest event."""
    return replace(cuts, cut=cuts.newest + timedelta(microseconds=1))


@flow(name="catch-up", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["catch-up"])
def catch_up_flow() -> str:
    """Have the champion answer with all that the lake holds; returns in a sentence what it knows."""
    said = catch_up_if_possible(settings())
    create_markdown_artifact(key="caught-up", markdown=said)
    return said
