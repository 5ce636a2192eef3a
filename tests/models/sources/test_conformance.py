"""What holds for every source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.batch import StateBatch, encode
from models.errors import NotFittedError
from models.interactions import Interactions
from models.sources.base import Source, top_k
from models.state import DAY_S, UserState
from models.vocabulary import Vocabulary

Known = tuple[Vocabulary, Interactions]
Make = Callable[[], Source]


def test_scores_have_a_column_per_item_and_never_propose_padding(
    fitted: Source, known: Known, batch: StateBatch
) -> None:
    scores = fitted.scores(batch)
    assert scores.shape == (len(batch), len(known[0].items))
    assert not np.isfinite(scores[:, 0]).any()
    assert not np.isnan(scores).any()
    assert np.isfinite(scores).any(axis=1).all()


def test_saved_and_loaded_gives_the_same_scores(fitted: Source, batch: StateBatch, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = type(fitted).load(tmp_path)
    # Not to the last digit: what is loaded may run on another engine than what was trained.
    np.testing.assert_allclose(loaded.scores(batch), fitted.scores(batch), rtol=1e-4, atol=1e-4)
    assert loaded.config == fitted.config  # type: ignore[attr-defined]


def test_unknown_user_is_no_error(fitted: Source, nobody: StateBatch) -> None:
    scores = fitted.scores(nobody)
    assert not np.isnan(scores).any()


def test_unknown_items_are_ignored(fitted: Source, known: Known, world) -> None:
    plain = UserState.empty("u", world.end).with_items(["i1"])
    odd = UserState.empty("u", world.end).with_items(["no such item", "i1"])
    np.testing.assert_allclose(
        fitted.scores(encode([odd], known[0])), fitted.scores(encode([plain], known[0])), rtol=1e-5
    )


def test_one_user_scores_the_same_alone_and_among_others(fitted: Source, batch: StateBatch) -> None:
    np.testing.assert_allclose(fitted.scores(batch.part(3, 4))[0], fitted.scores(batch)[3], rtol=1e-4, atol=1e-4)


def test_refit_goes_on(make_source: Make, known: Known, batch: StateBatch, world) -> None:
    cut = world.end - 20 * DAY_S
    source = make_source().fit(known[1].before(cut), cut)
    source.fit(known[1], world.end)
    assert np.isfinite(source.scores(batch)).any(axis=1).all()


def test_before_fit_says_so(make_source: Make, batch: StateBatch, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="fit"):
        make_source().scores(batch)
    with pytest.raises(NotFittedError):
        make_source().save(tmp_path)


def test_tiny_data(make_source: Make, worlds, known: Known) -> None:
    tiny = worlds(users=2, items=3, per_user=2, groups=1)
    from models.interactions import frame_of, interactions_of

    vocabulary = known[0]
    events = interactions_of(frame_of(tiny.events, tiny.end), vocabulary)
    scores = make_source().fit(events, tiny.end).scores(encode(tiny.states(tiny.end), vocabulary))
    assert not np.isnan(scores).any()


def test_one_user_is_enough(make_source: Make, worlds, known: Known) -> None:
    one = worlds(users=1, items=3, per_user=3, groups=1)
    from models.interactions import frame_of, interactions_of

    events = interactions_of(frame_of(one.events, one.end), known[0])
    scores = make_source().fit(events, one.end).scores(encode(one.states(one.end), known[0]))
    assert not np.isnan(scores).any()


def test_top_k_orders_by_score_then_id_and_pads_with_zero() -> None:
    scores = np.array([[-np.inf, 1.0, 3.0, 3.0], [-np.inf, -np.inf, 2.0, -np.inf]], dtype=np.float32)
    assert top_k(scores, 3)[0].tolist() == [[2, 3, 1], [2, 0, 0]]
