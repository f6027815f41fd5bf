"""Gradients through long rollouts: what keeps them from vanishing and exploding."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from neuralmutator.nca.cells import Automaton

Move = Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]
"""``(params, cells, fires) -> cells``."""


@jax.custom_vjp
def unit_gradient(cells: jax.Array) -> jax.Array:
    """The cells as they are; the gradient that comes back to them is divided by its norm."""
    return cells


unit_gradient.defvjp(lambda cells: (cells, None), lambda _, change: (change / (jnp.linalg.norm(change) + 1e-12),))


def tamed(automaton: Automaton) -> Automaton:
    """The same automaton, whose gradient is divided by its norm at every update (Mordvintsev and Niklasson 2021).

    A texture automaton learns by it what lasts: a gradient through 64 updates has the size of one through a few. Its
    loss need not be weighed against anything, as only its direction counts.
    """

    def tame(move: Move) -> Move:
        return lambda params, cells, fires: unit_gradient(move(params, cells, fires))

    few = automaton.move_few
    return automaton._replace(move=tame(automaton.move), move_few=None if few is None else tame(few))
