"""Checks of arguments: one line that names the argument, its value and what is allowed.

Values that are traced (hyper-parameters under ``vmap``, say) pass, since nothing is known of them yet.
"""

import math
import operator
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp


def is_traced(value: Any) -> bool:
    """Whether a value is known only when the program runs."""
    return isinstance(value, jax.core.Tracer)


def whole(least: int, /, **values: Any) -> None:
    """Raises ValueError unless every value is a whole number (Python's or NumPy's, not a bool) of at least `least`."""
    for name, value in values.items():
        try:
            fits = not isinstance(value, bool) and operator.index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def number(
    low: float, high: float = math.inf, /, *, open_low: bool = False, open_high: bool = False, **values: Any
) -> None:
    """Raises ValueError unless every value is a finite number from `low` to `high`.

    Args:
        low: the least value allowed.
        high: the largest value allowed; infinity: any finite one.
        open_low: whether `low` itself is excluded.
        open_high: whether `high` itself is excluded.
        values: the values by their names; traced ones pass.
    """
    for name, value in values.items():
        if is_traced(value):
            continue
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        above = low < found if open_low else low <= found
        below = found < high if open_high else found <= high
        if not (math.isfinite(found) and above and below):
            if high < math.inf and (open_low or open_high):
                allowed = f"lie in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
            elif high < math.inf:
                allowed = f"lie between {low:g} and {high:g}"
            elif low == -math.inf:
                allowed = "be a finite number"
            else:
                allowed = f"be a finite number {'above' if open_low else 'of at least'} {low:g}"
            raise ValueError(f"{name} must {allowed}, got {value!r}")


def one_of(allowed: Collection[Any], /, **values: Any) -> None:
    """Raises ValueError unless every value is one of `allowed`."""
    for name, value in values.items():
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def random_key(**values: Any) -> None:
    """Raises ValueError unless every value is one key of ``jax.random.key``."""
    for name, value in values.items():
        dtype = getattr(value, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key) or value.shape != ():
            found = repr(value) if dtype is None else f"an array of dtype {dtype} and shape {value.shape}"
            raise ValueError(f"{name} must come from jax.random.key, got {found}")
