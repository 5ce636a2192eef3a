"""Public sets of behaviour as interactions; the files are read where they lie and never copied."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.schema import CART, EVENT_TYPES, EVENT_WEIGHTS, PURCHASE, VIEW
from models.interactions import Interactions
from models.state import DAY_S

FOLDER: Final = "KAIROS_DATASETS"
ONE_KIND: Final = PURCHASE
"""What an event is where the set tells no kinds apart."""
Array = npt.NDArray[Any]


def folder(name: str, source: str) -> Path:
    """A set's folder.

    Args:
        name: of the set.
        source: where it can be had.

    Raises:
        SystemExit: it is not there.
    """
    found = Path(os.environ.get(FOLDER, "datasets")) / name
    if not found.is_dir():
        raise SystemExit(f"{found}: not there. Get the files from {source}, and set {FOLDER} to the folder above")
    return found


def interactions(user: Array, item: Array, time: Array, kind: Array | None = None) -> Interactions:
    """Whatever ids [E] the set has, and epoch seconds [E] -> interactions; kinds are names of event types."""
    users, user = np.unique(user, return_inverse=True)
    items, item = np.unique(item, return_inverse=True)
    order = np.lexsort((time, user))
    kinds = np.full(len(user), EVENT_TYPES.index(ONE_KIND) + 1)
    if kind is not None:
        names, kinds = np.unique(kind, return_inverse=True)
        kinds = np.array([EVENT_TYPES.index(name) + 1 for name in names])[kinds]
    return Interactions(
        user[order].astype(np.int32),
        (item[order] + 1).astype(np.int32),
        kinds[order].astype(np.int32),
        np.asarray(time, dtype=np.float64)[order],
        tuple(str(name) for name in users),
        len(items) + 1,
        np.array([0.0, *(EVENT_WEIGHTS[name] for name in EVENT_TYPES)]),
    )


def in_order(user: Array, item: Array) -> Interactions:
    """Events [E] of which only the order within a user is known: a day apart, everybody's last one on the same day.

    So what decays with time decays with the number of events that came after, for all users alike.
    """
    order = np.argsort(user, kind="stable")
    to_the_end = np.searchsorted(user[order], user[order], side="right") - np.arange(len(user))
    time = np.empty(len(user))
    time[order] = (to_the_end.max() + 1.0 - to_the_end) * DAY_S
    return interactions(user, item, time)


def beauty() -> Interactions:
    """Amazon Beauty, 5-core, in time order."""
    file = folder("amazon-beauty", "github.com/RUCAIBox/CIKM2020-S3Rec, data/") / "Beauty.txt"
    return in_order(*_lines(file))


def movielens() -> Interactions:
    """MovieLens-1M as SASRec's authors prepared it, in time order."""
    file = folder("movielens-1m", "github.com/kang205/SASRec, data/ml-1m.txt") / "sasrec_ml-1m.txt"
    pairs = pd.read_csv(file, sep=" ", header=None, names=["user", "item"])
    return in_order(pairs["user"].to_numpy(), pairs["item"].to_numpy())


def gowalla() -> tuple[Interactions, Interactions]:
    """Gowalla as LightGCN's authors split it, training and test; in no order."""
    found = folder("gowalla", "github.com/gusye1234/LightGCN-PyTorch, data/gowalla/")
    parts = [_lines(found / f"{part}.txt") for part in ("train", "test")]
    user, item = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    is_test = np.repeat([False, True], [len(rows) for rows, _ in parts])
    everything = interactions(user, item, is_test.astype(float))
    return everything.where(everything.time == 0), everything.where(everything.time == 1)


def retailrocket() -> Interactions:
    """RetailRocket's buyers: views, carts and purchases with times."""
    source = "github.com/HKUDS/SSLRec, datasets/multi_behavior/retail_rocket/"
    events = pd.read_csv(folder("retailrocket", source) / "train_events.tsv", sep="\t")
    kinds = events["behavior"].map({"view": VIEW, "cart": CART, "buy": PURCHASE})
    columns = [events[name].to_numpy() for name in ("user", "item", "timestamp")]
    return interactions(*columns, kinds.to_numpy())


def _lines(file: Path) -> tuple[Array, Array]:
    """Lines of a user and their items -> users [E] and items [E]."""
    rows = [np.array(line.split(), dtype=np.int64) for line in file.read_text().splitlines()]
    items = np.fromiter(chain.from_iterable(row[1:] for row in rows), dtype=np.int64)
    return np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows]), items
