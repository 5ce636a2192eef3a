"""How fast the sequence encoder trains, beside RecTools' and RecBole's SASRec: the same size, data and machine.

Amazon Beauty without each user's last event, which is the question. A turn through all targets is an epoch, however
many windows it is cut into; the figure is the seconds that one takes. So that it is not bought with quality, the peers
train for twice as long as ours, each with its own batch and learning rate, and ours must rank at least as well then.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import venv
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.models.public import beauty
from models.places import places_of
from models.sources.encoder import SequenceConfig
from models.sources.sequence import Sequence
from models.split import Holdout, leave_last_out

K: Final = 10
LENGTH: Final = 50
EPOCHS: Final = 8
LIMIT_S: Final = 300.0
"""How long a peer trains: twice what our epochs take on two cores."""
PEERS_BATCH: Final = 128
PEERS_RATE: Final = 1e-3
"""The learning rate that both come with."""
FASTER: Final = 2.0
ENCODER: Final = SequenceConfig(
    dim=64, layers=2, heads=2, dropout=0.2, length=LENGTH, horizon_events=1, repeat_weight=1.0, targets=LENGTH,
    negatives=0, batch_size=32, epochs=EPOCHS, learning_rate=2e-3, warm_start=False,
)  # fmt: skip
_HERE: Final = Path(__file__).parent / "peers"
PEERS: Final = {"RecTools": _HERE / "rectools_sasrec.py", "RecBole": _HERE / "recbole_sasrec.py"}
ENVIRONMENT: Final = Path(".venv-peers")


def measure() -> dict[str, Any]:
    """The figure: the faster peer's time for an epoch divided by ours."""
    question = leave_last_out(beauty(), least=3)
    rows = {"Kairos": _ours(question)} | {name: _peer(script, question) for name, script in PEERS.items()}
    times = {name: row["seconds"] / row["epochs"] for name, row in rows.items()}
    value = round(min(times[name] for name in PEERS) / times["Kairos"], 2)
    best = max(rows[name][f"ndcg@{K}"] for name in PEERS)
    detail = {name: {**row, "seconds of an epoch": round(times[name], 2)} for name, row in rows.items()}
    return {
        "value": value,
        "unit": "times the faster peer's speed",
        "target": FASTER,
        "met": value >= FASTER and rows["Kairos"][f"ndcg@{K}"] >= best,
        "detail": {"models": detail, "limit_s": LIMIT_S, "set": "Amazon Beauty"},
    }


def _ours(question: Holdout) -> dict[str, float]:
    started = time.perf_counter()
    source = Sequence(ENCODER).fit(question.learned, float(question.learned.time.max()) + 1.0)
    seconds = time.perf_counter() - started
    ndcg = places_of(source.scores, question, length=LENGTH).ndcg(K).mean()
    return {"seconds": round(seconds, 1), "epochs": float(EPOCHS), f"ndcg@{K}": round(float(ndcg), 4)}


def _peer(script: Path, question: Holdout) -> dict[str, float]:
    events = question.learned
    order = np.arange(len(events))  # within a user; interactions are in time order
    spec = {name: getattr(ENCODER, name) for name in ("dim", "layers", "heads", "dropout", "length", "seed")}
    spec |= {"batch_size": PEERS_BATCH, "learning_rate": PEERS_RATE, "limit_s": LIMIT_S, "k": K}
    with tempfile.TemporaryDirectory() as folder:
        table, given, found = (Path(folder) / name for name in ("events.parquet", "spec.json", "found.json"))
        pd.DataFrame({"user": events.user, "item": events.item, "order": order}).to_parquet(table)
        given.write_text(json.dumps({**spec, "events": str(table)}))
        subprocess.run([_peers_python(), "-W", "ignore", str(script), str(given), str(found)], check=True)
        result = json.loads(found.read_text())
    wanted = dict(zip(question.users[question.truth_row].tolist(), question.truth_item.tolist(), strict=True))
    place = [result["lists"].get(str(user), []) for user in wanted]
    gains = [
        1.0 / np.log2(items.index(item) + 2.0) if item in items else 0.0
        for items, item in zip(place, wanted.values(), strict=True)
    ]
    return {
        "seconds": round(result["seconds"], 1),
        "epochs": round(result["epochs"], 2),
        f"ndcg@{K}": round(float(np.mean(gains)), 4),
    }


def _peers_python() -> str:
    """The peers' interpreter; their environment is made where it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").exists():
        venv.create(ENVIRONMENT, with_pip=True)
        # RecBole asks for an old Ray, for tuning alone; it and its few other needs are named one by one.
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", str(_HERE / "requirements.txt")], check=True)
        subprocess.run([*install, "--no-deps", "recbole==1.2.1"], check=True)
        (ENVIRONMENT / ".installed").touch()
    return str(python)
