"""RecTools' SASRec on a table of events, trained until time is up; runs in the peers' environment.

python rectools_sasrec.py SPEC.json RESULT.json
"""

import json
import sys
import time
from datetime import timedelta

import pandas as pd
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


class Clock(Callback):
    """Counts batches and the seconds between the first and the last of them."""

    def on_train_start(self, trainer, module):
        self.started, self.batches = time.perf_counter(), 0

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.batches += 1
        self.seconds = time.perf_counter() - self.started


def main(spec: dict) -> dict:
    events = pd.read_parquet(spec["events"])
    frame = pd.DataFrame(
        {
            Columns.User: events["user"],
            Columns.Item: events["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(events["order"], unit="s"),
        }
    )
    seed_everything(spec["seed"])

    def trainer():
        return Trainer(
            max_epochs=-1,
            max_time=timedelta(seconds=spec["limit_s"]),
            callbacks=[Clock()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = SASRecModel(
        n_factors=spec["dim"],
        n_blocks=spec["layers"],
        n_heads=spec["heads"],
        dropout_rate=spec["dropout"],
        session_max_len=spec["length"],
        batch_size=spec["batch_size"],
        lr=spec["learning_rate"],
        loss="softmax",
        dataloader_num_workers=0,
        get_trainer_func=trainer,
    )
    dataset = Dataset.construct(frame)
    model.fit(dataset)
    # RecTools trains with a copy of the trainer.
    [clock] = [each for each in model.fit_trainer.callbacks if isinstance(each, Clock)]
    # An epoch of RecTools goes once through every user, and so through every target.
    epochs = clock.batches / -(-events["user"].nunique() // spec["batch_size"])
    asked = model.recommend(sorted(events["user"].unique()), dataset, k=spec["k"], filter_viewed=True)
    lists = asked.sort_values(Columns.Rank).groupby(Columns.User)[Columns.Item].agg(list)
    return {"seconds": clock.seconds, "epochs": epochs, "lists": {str(user): items for user, items in lists.items()}}


if __name__ == "__main__":
    spec_file, result_file = sys.argv[1:]
    with open(spec_file) as given:
        result = main(json.load(given))
    with open(result_file, "w") as out:
        json.dump(result, out)
