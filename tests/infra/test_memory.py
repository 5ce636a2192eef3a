from __future__ import annotations

import gc

from infra.memory import keep_for_good


def test_a_full_collection_no_longer_looks_at_what_stays() -> None:
    there = [[number] for number in range(1_000)]
    assert any(some is there for some in gc.get_objects())
    try:
        keep_for_good()
        assert gc.get_freeze_count() > len(there)
        assert not any(some is there for some in gc.get_objects())
        later = [there]
        assert any(some is later for some in gc.get_objects())
    finally:
        gc.unfreeze()
