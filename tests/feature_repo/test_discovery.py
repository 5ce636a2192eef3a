"""A feature file is all that a feature needs; a wrong one is named with its line, and nothing is registered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo import features
from feature_repo.errors import FeatureFileError
from feature_repo.features import discover
from tests.feature_repo.edited import HEAD, FeatureFolder, counting, feature_folder

LINES = HEAD.count("\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureFolder:
    return feature_folder(tmp_path / "features", monkeypatch, beside_ours=False)


def problems() -> list[str]:
    with pytest.raises(FeatureFileError) as raised:
        discover()
    first, *lines = str(raised.value).splitlines()
    assert "nothing was changed" in first
    return lines


def test_the_features_of_the_package_are_right() -> None:
    assert {"user_activity", "item_popularity", "session"} <= discover().keys()


def test_a_new_file_is_found_by_its_name(folder: FeatureFolder) -> None:
    folder.write("b", counting("second"))
    folder.write("a", counting("first", "m=Float64", "m=history.count().cast('float64')"))
    assert list(discover()) == ["first", "second"]


def test_files_share_what_a_file_with_an_underscore_holds(folder: FeatureFolder) -> None:
    folder.write("_shared", "FIELDS = {'n': Float64}\n")
    folder.write("a", "from feature_repo.features._shared import FIELDS\n" + counting("first", "**FIELDS"))
    assert list(discover()["first"].fields) == ["n"]


WRONG = {
    "syntax": ("def compute(history:\n", rf"a\.py:{LINES + 1}: not Python: '\(' was never closed"),
    "import": ("import no_such_package\n", r"a\.py:\d+: fails when imported: ModuleNotFoundError: .*no_such_package"),
    "no feature": ("x = 1\n", r"a\.py:1: no FEATURE in it, expected FEATURE = Feature"),
    "not a feature": ("FEATURE = 3\n", rf"a\.py:{LINES + 1}: FEATURE is a int, expected FEATURE = Feature"),
    "column": (
        counting("a", columns="n=history.prise.sum()"),
        rf"a\.py:{LINES + 3}: a: the expression fails over the input 'history': AttributeError: .*prise",
    ),
    "column by name": (
        counting("a", columns="n=history['prise'].sum()"),
        r"a: the expression fails over the input 'history': .*'prise' is not found.*'event_id', 'user_id'",
    ),
    "undeclared": (
        counting("a", fields="m=Float64"),
        r"a\.m: a field, but the expression does not produce it; it produces user_id, event_timestamp, n",
    ),
    "join key": (
        counting("a").replace("USER_ID, MOMENT)", "MOMENT)"),
        r"a\.user_id: a column that every feature has, but the expression does not produce it",
    ),
    "moment": (
        counting("a").replace("USER_ID, MOMENT)", "USER_ID)"),
        r"a\.event_timestamp: a column that every feature has, but the expression does not",
    ),
    "other type": (
        counting("a", columns="n=history.count()"),
        r"a\.n: declared Float64, but the expression produces int64; declare Int64 or cast it",
    ),
    "other list": (
        counting("a", "n=Array(Float64)", "n=history.recency.collect()"),
        r"a\.n: declared Array\(Float64\), but the expression produces array<int64>; declare Array\(Int64\) or cast it",
    ),
    "map": (
        counting("a", "n=Map", "n=history.item_id.first()"),
        r"a\.n: type Map is not held by Feast's stores; possible are String, Bool, Int32, .* and Array of one of them",
    ),
    "decimal": (
        counting("a", columns="n=history.value.sum().cast('decimal(10, 2)')"),
        r"a\.n: the expression produces decimal\(10, 2\), which Feast's stores do not hold; possible are String",
    ),
    "struct": (
        counting("a", columns="n=history.item_id.first().as_scalar()").replace(
            "history.item_id.first().as_scalar()", "__import__('ibis').struct({'x': history.value.sum()})"
        ),
        r"a\.n: the expression produces struct<x: float64>, which Feast's stores do not hold",
    ),
    "not a feast type": (counting("a", "n=float"), r"a\.n: type float is not held by Feast's stores"),
    "no table": (
        counting("a").replace("return history.group_by", "return 3; history.group_by"),
        r"a: computes a int, expected a table",
    ),
    "input": (
        counting("a").replace('reads="history"', 'reads="orders"'),
        r"a: reads 'orders', expected one of history,",
    ),
    "entity": (
        counting("a").replace("entity=USER", "entity=ITEM").replace("USER_ID, MOMENT)", "'item_id', MOMENT)"),
        r"a: reads 'history', which is one user's; expected the entity USER, not item",
    ),
    "clock": (
        counting("a", columns="n=(__import__('ibis').now().epoch_seconds() - history.epoch_s.max()).cast('float64')"),
        r"a: the expression looks at the clock or at chance; expected times from event_timestamp",
    ),
    "name": (counting("A-1"), r"A-1: not a name for a feature, expected small letters"),
    "field name": (
        counting("a", "n__x=Float64", "n__x=history.count().cast('float64')"),
        r"a\.n__x: not a name for a field, expected small letters",
    ),
    "reserved": (
        counting("a", "request_at=Float64", "request_at=history.count().cast('float64')"),
        r"a\.request_at: this name is reserved",
    ),
    "taken": (counting("request_time"), r"request_time: this name is taken by the features of the moment of asking"),
    "expects": (
        counting("a", more="expects={'m': Expect(at_least=0)}"),
        r"a\.m: expects a field that is not there, its fields: n",
    ),
    "taken field": (
        counting("a", "hour_sin=Float64", "hour_sin=history.count().cast('float64')"),
        r"a\.hour_sin: request_time has a field of this name, and both are in the feature service ranking_v1",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_named_with_the_field_and_what_was_expected(folder: FeatureFolder, what: str) -> None:
    text, message = WRONG[what]
    file = folder.write("a", text)
    found = problems()
    assert any(str(file) in line for line in found)
    assert re.search(message, "\n".join(found)), found


def test_a_circle_of_files_is_named_once(folder: FeatureFolder) -> None:
    folder.write("a", "from feature_repo.features.b import X\n")
    folder.write("b", "from feature_repo.features import c\n")
    folder.write("c", "from .a import Y\n")
    folder.write("d", "from feature_repo.features.a import X\n")  # has only the others' problem
    [line] = problems()
    assert f"a.py:{LINES + 1}: imports in a circle: a.py -> b.py -> c.py -> a.py" in line


def test_what_imports_a_broken_file_is_not_blamed_for_it(folder: FeatureFolder) -> None:
    folder.write("a", "raise RuntimeError('spilt')\n")
    folder.write("b", "from feature_repo.features.a import X\n" + counting("b"))
    [line] = problems()
    assert f"a.py:{LINES + 1}: fails when imported: RuntimeError: spilt" in line


def test_two_features_of_one_name(folder: FeatureFolder) -> None:
    folder.write("a", counting("n_events"))
    folder.write("b", counting("n_events"))
    [line] = problems()
    assert "b.py" in line
    assert f"n_events: the name of the feature in {folder.path / 'a.py'}, too" in line


def test_two_fields_of_one_name_would_be_asked_for_together(folder: FeatureFolder) -> None:
    folder.write("a", counting("first"))
    folder.write("b", counting("second"))
    [line] = problems()
    assert "second.n: first has a field of this name, and both are in the feature service ranking_v1" in line


def test_items_and_users_may_share_a_fields_name(folder: FeatureFolder) -> None:
    folder.write("a", counting("first"))
    of_items = counting("second").replace("history", "events").replace("USER_ID", "'item_id'").replace("USER,", "ITEM,")
    folder.write("b", of_items)
    assert list(discover()) == ["first", "second"]


def test_all_problems_of_all_files_come_together(folder: FeatureFolder) -> None:
    folder.write("a", counting("a", "n=Float64, m=Float64", "k=history.count()"))
    folder.write("b", "def\n")
    folder.write("c", "")
    assert len(problems()) == 4


def test_no_file_is_read_twice(folder: FeatureFolder) -> None:
    folder.write("a", counting("a"))
    assert discover()["a"] is discover()["a"]
    assert discover() is not features._discovered(tuple(features.__path__))


def test_a_features_code_is_the_same_in_every_process() -> None:
    """Else each would compute all anew, and take away what the one before computed."""
    code = (
        "from feature_repo.features import discover; from feature_repo.feature_code import code_digest; "
        "print({name: code_digest(feature) for name, feature in discover().items()})"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert "time_of_week" in told[0]
