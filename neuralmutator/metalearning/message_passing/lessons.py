"""What learners are taught."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check


class Lesson(NamedTuple):
    """What a learner is taught, and what it is judged by."""

    x: jax.Array  # f32[T, B, in]
    y: jax.Array  # f32[T, B, out]
    unseen_x: jax.Array  # f32[U, in]
    unseen_y: jax.Array  # f32[U, out]


Draw = Callable[[jax.Array], Lesson]
"""``(key) -> lesson``."""


def sinusoids(steps: int = 5, shots: int = 10, unseen: int = 10) -> Draw:
    """The paper's lessons: A sin(x + φ), A in [0.1, 0.5), φ in [0, π), at x in [-5, 5).

    Args:
        steps: T.
        shots: B.
        unseen: examples that a learner is judged by.

    Raises:
        ValueError: if a number is not a whole number of at least 1.
    """
    check.whole(1, steps=steps, shots=shots, unseen=unseen)

    def draw(key: jax.Array) -> Lesson:
        key_size, key_phase, key_x = jax.random.split(key, 3)
        size = jax.random.uniform(key_size, minval=0.1, maxval=0.5)
        phase = jax.random.uniform(key_phase, maxval=jnp.pi)
        x = jax.random.uniform(key_x, (steps * shots + unseen, 1), minval=-5.0, maxval=5.0)
        y = size * jnp.sin(x + phase)
        taught = steps * shots
        shape = (steps, shots, 1)
        return Lesson(x[:taught].reshape(shape), y[:taught].reshape(shape), x[taught:], y[taught:])

    return draw


def samples(
    x: jax.Array | np.ndarray, y: jax.Array | np.ndarray, steps: int = 20, shots: int = 8, unseen: int = 64
) -> Draw:
    """Lessons of examples that are drawn anew from a table, none of them twice in a lesson.

    Args:
        x: f32[n, in].
        y: f32[n, out].
        steps: T.
        shots: B.
        unseen: examples that a learner is judged by.

    Raises:
        ValueError: if the table is too small for a lesson or its halves differ in length.
    """
    check.whole(1, steps=steps, shots=shots, unseen=unseen)
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(f"x and y must have shapes (n, in) and (n, out), got {x.shape} and {y.shape}")
    taught = steps * shots
    if x.shape[0] < taught + unseen:
        raise ValueError(f"x must hold at least {taught + unseen} examples for a lesson, got {x.shape[0]}")
    table_x, table_y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)

    def draw(key: jax.Array) -> Lesson:
        rows = jax.random.permutation(key, x.shape[0])[: taught + unseen]
        first, rest = rows[:taught].reshape(steps, shots), rows[taught:]
        return Lesson(table_x[first], table_y[first], table_x[rest], table_y[rest])

    return draw


def digits(steps: int = 20, shots: int = 8, unseen: int = 64, test: bool = False) -> Draw:
    """Lessons of the 8 × 8 digits of scikit-learn: 64 brightnesses with mean 0 and std 1, 10 classes.

    Args:
        steps: T.
        shots: B.
        unseen: examples that a learner is judged by.
        test: whether of the 397 last images, which lessons otherwise never show.

    Raises:
        ValueError: if a number is out of range.
    """
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    x = (x - x.mean()) / x.std()
    half = slice(1400, None) if test else slice(1400)
    return samples(x[half], np.eye(10)[labels[half]], steps, shots, unseen)


def check_lesson(sizes: Sequence[int], lesson: Lesson) -> None:
    """Raises ValueError unless a lesson fits the sizes of the layers."""
    width, out = sizes[0], sizes[-1]
    if lesson.x.ndim != 3 or lesson.x.shape[2] != width or lesson.y.shape != (*lesson.x.shape[:2], out):
        shapes = f"{lesson.x.shape} and {lesson.y.shape}"
        raise ValueError(f"lesson must have x of shape (T, B, {width}) and y of shape (T, B, {out}), got {shapes}")
