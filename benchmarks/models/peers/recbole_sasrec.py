"""RecBole's SASRec on a table of events, trained until time is up; runs in the peers' environment.

python recbole_sasrec.py SPEC.json RESULT.json
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.utils import init_seed


def main(spec: dict) -> dict:
    events = pd.read_parquet(spec["events"])
    with tempfile.TemporaryDirectory() as folder:
        return _trained(spec, events, Path(folder))


def _trained(spec: dict, events: pd.DataFrame, folder: Path) -> dict:
    (folder / "shop").mkdir()
    names = ["user:token", "item:token", "order:float"]
    # RecBole holds the last two events of each user back; two that nobody learns from stand in for them.
    last = events.groupby("user", as_index=False)["order"].max()
    first = events.groupby("user")["item"].first().reindex(last["user"]).to_numpy()
    held = [last.assign(item=first, order=last["order"] + step) for step in (1, 2)]
    table = pd.concat([events, *held])[["user", "item", "order"]]
    table.set_axis(names, axis=1).to_csv(folder / "shop" / "shop.inter", sep="\t", index=False)
    config = Config(
        model="SASRec",
        dataset="shop",
        config_dict={
            "data_path": str(folder),
            "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "TIME_FIELD": "order",
            "load_col": {"inter": ["user", "item", "order"]},
            "n_layers": spec["layers"], "n_heads": spec["heads"], "hidden_size": spec["dim"],
            "inner_size": 2 * spec["dim"], "hidden_dropout_prob": spec["dropout"], "attn_dropout_prob": spec["dropout"],
            "MAX_ITEM_LIST_LENGTH": spec["length"], "loss_type": "CE", "train_neg_sample_args": None,
            "train_batch_size": spec["batch_size"], "learning_rate": spec["learning_rate"],
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
            "use_gpu": torch.cuda.is_available(), "show_progress": False, "state": "ERROR", "seed": spec["seed"],
            "checkpoint_dir": str(folder),
        },
    )  # fmt: skip
    init_seed(config["seed"], reproducibility=True)
    dataset = create_dataset(config)
    training = data_preparation(config, dataset)[0]
    model = SASRec(config, training.dataset).to(config["device"])
    optimizer = torch.optim.Adam(model.parameters(), lr=spec["learning_rate"])
    model.train()
    started, batches = time.perf_counter(), 0
    while time.perf_counter() - started <= spec["limit_s"]:
        for batch in training:
            optimizer.zero_grad()
            model.calculate_loss(batch.to(config["device"])).backward()
            optimizer.step()
            batches += 1
            if time.perf_counter() - started > spec["limit_s"]:
                break
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "epochs": batches / len(training), "lists": _lists(spec, events, dataset, model)}


@torch.inference_mode()
def _lists(spec: dict, events: pd.DataFrame, dataset, model) -> dict:
    """The first k of each user that they did not have, from their whole history."""
    model.eval()
    length, lists = spec["length"], {}
    inside = dataset.token2id("item", events["item"].astype(str).to_numpy())
    histories = pd.Series(inside).groupby(events["user"].to_numpy()).agg(list)
    for user, history in histories.items():
        items = torch.zeros(1, length, dtype=torch.long, device=model.device)
        recent = history[-length:]
        items[0, : len(recent)] = torch.tensor(recent)
        at = torch.tensor([len(recent)], device=model.device)
        scores = model.full_sort_predict({model.ITEM_SEQ: items, model.ITEM_SEQ_LEN: at})[0]
        scores[[0, *history]] = -torch.inf
        best = scores.topk(spec["k"]).indices.cpu().numpy()
        lists[str(user)] = [int(item) for item in dataset.id2token("item", best)]
    return lists


if __name__ == "__main__":
    spec_file, result_file = sys.argv[1:]
    with open(spec_file) as given:
        result = main(json.load(given))
    with open(result_file, "w") as out:
        json.dump(result, out)
