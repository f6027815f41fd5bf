import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import pytest

from neuralmutator.runs.errors import UserError
from neuralmutator.runs.lines import columns
from neuralmutator.runs.serialise import as_dict, changes, check_types, from_dict, json_line, to_json


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"] = "a"
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    name: Annotated[str, "a marker"]
    share: float = 0.5
    limit: int | None = None
    on: bool = True
    inner: Inner = field(default_factory=Inner)


OUTER = Outer("x", share=1, limit=3, inner=Inner("b", (4,)))


def test_round_trip_through_json():
    data = json.loads(to_json("story", OUTER))
    assert data.pop("kind") == "story"
    assert from_dict(Outer, data) == OUTER
    assert from_dict(Outer, {"name": "x"}) == Outer("x")


def test_changes_are_named():
    assert changes(OUTER, OUTER) == []
    assert changes(OUTER, replace(OUTER, share=0.1, inner=Inner("b", (4, 5)))) == ["share", "inner.widths"]
    assert changes({"a": 1}, {"b": 1}) == ["a", "b"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.pop("name"), "it lacks name"),
        (lambda d: d.update(more=1), "unknown field more"),
        (lambda d: d["inner"].update(more=1), "unknown field inner.more"),
        (lambda d: d.update(inner=3), "inner. must be a table of options, got 3"),
        (lambda d: d.update(name=["x"]), r"name must be a text, got \['x'\]"),
        (lambda d: d.update(limit=1.5), "limit must be a whole number or nothing, got 1.5"),
        (lambda d: d.update(on=1), "on must be true or false, got 1"),
        (lambda d: d["inner"].update(kind="c"), "inner.kind must be one of a, b, got 'c'"),
        (lambda d: d["inner"].update(widths=["4"]), "inner.widths must be whole numbers"),
    ],
)
def test_foreign_data_are_refused_by_the_name_of_the_field(spoil, message):
    data = json.loads(json.dumps(as_dict(OUTER)))
    spoil(data)
    with pytest.raises(UserError, match=message):
        from_dict(Outer, data)


def test_numbers_of_numpy_are_numbers():
    check_types(replace(OUTER, limit=np.int64(3), share=np.float32(0.5)))
    assert json.loads(to_json("story", replace(OUTER, limit=np.int64(3))))["limit"] == 3


def test_arrays_are_lists():
    line = json_line({"islands": np.array([0.1, np.nan], np.float32), "table": np.arange(4).reshape(2, 2)})
    assert json.loads(line) == {"islands": [0.1, None], "table": [[0, 1], [2, 3]]}
    found = columns([json.loads(line) | {"a": 1}, {"a": 2}, {"a": 3, "islands": [0.2, 0.3]}])
    assert list(found) == ["islands", "a"]  # tables are left out
    np.testing.assert_array_equal(found["islands"], [[0.1, np.nan], [np.nan, np.nan], [0.2, 0.3]])
    assert list(columns([{"a": 1, "b": [1]}, {"a": 1, "b": [1, 2]}])) == ["a"]
