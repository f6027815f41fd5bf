"""Any pair of pure functions as a network, and how the first parameters of one are drawn safely."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.flatten_util import ravel_pytree

from neuralmutator.core.platform import on_cpu
from neuralmutator.networks.network import Network


def from_functions(
    init: Callable[[jax.Array], Any],
    apply: Callable[[Any, Any], Any],
    *,
    initial_state: Any = None,
    activations: Callable[[Any, Any], tuple[jax.Array, ...]] | None = None,
) -> Network:
    """Any pair ``(init, apply)`` of pure functions as a network of flat parameters.

    On a CPU, `init` runs for one key after another, also under ``vmap``: batched QR decompositions, which orthogonal
    initialisers need, can wait for one another for ever there (jaxlib 0.10). The draws are the same.

    Args:
        init: ``(key) -> parameters``, any pytree of floating-point arrays. The flat vector has their dtype; of several
            dtypes it has the one that they promote to, and every array is cast back to its own before `apply`.
        apply: ``(parameters, x) -> y`` for one input x; ``(parameters, (state, x)) -> (state, y)`` with memory.
        initial_state: state that a network with memory starts an episode with; None: it has no memory.
        activations: as `apply`, gives the output of every layer, for pictures; by default the last output alone.

    Raises:
        ValueError: if parameters are not floating-point arrays.
    """
    shapes = jax.eval_shape(init, jax.random.key(0))
    if wrong := {str(x.dtype) for x in jax.tree.leaves(shapes) if not jnp.issubdtype(x.dtype, jnp.floating)}:
        raise ValueError(f"parameters must be floating-point arrays, got {', '.join(sorted(wrong))}")
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

    def outputs(params: Any, x: Any) -> tuple[jax.Array, ...]:
        answer = apply(params, x)
        return (answer if initial_state is None else answer[1],)

    seen = outputs if activations is None else activations
    return Network(
        num_params=flat.size,
        init=_one_at_a_time(lambda key: ravel_pytree(init(key))[0].astype(flat.dtype)),
        apply=lambda params, x: apply(unravel(params), x),
        activations=lambda params, x: seen(unravel(params), x),
        initial_state=initial_state,
        sizes=tuple(x.size for x in jax.tree.leaves(shapes)),
    )


def _one_at_a_time(init: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """`init`, which ``vmap`` turns into a loop on a CPU; see `from_functions`."""
    sequential = sequential_vmap(init)
    return lambda key: (sequential if on_cpu() else init)(key)
