"""Modules of flax.nnx as networks of flat parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.networks.functions import from_functions
from neuralmutator.networks.network import Network


def from_nnx(make: Callable[[Any], Any], sample_input: Any, initial_state: Any = None) -> Network:
    """A flax.nnx module as a network of flat parameters: ``from_nnx(lambda rngs: Policy(rngs=rngs), jnp.zeros(4))``.

    Pictures show the layers that a method ``activations`` of the module gives, or the output alone.

    Args:
        make: ``(rngs: nnx.Rngs) -> module``. It is a function, and not a module, since every genome of a first
            population draws weights of its own. The module must have only parameters (no batch norm) and draw no random
            numbers when it is called (no active dropout); it maps one input, not a batch, to one output.
        sample_input: an input of the right shape and dtype; for a module with memory the input alone.
        initial_state: state that a module with memory starts an episode with; it is then called with one tuple
            ``(state, x)`` and returns ``(state, y)``.

    Raises:
        ValueError: if `make` is a module or does not make one, or if the module has variables other than parameters,
            draws random numbers, or has parameters that are not floating-point.
    """
    from flax import nnx  # takes a while to import, and few need it

    if isinstance(make, nnx.Module) or not callable(make):
        raise ValueError(
            f"make must be a function of rngs that makes a flax.nnx module, got {type(make).__name__}: "
            "write from_nnx(lambda rngs: Policy(..., rngs=rngs), sample_input)"
        )
    module = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    if not isinstance(module, nnx.Module):
        raise ValueError(f"make must make a flax.nnx module, got {type(module).__name__}")
    split: Any = nnx.split
    graph, params, streams, others = split(module, nnx.Param, nnx.RngState, ...)
    if extra := sorted({type(x).__name__ for _, x in nnx.to_flat_state(others)}):
        raise ValueError(f"module must have no variables but parameters (no batch norm), got {', '.join(extra)}")

    def call(params: Any, x: Any, streams: Any, method: str) -> tuple[Any, Any]:
        module = nnx.merge(graph, params, streams, others)
        answer = getattr(module, method)(x)
        return answer, nnx.state(module, nnx.RngState)

    inputs = sample_input if initial_state is None else (initial_state, sample_input)
    program = jax.make_jaxpr(lambda streams, params: call(params, inputs, streams, "__call__")[1])(streams, params)
    count = len(jax.tree.leaves(streams))
    if program.jaxpr.outvars != program.jaxpr.invars[:count]:
        raise ValueError("module must draw no random numbers in a call (dropout: deterministic=True)")

    def answer(method: str) -> Callable[[Any, Any], Any]:
        def answered(params: Any, x: Any) -> Any:
            return call(params, x, jax.tree.map(_unused, streams), method)[0]

        return answered

    return from_functions(
        lambda key: nnx.state(make(nnx.Rngs(key)), nnx.Param),
        answer("__call__"),
        initial_state=initial_state,
        activations=answer("activations") if hasattr(module, "activations") else None,
    )


def _unused(x: jax.ShapeDtypeStruct) -> jax.Array:
    """A value for a random stream that is never read."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), x.shape)
    return jnp.zeros(x.shape, x.dtype)
