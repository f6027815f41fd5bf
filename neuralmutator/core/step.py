"""The one loop, and the shapes that everything here takes.

A *step* is a pure function ``(key, state) -> (state, info)``: a generation, a regeneration of a quine, an update of an
automaton. ``state`` is only what the next step needs; ``info`` is what one may look at and throw away.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.core import check

PyTree = Any
Step = Callable[[jax.Array, PyTree], tuple[PyTree, PyTree]]


def rollout(
    step: Step, key: jax.Array, state: PyTree, length: int, start: int | jax.Array = 0
) -> tuple[PyTree, PyTree]:
    """Runs a step at the moments ``start … start + length - 1`` in one ``lax.scan``.

    The key of moment ``t`` is ``fold_in(key, t)``, so a run that was cut at any moment goes on with the same draws.

    Args:
        step: ``(key, state) -> (state, info)``, pure.
        key: key of the whole run.
        state: what `step` takes.
        length: number of moments, static.
        start: the first moment.

    Raises:
        ValueError: if `key` is not one of ``jax.random.key``, or `length` is not a whole number of at least 0.

    Returns:
        The last state, and the infos stacked to ``[length, ...]``.
    """
    check.random_key(key=key)
    check.whole(0, length=length)

    def moment(state: PyTree, t: jax.Array) -> tuple[PyTree, PyTree]:
        return step(jax.random.fold_in(key, t), state)

    return jax.lax.scan(moment, state, start + jnp.arange(length))
