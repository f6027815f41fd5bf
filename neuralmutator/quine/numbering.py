"""Which coordinate asks for which weight: a freedom that makes quines of networks where regeneration wanders.

The paper numbers the weights in some order and gives number c the random address a_c. Any other order is as good, and
one of them is best: the weights and what the network says at its addresses are put in the same order, the smallest
beside the smallest. By the rearrangement inequality no numbering has a smaller self-replicating loss. What is left is
the difference of two sorted lists, which is small if the two are alike in distribution, and `exact` takes it to zero.

A numbering carries information, log2(N!) bits: 13 of the 32 bits of each of 21,100 weights. A renumbered quine is one
that was free to choose its table of addresses' rows, though not the rows themselves; see `exact` for quines that were
not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.quine.network import Quine
from neuralmutator.quine.search import Exact, exact


def best_numbering(quine: Quine, params: jax.Array) -> jax.Array:
    """The order of the addresses with the smallest self-replicating loss for these weights.

    Args:
        quine: the network; one that does not read its weights.
        params: f32[N].

    Returns:
        i32[N]: ``quine.renumbered(numbering)`` asks for weight c at the present address of weight numbering[c].

    Raises:
        ValueError: if the network reads its weights: then what it says belongs to a weight, not to an address.
    """
    if quine.reads_weights:
        raise ValueError("quine must not read its weights: its addresses alone do not decide what it says")
    by_prediction = jnp.argsort(quine.predict(params))
    return jnp.zeros_like(by_prediction).at[jnp.argsort(params)].set(by_prediction)


class Numbered(NamedTuple):
    """An exact quine and the numbering under which it is one."""

    numbering: jax.Array  # i32[N] of the addresses that were given
    exact: Exact


def numbered(quine: Quine, params: jax.Array, tolerance: float = 3e-7, max_rounds: int = 10) -> Numbered:
    """Searches for an exact quine, and renumbers where the search wanders, until it is found.

    Pure; jit it, and vmap it over quines and weights. Where the given numbering will do, it is kept.

    Args:
        quine: the network; one that does not read its weights.
        params: f32[N] where to start.
        tolerance: relative error that is small enough.
        max_rounds: numberings that are tried before giving up.
    """

    def go_on(carry: tuple[Numbered, jax.Array]) -> jax.Array:
        found, rounds = carry
        return ~(found.exact.relative_error <= tolerance) & (rounds < max_rounds)

    def renumber(carry: tuple[Numbered, jax.Array]) -> tuple[Numbered, jax.Array]:
        found, rounds = carry
        params, numbering = found.exact.params, found.numbering
        numbering = numbering[best_numbering(quine.renumbered(numbering), params)]
        again = exact(quine.renumbered(numbering), params, tolerance, max_steps=200)
        again = again._replace(steps=found.exact.steps + again.steps)
        return Numbered(numbering, again), rounds + 1

    first = Numbered(jnp.arange(quine.num_params), exact(quine, params, tolerance, max_steps=200))
    return jax.lax.while_loop(go_on, renumber, (first, jnp.int32(1)))[0]
