"""Numberings: which weight has which address. A better one makes quines of networks where `exact` does not converge.

The paper numbers the weights in some order and gives number c the random address a_c. The order is arbitrary, and one
order is best: sort the weights, sort the predictions at all addresses, and give each weight the address of the
prediction of the same rank. By the rearrangement inequality no numbering has a smaller self-replicating loss. The rest
is the difference of two sorted lists. It is small if both have nearly the same distribution, and `exact` can then bring
it to zero.

A numbering is information: log2(N!) bits, which are 13 bits for each of 21,100 weights of 32 bits. A renumbered quine
has chosen the order of its addresses, but not the addresses. A quine found by `exact` has chosen neither.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.quine.network import Quine
from neuralmutator.quine.search import Exact, exact


def best_numbering(quine: Quine, params: jax.Array) -> jax.Array:
    """The numbering with the smallest self-replicating loss for these weights.

    Args:
        quine: the network; one that does not read its weights.
        params: f32[N].

    Returns:
        i32[N]: ``quine.renumbered(numbering)`` gives weight c the present address of weight numbering[c].

    Raises:
        ValueError: if the network reads its weights: then a prediction does not depend on an address alone.
    """
    if quine.reads_weights:
        raise ValueError("quine must not read its weights: its predictions do not depend on addresses alone")
    by_prediction = jnp.argsort(quine.predict(params)).astype(jnp.int32)
    return jnp.zeros_like(by_prediction).at[jnp.argsort(params)].set(by_prediction)


class Renumbered(NamedTuple):
    """The result of `exact_with_renumbering`."""

    numbering: jax.Array  # i32[N] for the quine that was given: see `Quine.renumbered`
    exact: Exact


def exact_with_renumbering(
    quine: Quine, params: jax.Array, tolerance: float = 3e-7, max_rounds: int = 10
) -> Renumbered:
    """Finds an exact quine: alternates `exact` and `best_numbering` until `exact` converges.

    Pure; jit it, and vmap it over quines and weights. The given numbering is tried first.

    Args:
        quine: the network; one that does not read its weights.
        params: f32[N] first weights.
        tolerance: relative error at which the search ends.
        max_rounds: number of numberings after which the search gives up.
    """

    def go_on(carry: tuple[Renumbered, jax.Array]) -> jax.Array:
        found, rounds = carry
        return ~(found.exact.relative_error <= tolerance) & (rounds < max_rounds)

    def renumber(carry: tuple[Renumbered, jax.Array]) -> tuple[Renumbered, jax.Array]:
        found, rounds = carry
        params, numbering = found.exact.params, found.numbering
        numbering = numbering[best_numbering(quine.renumbered(numbering), params)]
        again = exact(quine.renumbered(numbering), params, tolerance, max_steps=200)
        again = again._replace(steps=found.exact.steps + again.steps)
        return Renumbered(numbering, again), rounds + 1

    first = Renumbered(jnp.arange(quine.num_params, dtype=jnp.int32), exact(quine, params, tolerance, max_steps=200))
    return jax.lax.while_loop(go_on, renumber, (first, jnp.int32(1)))[0]
