"""Vectors of the plane as tuples of scalars, so that ``vmap`` turns each number into one vector over the batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Scalar = jax.Array
Vector = tuple[Scalar, ...]
"""Two numbers: to the right and up."""


def solid(corners: np.ndarray, density: float) -> tuple[float, np.ndarray, float]:
    """Mass, centre and moment of inertia about the centre, of a polygon that runs anticlockwise."""
    x, y = corners.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    twice = x * next_y - next_x * y
    centre = np.array([((x + next_x) * twice).sum(), ((y + next_y) * twice).sum()]) / (3 * twice.sum())
    inertia = (x * x + x * next_x + next_x**2 + y * y + y * next_y + next_y**2) @ twice / 12
    mass = density * twice.sum() / 2
    return float(mass), centre, float(density * inertia - mass * centre @ centre)


def turned(angle: Scalar, point: tuple) -> Vector:
    """A point turned about the origin, anticlockwise."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * point[0] - sin * point[1], sin * point[0] + cos * point[1]


def cross(a: tuple, b: tuple) -> Scalar:
    """Third component of the product of two vectors in the plane."""
    return a[0] * b[1] - a[1] * b[0]


def dot(a: tuple, b: tuple) -> Scalar:
    """Product of two vectors."""
    return sum(p * q for p, q in zip(a, b, strict=True))


def plus(a: tuple, b: tuple, times: float | Scalar = 1.0) -> tuple:
    """``a + times · b`` of two vectors."""
    return tuple(p + times * q for p, q in zip(a, b, strict=True))


def select(condition: Scalar, a: Any, b: Any) -> Any:
    """Leaves of `a` where the condition holds, of `b` elsewhere."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def across(point: tuple) -> Vector:
    """How a point moves when its body turns by one radian: a quarter turn to the left of where it is."""
    return -point[1], point[0]


def along(normal: tuple) -> Vector:
    """The direction along the ground: a quarter turn to the right of its normal."""
    return normal[1], -normal[0]


def least(values: list[Scalar]) -> Scalar:
    """The least of some numbers."""
    found = values[0]
    for value in values[1:]:
        found = jnp.minimum(found, value)
    return found
