"""Names that hold options."""

import pytest
from hypothesis import given, strategies as some

from neuralmutator.core import naming


@pytest.mark.parametrize(
    ("name", "base", "options"),
    [
        ("SNES", "SNES", {}),
        ("SNES?std_init=0.3", "SNES", {"std_init": "0.3"}),
        ("a?b=1&c=x%20y", "a", {"b": "1", "c": "x y"}),
        ("a?b=", "a", {"b": ""}),
        ("a?b=c=d?e", "a", {"b": "c=d?e"}),
    ],
)
def test_split(name, base, options):
    assert naming.split(name) == (base, options)


@pytest.mark.parametrize("name", ["a?b", "a?b=1&c"])
def test_what_is_no_option_is_refused(name):
    with pytest.raises(ValueError, match="options must be like 'name=value&name=value', got"):
        naming.split(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("none", None), ("1e-3", 1e-3), ("(1, 2)", (1, 2)), ("adam", "adam"), ("", "")],
)
def test_literals(text, value):
    assert naming.literal(text) == value


@given(some.one_of(some.integers(), some.floats(allow_nan=False, allow_infinity=False), some.booleans(), some.none()))
def test_a_value_survives_its_text(value):
    assert naming.literal(repr(value)) == naming.literal(value) == value
