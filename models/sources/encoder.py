"""The networks that read a session: each position knows itself and what came before.

A transformer as of self-attentive sequential recommendation (Kang and McAuley, 2018), or gated recurrent units as of
GRU4Rec (Hidasi et al., 2016); with embeddings of event type and time gap beside the items', and tied item embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from feature_repo.schema import EVENT_TYPES, SESSION_EVENTS
from models.gaps import GAP_BUCKETS


@dataclass(frozen=True)
class SequenceConfig:
    """The encoder and its training."""

    network: Literal["transformer", "gru"] = "transformer"
    """What reads a session: attention over all of it, or recurrent units, event after event."""
    dim: int = 64
    layers: int = 1
    heads: int = 2
    """Of the transformer."""
    dropout: float = 0.1
    length: int = SESSION_EVENTS
    """The last events that are read."""
    horizon_events: int = 50
    """A position's target is drawn from this many events after it: 1 for clicks, a basket or two for purchases."""
    repeat_weight: float = 0.1
    """Weight of a target that the user had already taken before; those are what the source `own` is for."""
    targets: int = 8
    """Positions per window that are trained on, drawn anew each time; all of a shop's would cost more than they
    teach."""
    negatives: int = 768
    """Negatives per batch: half drawn from the targets, half uniformly. 0: every item of the catalogue, exactly."""
    batch_size: int = 128
    """Windows of `length` events per batch."""
    epochs: int = 2
    """Passes over the events at the first fit."""
    refresh_epochs: int = 1
    """Passes over the newer events, with some older ones, when `fit` is called again."""
    learning_rate: float = 2e-3
    refresh_rate: float = 0.7
    """Learning rate of a later fit, relative to the first's."""
    rehearsal: float = 2.0
    """Older windows per newer one in a later fit, so that it does not forget."""
    update_rehearsal: float = 0.25
    """The same where a model goes on from an earlier one night after night: that one has seen all of the older ones."""
    warm_start: bool = True
    """Begin with item embeddings from matrix factorisation: rare items have a place before the first step."""
    prior_half_life_days: float = 60.0
    """Decay of the popularity that every item starts from."""
    devices: int = 1
    """GPUs or, where there are none, processes that take equal parts of each batch."""
    threads: int = 0
    """Of the warm start; 0: all cores."""
    seed: int = 7


class Encoder(nn.Module):
    """Sessions [B, L] to vectors [B, L, dim], L at most the configured length; position counts from the end."""

    def __init__(self, n_items: int, config: SequenceConfig) -> None:
        super().__init__()
        self.item = nn.Embedding(n_items, config.dim, padding_idx=0)
        self.kind = nn.Embedding(len(EVENT_TYPES) + 1, config.dim, padding_idx=0)
        self.gap = nn.Embedding(GAP_BUCKETS, config.dim)
        self.position = nn.Embedding(config.length, config.dim)
        self.blocks: _Recurrent | _Transformer = (
            _Recurrent(config) if config.network == "gru" else _Transformer.of(config)
        )
        self.drop = nn.Dropout(config.dropout)
        self.bias = nn.Embedding(n_items, 1)
        self.register_buffer("prior", torch.zeros(n_items))  # log popularity; follows every fit, is not learned
        self.prior: Tensor
        for table in (self.item, self.kind, self.gap, self.position):
            nn.init.normal_(table.weight, std=0.05)
        nn.init.zeros_(self.bias.weight)
        self.register_buffer("causal", causal(config.length), persistent=False)
        self.causal: Tensor

    def forward(self, item: Tensor, kind: Tensor, gap: Tensor) -> Tensor:
        """item, kind, gap [B, L] -> [B, L, dim]."""
        return self.encode(self.item(item), item == 0, kind, gap)

    def encode(self, vectors: Tensor, padded: Tensor, kind: Tensor, gap: Tensor) -> Tensor:
        """The items' vectors [B, L, dim]; padded, kind, gap [B, L] -> [B, L, dim]."""
        length, width = len(self.causal), vectors.shape[1]
        position = torch.arange(length - width, length, device=vectors.device)
        hidden = self.drop(vectors + self.kind(kind) + self.gap(gap) + self.position(position))
        out: Tensor = self.blocks.read(hidden, padded, self.causal[:width, :width])
        return out


class _Transformer(nn.TransformerEncoder):
    """Positions look at one another."""

    @classmethod
    def of(cls, config: SequenceConfig) -> Self:
        """As the configuration says."""
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, 2 * config.dim, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        return cls(layer, config.layers, nn.LayerNorm(config.dim), enable_nested_tensor=False)

    def read(self, hidden: Tensor, padded: Tensor, behind: Tensor) -> Tensor:
        """[B, L, dim] of hidden [B, L, dim], padded [B, L], and what a position must not see [L, L]."""
        # A padded key is hidden from all but itself: a row of nothing but padding must not become NaN.
        hidden_keys = padded[:, None, :] | behind  # [B, L, L]
        itself = torch.eye(len(behind), dtype=torch.bool, device=hidden.device)
        mask = (hidden_keys & ~itself).repeat_interleave(self.layers[0].self_attn.num_heads, 0)
        out: Tensor = self(hidden, mask=mask)
        return out


class _Recurrent(nn.Module):
    """Positions are read one after the other."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        # Without biases zeros leave the state at zero, so padding before a session says nothing.
        dropout = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(config.dim, config.dim, config.layers, bias=False, batch_first=True, dropout=dropout)
        self.norm = nn.LayerNorm(config.dim)

    def read(self, hidden: Tensor, padded: Tensor, behind: Tensor) -> Tensor:
        """[B, L, dim] of hidden [B, L, dim] and padded [B, L]; what comes behind is never seen."""
        read, _ = self.gru(hidden.masked_fill(padded[:, :, None], 0.0))
        out: Tensor = self.norm(read)
        return out


class LastPosition(nn.Module):
    """The encoder as it is served: the items' vectors come from outside, the last position goes out."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, vectors: Tensor, padded: Tensor, kind: Tensor, gap: Tensor) -> Tensor:
        """[B, dim]"""
        return self.encoder.encode(vectors, padded, kind, gap)[:, -1]


def causal(length: int) -> Tensor:
    """[L, L] what a position must not see: the ones behind it."""
    return torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
