"""The product of an input and a layer's weights, so that it is fast where every member has weights of its own."""

import jax
import jax.numpy as jnp

FEW = 8  # inputs


def product(x: jax.Array, weights: jax.Array) -> jax.Array:
    """``x @ weights``, written as a sum where there are few inputs; equal but for rounding.

    Under ``vmap`` over policies, XLA's products of many small matrices are slow on a CPU, and a sum of up to 8 terms is
    not (`benchmarks/evaluation.py`).

    Args:
        x: [inputs].
        weights: [inputs, outputs].

    Raises:
        TypeError: if their sizes do not fit.
    """
    if x.size > FEW or x.size != weights.shape[0]:  # what does not fit is refused, not broadcast
        return jnp.dot(x, weights)
    total = x[0] * weights[0]
    for i in range(1, x.size):
        total = total + x[i] * weights[i]
    return total
