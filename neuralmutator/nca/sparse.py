"""A rule of the few cells that change in an update.

Half of the living cells fire, and most of a grid is empty: of a window around a grown lizard, one cell in seven. To
compute no others makes training three times as fast on a CPU, with the same result.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Apply = Callable[[jax.Array, jax.Array], jax.Array]
"""``(params f32[P], inputs f32[n, F]) -> f32[n, C]``, of every row alone."""


@partial(jax.custom_vjp, nondiff_argnums=(0, 4))
def apply_where(apply: Apply, params: jax.Array, inputs: jax.Array, where: jax.Array, chunk: int = 256) -> jax.Array:
    """``apply(params, inputs)`` where it is wanted, 0 elsewhere; f32[N, C].

    It has first derivatives, in reverse mode only.

    Args:
        apply: what is computed.
        params: f32[P].
        inputs: f32[N, F].
        where: bool[N].
        chunk: rows that are computed together; as many chunks as are needed.
    """
    return _forward(apply, params, inputs, where, chunk)[0]


def _forward(
    apply: Apply, params: jax.Array, inputs: jax.Array, where: jax.Array, chunk: int
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    counted = jnp.cumsum(where.astype(jnp.int32))
    chunks = -(-counted[-1] // chunk)
    # The rows that are wanted, in their order; behind them the last of all, again and again.
    found = jnp.searchsorted(counted, jnp.arange(1, _padded(len(where), chunk) + 1), method="scan_unrolled")
    rows, ranks = jnp.minimum(found, len(where) - 1), jnp.maximum(counted - 1, 0)

    def compute(i: jax.Array, results: jax.Array) -> jax.Array:
        some = jax.lax.dynamic_slice_in_dim(rows, i * chunk, chunk)
        return jax.lax.dynamic_update_slice_in_dim(results, apply(params, inputs[some]), i * chunk, 0)

    result = jax.eval_shape(apply, params, inputs)
    results = jax.lax.fori_loop(0, chunks, compute, jnp.zeros((len(rows), result.shape[1]), result.dtype))
    # Fetched by rank: XLA scatters rows one by one on a CPU.
    return jnp.where(where[:, None], results[ranks], 0), (params, inputs, where, rows, ranks, counted[-1])


def _backward(apply: Apply, chunk: int, saved: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[Any, ...]:
    params, inputs, where, rows, ranks, count = saved

    def compute(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        of_params, of_inputs = sums
        some = jax.lax.dynamic_slice_in_dim(rows, i * chunk, chunk)
        wanted = i * chunk + jnp.arange(chunk) < count
        _, pull = jax.vjp(apply, params, inputs[some])
        more, of_some = pull(jnp.where(wanted[:, None], cotangent[some], 0))
        return of_params + more, jax.lax.dynamic_update_slice_in_dim(of_inputs, of_some, i * chunk, 0)

    start = jnp.zeros_like(params), jnp.zeros((len(rows), inputs.shape[1]), inputs.dtype)
    of_params, of_inputs = jax.lax.fori_loop(0, -(-count // chunk), compute, start)
    return of_params, jnp.where(where[:, None], of_inputs[ranks], 0), None


def _padded(rows: int, chunk: int) -> int:
    return -(-rows // chunk) * chunk


apply_where.defvjp(_forward, _backward)
