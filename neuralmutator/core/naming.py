"""Names that hold options: ``"LunarLander-v3?enable_wind=true&wind_power=10"``, ``"SNES?std_init=0.3"``."""

import ast
from typing import Any
from urllib.parse import parse_qsl


def split(name: str) -> tuple[str, dict[str, str]]:
    """The name without its options, and these as they are written.

    Raises:
        ValueError: if what follows the question mark are no options.
    """
    base, mark, rest = name.partition("?")
    try:
        return base, dict(parse_qsl(rest, keep_blank_values=True, strict_parsing=True)) if mark else {}
    except ValueError as error:
        raise ValueError(f"options must be like 'name=value&name=value', got {rest!r}") from error


def literal(value: Any) -> Any:
    """A value from its text, if it is one; text that is no value stays."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[value.lower()]
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
