"""Challengers that must not go into service: the champion's bundle, spoiled in one way each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from models import bundle, registry
from models.calibration import Calibration
from models.candidates import CandidateConfig
from models.ids import IdMap
from models.items import ItemTable
from models.probabilities import Probabilities
from models.ranker import Ranker
from models.recommender import Recommender
from models.sources.own import Own
from models.sources.popularity import Popularity
from models.state import DAY_S

SEED: Final = 7
SLOWER: Final = 40
"""Times the candidates of the champion"""
Spoil = Callable[[Recommender], Recommender]


@dataclass(frozen=True)
class Worse:
    """One way to be worse.

    Attributes:
        refused_by: the checks of which one at least must say no.
        model: what becomes of the model before it is saved.
        manifest: what becomes of the saved bundle's description.
        published: what becomes of the folder in the store.
    """

    refused_by: tuple[str, ...]
    model: Spoil = lambda recommender: recommender
    manifest: Callable[[dict[str, Any]], dict[str, Any]] = lambda content: {}
    published: Callable[[Path], None] = lambda folder: None


def published(champion: Path, way: Worse, scratch: Path) -> str:
    """Publish the champion's bundle, spoiled; returns its tag."""
    about = bundle.manifest(champion)
    known = ("feature_service", "features", "item_features", "fingerprint", "code_version", "items_at")
    model = way.model(bundle.load(champion))
    folder = bundle.save(model, scratch / "worse", **{name: about[name] for name in known})
    file = folder / bundle.MANIFEST
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **way.manifest(content)}))
    tag = registry.publish(folder, {"fingerprint": "spoiled"})
    way.published(registry.bundle_path(tag))
    shutil.rmtree(folder)
    return tag


def _weights(spoil: Callable[[Ranker], None]) -> Spoil:
    def spoiled(recommender: Recommender) -> Recommender:
        assert recommender.ranker is not None
        recommender.ranker.served = None
        weights = {name: tensor.clone() for name, tensor in recommender.ranker.state_dict().items()}
        recommender.ranker.load_state_dict(weights, assign=True)  # they were mapped from the champion's file
        with torch.no_grad():
            spoil(recommender.ranker)
        return recommender

    return spoiled


def _backwards(ranker: Ranker) -> None:
    ranker.out.weight.neg_()
    ranker.out.bias.neg_()
    ranker.alpha_logit.fill_(-20.0)


def _untrained(ranker: Ranker) -> None:
    generator = torch.Generator().manual_seed(SEED)
    for weights in ranker.parameters():
        weights.copy_(torch.randn(weights.shape, generator=generator) * 0.1)
    ranker.alpha_logit.fill_(-20.0)


def _no_numbers(ranker: Ranker) -> None:
    ranker.out.weight[0, 0] = torch.nan


def _blind(ranker: Ranker) -> None:
    """As if every feature had been null in training: its mean is 0, and whatever comes counts for nothing."""
    ranker.scale.fill_(1e9)


def _blind_to_own(recommender: Recommender) -> Recommender:
    """As if the features of what users have had been null."""
    names = recommender.space.names
    at = [n for n, name in enumerate(names) if name.startswith(("own", "user_item", "score_own"))]

    def spoil(ranker: Ranker) -> None:
        ranker.scale[torch.tensor(at)] = 1e9

    return _weights(spoil)(recommender)


def _shuffled_ids(recommender: Recommender) -> Recommender:
    """As if labels had been shuffled over items in training."""
    names = list(recommender.vocabulary.items.names)
    order = np.random.default_rng(SEED).permutation(len(names))
    return replace(
        recommender, vocabulary=replace(recommender.vocabulary, items=IdMap([names[n] for n in order.tolist()]))
    )


def _shuffled_table(recommender: Recommender) -> Recommender:
    """Every item has the features of another."""
    items = recommender.items
    order = np.concatenate([[0], 1 + np.random.default_rng(SEED).permutation(len(items.codes) - 1)])
    return replace(recommender, items=ItemTable(items.codes[order], items.numbers[order], items.names))


def _candidates(own: int, new: int) -> Spoil:
    return lambda recommender: replace(recommender, candidates=CandidateConfig(own=own, new=new))


def _popular_alone(recommender: Recommender) -> Recommender:
    return replace(
        recommender, ranker=None, probabilities=None, sources={Popularity.name: recommender.sources[Popularity.name]}
    )


def _own_alone(recommender: Recommender) -> Recommender:
    sources = {name: recommender.sources[name] for name in (Own.name, Popularity.name)}
    return replace(recommender, ranker=None, probabilities=None, sources=sources)


def _no_probabilities(recommender: Recommender) -> Recommender:
    return replace(recommender, probabilities=None)


def _calibrated(calibration: Callable[[Calibration], Calibration]) -> Spoil:
    def spoiled(recommender: Recommender) -> Recommender:
        told = recommender.probabilities
        assert told is not None
        heads = {head: calibration(each) for head, each in told.heads.items()}
        return replace(recommender, probabilities=Probabilities(told.horizon_s, heads))

    return spoiled


def _flip(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)

    return spoil


WAYS: Final[Mapping[str, Worse]] = {
    "labels shuffled over items": Worse(("better than popularity", "quality, all items", "whole"), _shuffled_ids),
    "features of another item": Worse(("quality, all items", "quality, novel items"), _shuffled_table),
    "all features null": Worse(("quality, all items", "better than popularity"), _weights(_blind)),
    "features of own items null": Worse(("quality, all items",), _blind_to_own),
    "ranks backwards": Worse(("quality, all items",), _weights(_backwards)),
    "untrained ranker": Worse(("quality, all items",), _weights(_untrained)),
    "weights that are no numbers": Worse(("whole",), _weights(_no_numbers)),
    "popularity alone": Worse(("quality, all items", "better than popularity"), _popular_alone),
    "only what the user had": Worse(("quality, novel items", "quality, all items"), _own_alone),
    "no own items proposed": Worse(("quality, all items",), _candidates(0, 60)),
    "three candidates a source": Worse(("quality, all items", "quality, novel items"), _candidates(3, 3)),
    "slow": Worse(("latency", "whole"), _candidates(150 * SLOWER, 60 * SLOWER)),
    "no probabilities": Worse(("calibration",), _no_probabilities),
    "overconfident": Worse(("calibration",), _calibrated(lambda _: Calibration("platt", 1.0, 4.0))),
    "saw the holdout": Worse(("unseen",), manifest=lambda content: {"items_at": content["items_at"] + 10 * DAY_S}),
    "stale": Worse(("as fresh",), manifest=lambda content: {"items_at": content["items_at"] - 30 * DAY_S}),
    "trained on other data": Worse(("reproducible",), manifest=lambda _: {"fingerprint": "0" * 16}),
    "asks for a feature that is gone": Worse(
        ("features",), manifest=lambda content: {"features": [*content["features"], "user_activity:gone"]}
    ),
    "damaged on disk": Worse(("whole",), published=_flip("ranker.onnx")),
    "a file is missing": Worse(("whole",), published=lambda folder: (folder / "items.npz").unlink()),
}
"""Name -> how"""
