"""What comes next after the last events: the encoder's last vector against the items'."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch

from feature_repo.schema import SESSION_EVENTS
from models.batch import Array, StateBatch
from models.errors import NotFittedError
from models.index import NOTHING, VectorIndex
from models.inherit import inherit
from models.interactions import Interactions
from models.onnx import Session, export
from models.sources.asked import ByVector
from models.sources.base import Scores, Source
from models.sources.encoder import Encoder, LastPosition, SequenceConfig, causal

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from models.unfinished import Unfinished

_WEIGHTS, _CONFIG, _SERVED, _INDEX = "sequence.pt", "sequence.json", "encoder.onnx", "index"


class Sequence(Source):
    """Score of an item: its embedding times the encoder's last vector, plus its bias."""

    name: ClassVar[str] = "sequence"

    def __init__(
        self,
        config: SequenceConfig = SequenceConfig(),
        logger: Logger | None = None,
        unfinished: Unfinished | None = None,
    ) -> None:
        self.config = config
        self.encoder: Encoder | None = None
        self._seen: Array | None = None
        """[n_items] items that had an event before the last fit"""
        self._fitted_until = -np.inf
        self._rehearsal = config.rehearsal
        self._logger, self._unfinished = logger, unfinished
        self._index: VectorIndex | None = None
        self._graph: Path | None = None
        """The file that it was loaded from: an encoder of the same kind in ONNX"""
        self._served: Session | None = None
        """The encoder in ONNX Runtime, if it was loaded; after a fit, torch's is asked."""

    def fit(self, events: Interactions, now: float) -> Self:
        """Trains; called again with newer events, it goes on from where it was."""
        # Imported here: Lightning takes seconds, and the service does not train.
        from models.sources.sequence_training import train_encoder

        until, config = self._fitted_until, replace(self.config, rehearsal=self._rehearsal)
        if self.encoder is not None and self._seen is not None and len(self._seen) < events.n_items:
            # Tables as the catalogue has grown; what is new has its place found by the training.
            encoder = Encoder(events.n_items, self.config)
            inherit(encoder, self.encoder.state_dict())
            self.encoder, self._seen = encoder, np.pad(self._seen, (0, events.n_items - len(self._seen)))
        self.encoder = train_encoder(
            self.encoder, self._seen, events, now, until, config, self._logger, self._unfinished
        )
        self._seen = np.bincount(events.item, minlength=events.n_items) > 0
        self._fitted_until = now
        self._index, self._served = self._new_index(), None
        return self

    def go_on(self) -> None:
        self._rehearsal = self.config.update_rehearsal

    def keep_track(self, logger: Logger, unfinished: Unfinished | None) -> None:
        """Where later fits log, and keep their epochs."""
        self._logger, self._unfinished = logger, unfinished

    @torch.inference_mode()
    def ask(self, batch: StateBatch) -> ByVector:
        """The sessions' vectors."""
        if self.encoder is None or self._index is None:
            raise NotFittedError("sequence: call fit or load first")
        last = slice(-(self._served_length if self._served else self.config.length), None)
        item = batch.session_item[:, last]
        given = {
            "vectors": self._table()[item],
            "padded": item == 0,
            "kind": batch.session_type[:, last].astype(np.int64),
            "gap": batch.session_gap[:, last],
        }
        if self._served:
            [hidden] = self._served(**given)
        else:
            hidden = LastPosition(self.encoder)(
                **{name: torch.from_numpy(array) for name, array in given.items()}
            ).numpy()
        return ByVector(hidden, np.asarray(item.any(axis=1)), self._index)

    @property
    def _served_length(self) -> int:
        """Events that the served encoder reads: the service knows no more of a user."""
        return min(self.config.length, SESSION_EVENTS)

    def _table(self) -> Scores:
        """[n_items, dim]"""
        assert self.encoder is not None
        table: Scores = self.encoder.item.weight.detach().numpy()
        return table

    def _new_index(self) -> VectorIndex:
        assert self.encoder is not None
        assert self._seen is not None
        bias = (self.encoder.bias.weight[:, 0] + self.encoder.prior).detach().numpy()
        bias = np.where(self._seen, bias, NOTHING).astype(np.float32)
        bias[0] = NOTHING
        return VectorIndex.build(self._table(), bias)

    @property
    def is_whole(self) -> bool:
        return self._index is None or self._index.is_whole

    def save(self, folder: Path) -> None:
        """Writes weights and configuration, and what is served: the encoder as ONNX, the index."""
        if self.encoder is None or self._seen is None or self._index is None:
            raise NotFittedError("sequence: nothing to save before fit")
        state = {**self.encoder.state_dict(), "seen": torch.from_numpy(self._seen)}
        torch.save(state, folder / _WEIGHTS)
        (folder / _CONFIG).write_text(json.dumps({"until": self._fitted_until, **asdict(self.config)}))
        length = self._served_length
        flags = torch.zeros(2, length, dtype=torch.bool)
        codes = torch.zeros(2, length, dtype=torch.int64)
        vectors = torch.zeros(2, length, self.config.dim)
        example = {"vectors": vectors, "padded": flags, "kind": codes, "gap": codes}
        dynamic = {name: {0: "users"} for name in example}
        export(LastPosition(self.encoder).eval(), example, ["hidden"], folder / _SERVED, dynamic, self._graph)
        self._index.save(folder / _INDEX)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Tables are mapped, so that several processes share them in memory."""
        config = json.loads((folder / _CONFIG).read_text())
        until = config.pop("until")
        source = cls(SequenceConfig(**config))
        state = torch.load(folder / _WEIGHTS, weights_only=True, map_location="cpu", mmap=True)
        source._seen = state.pop("seen").numpy()
        with torch.device("meta"):
            encoder = Encoder(len(source._seen), source.config).eval()
        encoder.causal = causal(source.config.length)
        encoder.load_state_dict(state, assign=True)
        source.encoder, source._fitted_until = encoder, until
        source._graph, source._served = folder / _SERVED, Session(folder / _SERVED)
        source._index = VectorIndex.load(folder / _INDEX)
        return source
