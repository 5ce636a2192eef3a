"""The bundle: a folder with everything that one served model needs, and nothing that runs code when read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch

from models.boosted import Boosted
from models.candidates import CandidateConfig
from models.errors import BundleError, CalibrationFileError
from models.items import ItemTable
from models.onnx import Session
from models.probabilities import Probabilities
from models.ranker import Ranker, RankerConfig
from models.recommender import Recommender
from models.sources import source_class
from models.state import STATE_COLUMNS
from models.vocabulary import Vocabulary

FORMAT: Final = 3
MANIFEST: Final = "bundle.json"
_RANKER, _SERVED, _TREES, _ITEMS, _SOURCES = "ranker.pt", "ranker.onnx", "trees.txt", "items.npz", "sources"
_PROBABILITIES: Final = "probabilities"


def save(
    recommender: Recommender,
    folder: Path,
    *,
    feature_service: str = "",
    features: Sequence[str] = STATE_COLUMNS,
    item_features: Sequence[str] = (),
    metrics: Mapping[str, Any] | None = None,
    fingerprint: str = "",
    code_version: str = "",
    items_at: float | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a bundle; a folder that exists is replaced only once the new one is whole.

    Args:
        recommender: what to keep.
        folder: where.
        feature_service: name of the feature service that the model was trained with.
        features: the ordered feature list that the service asks for.
        item_features: those of the item table, as `view:feature`.
        metrics: figures of the evaluation; the training's stand beside them.
        fingerprint: of the data.
        code_version: of the code.
        items_at: as of when the item table is, epoch seconds.
        origin: how it came about, as plain data.
    """
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    recommender.vocabulary.save(new)
    recommender.items.save(new / _ITEMS)
    for name, source in recommender.sources.items():
        part = new / _SOURCES / name
        part.mkdir(parents=True)
        source.save(part)
    ranker = recommender.ranker
    if ranker is not None:
        torch.save(ranker.state_dict(), new / _RANKER)
        ranker.export(new / _SERVED)
        if ranker.trees is not None:
            ranker.trees.save(new / _TREES)
    probabilities = recommender.probabilities
    manifest = {
        "format": FORMAT,
        "target": recommender.target,
        "sources": list(recommender.sources),
        "candidates": asdict(recommender.candidates),
        "ranker": None if ranker is None else {"config": asdict(ranker.config), "heads": list(ranker.heads)},
        "ranker_target": None if ranker is None else ranker.target,
        "trees_weight": None if ranker is None or ranker.trees is None else ranker.trees_weight,
        "probabilities": None if probabilities is None else probabilities.save(new / _PROBABILITIES),
        "ranker_features": list(recommender.space.names),
        "other_features": list(recommender.others),
        "feature_service": feature_service,
        "features": list(features),
        "item_features": list(item_features),
        "metrics": {**recommender.metrics, **(metrics or {})},
        "fingerprint": fingerprint,
        "code_version": code_version,
        "items_at": items_at,
        "origin": None if origin is None else dict(origin),
    }
    (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return folder


def manifest(folder: Path) -> dict[str, Any]:
    """The bundle's own description.

    Raises:
        BundleError: there is none, or it has another format.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise BundleError(f"{folder}: no {MANIFEST}; train a model or point to a bundle's folder")
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BundleError(f"{file}: not readable as JSON ({error}); train again") from error
    if content.get("format") != FORMAT:
        raise BundleError(f"{file}: format {content.get('format')!r}, this code reads {FORMAT}; train again")
    return content


def load(folder: Path) -> Recommender:
    """Reads what `save` wrote.

    Raises:
        BundleError: the folder is incomplete, has another format, or its features are not this code's.
    """
    content = manifest(folder)
    try:
        vocabulary = Vocabulary.load(folder)
        items = ItemTable.load(folder / _ITEMS)
        sources = {name: source_class(name).load(folder / _SOURCES / name) for name in content["sources"]}
    except (FileNotFoundError, KeyError) as error:
        raise BundleError(f"{folder}: incomplete, {error} is missing; train again") from error
    recommender = Recommender(
        vocabulary=vocabulary,
        items=items,
        sources=sources,
        ranker=None,
        target=content["target"],
        candidates=CandidateConfig(**content["candidates"]),
        metrics=content["metrics"],
        others=tuple(content["other_features"]),
    )
    names = list(recommender.space.names)
    if content["ranker_features"] != names:
        changed = sorted(set(names).symmetric_difference(content["ranker_features"])) or "their order"
        raise BundleError(f"{folder}: the ranker's features are not this code's ({changed}); train again")
    if content["ranker"] is None:
        return recommender
    return replace(
        recommender, ranker=_ranker(folder, content, recommender), probabilities=_probabilities(folder, content)
    )


def _probabilities(folder: Path, content: dict[str, Any]) -> Probabilities | None:
    about = content.get("probabilities")  # bundles from before there were any do not say
    if about is None:
        return None
    try:
        return Probabilities.load(folder / _PROBABILITIES, about)
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: incomplete, {error} is missing; train again") from error
    except CalibrationFileError as error:
        raise BundleError(f"{folder}: damaged, {error}; train again") from error


def _ranker(folder: Path, content: dict[str, Any], recommender: Recommender) -> Ranker:
    config = dict(content["ranker"]["config"])
    config["code_dims"] = tuple(config["code_dims"])
    weight = content.get("trees_weight")  # bundles from before there were trees do not say
    files = (_RANKER, _SERVED) if weight is None else (_RANKER, _SERVED, _TREES)
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder}: incomplete, {missing[0]} is missing; train again")
    with torch.device("meta"):  # the weights come from the file
        ranker = Ranker.of(
            RankerConfig(**config),
            recommender.space,
            recommender.vocabulary,
            content["ranker"]["heads"],
            content["ranker_target"],
        )
    weights = torch.load(folder / _RANKER, weights_only=True, map_location="cpu", mmap=True)
    ranker.load_state_dict(weights, assign=True)
    ranker.graph, ranker.served = folder / _SERVED, Session(folder / _SERVED)
    if weight is not None:
        ranker.trees, ranker.trees_weight = Boosted.load(folder / _TREES), weight
    return ranker.eval()
