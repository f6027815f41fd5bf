"""Configurations, frozen dataclasses, as JSON and back, with every type checked."""

import dataclasses
import json
import math
import numbers
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from neuralmutator.runs.errors import UserError

C = TypeVar("C")


def to_json(kind: str, config: Any) -> str:
    """A configuration and the kind of its run as text."""
    return json.dumps({"kind": kind, **as_dict(config)}, indent=2, default=_plain) + "\n"


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration, a dataclass or a mapping, as plain data."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return dataclasses.asdict(config)
    return dict(config)


def from_dict(cls: type[C], data: Any, prefix: str = "") -> C:
    """A configuration of class `cls` from plain data; a field that is missing takes its default.

    Raises:
        UserError: naming the field that is missing, unknown or of another type.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{prefix or 'a configuration'} must be a table of options, got {_short(data)}")
    hints: dict[str, Any] = get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    if unknown := sorted(set(data) - {field.name for field in fields}):
        raise UserError(f"not the configuration of such a run: unknown field {prefix}{unknown[0]}")
    if missing := [field.name for field in fields if field.name not in data and _has_no_default(field)]:
        raise UserError(f"not the configuration of such a run: it lacks {prefix}{missing[0]}")
    values: dict[str, Any] = {}
    for field in fields:
        if field.name not in data:
            continue
        hint, value = hints[field.name], data[field.name]
        if dataclasses.is_dataclass(hint):
            values[field.name] = from_dict(hint, value, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            values[field.name] = tuple(value) if isinstance(value, list) and _tuple_in(hint) else value
            _check(f"{prefix}{field.name}", values[field.name], hint)
    return cls(**values)


def check_types(config: Any, prefix: str = "") -> None:
    """Sees whether every field of a configuration has the type that is declared.

    Raises:
        UserError: naming the first that has not.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        hint, value = hints[field.name], getattr(config, field.name)
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):  # type: ignore[arg-type]
                raise UserError(f"{prefix}{field.name} must be a {hint.__name__}, got {_short(value)}")  # type: ignore[union-attr]
            check_types(value, f"{prefix}{field.name}.")
        else:
            _check(f"{prefix}{field.name}", value, hint)


def changes(old: Any, new: Any) -> list[str]:
    """Names of the fields in which two configurations differ."""

    def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        items: dict[str, Any] = {}
        for name, value in data.items():
            items |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
        return items

    a, b = (json.loads(json.dumps(flat(as_dict(config)), default=_plain)) for config in (old, new))
    return [name for name in {**a, **b} if name not in a or name not in b or a[name] != b[name]]


def json_line(metrics: dict[str, Any]) -> str:
    """One moment's metrics as a line of JSON."""
    return json.dumps(plain(metrics)) + "\n"


def plain(value: Any) -> Any:
    """What JSON can hold of a value: an f32 in its fewest digits, null for what is not finite, arrays as lists."""
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    if hasattr(value, "__array__"):
        if np.ndim(value):
            return [plain(x) for x in np.asarray(value)]
        number = np.asarray(value)[()]
        value = float(str(number)) if isinstance(number, np.floating) else number.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _check(name: str, value: Any, hint: Any) -> None:
    if not _fits(value, hint):
        raise UserError(f"{name} must be {_said(hint)}, got {_short(value)}")


def _options(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows, without what annotates them."""
    if get_origin(hint) is Annotated:
        return _options(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(option for part in get_args(hint) for option in _options(part))
    return (hint,)


def _tuple_in(hint: Any) -> bool:
    return any(get_origin(option) is tuple for option in _options(hint))


def _fits(value: Any, hint: Any) -> bool:
    for option in _options(hint):
        if option in (None, type(None)):
            fits = value is None
        elif get_origin(option) is Literal:
            fits = isinstance(value, str) and value in get_args(option)
        elif get_origin(option) is tuple:
            inner = get_args(option)[0]
            fits = isinstance(value, tuple) and all(_fits(x, inner) for x in value)
        elif option is float:
            fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
        elif option is int:
            fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        else:
            fits = isinstance(value, option)
        if fits:
            return True
    return False


def _said(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "nothing"}
    said = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            said.append(f"one of {', '.join(get_args(option))}")
        elif get_origin(option) is tuple:
            said.append("whole numbers" if get_args(option)[0] is int else "a list")
        else:
            said.append(words.get(option, str(option)))
    return " or ".join(said)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:76] + " …"


def _plain(value: Any) -> Any:
    """What JSON can hold of a number of NumPy, or of a path."""
    return value.item() if hasattr(value, "item") else str(value)
