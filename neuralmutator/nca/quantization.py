"""Parameters as bytes: small enough to travel inside a web page."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.nca.cells import Automaton, per_variable

LEVELS = 127


class Quantized(NamedTuple):
    """Parameters in 8 bits: a code stands for ``(code - offset) * scale``, by its matrix or vector.

    Offsets need not be whole: published automata (Mordvintsev et al. 2020) use 256 levels around -1/2, none of which is
    zero.
    """

    codes: jax.Array  # i8[P]
    scales: dict[str, jax.Array]  # f32[] of every variable
    offsets: dict[str, jax.Array]  # f32[] of every variable: the code of zero


def quantize(automaton: Automaton, params: jax.Array) -> Quantized:
    """The nearest of 255 levels for every parameter, spread evenly over ± the largest of its matrix or vector."""
    variables = automaton.unflatten(params)
    scales = {name: jnp.max(jnp.abs(value)) / LEVELS for name, value in variables.items()}

    def code(name: str, value: jax.Array) -> jax.Array:
        return jnp.round(value / jnp.where(scales[name] > 0, scales[name], 1))

    codes = per_variable(automaton, code, params).astype(jnp.int8)
    return Quantized(codes, scales, {name: jnp.zeros((), jnp.float32) for name in variables})


def dequantize(automaton: Automaton, quantized: Quantized) -> jax.Array:
    """Parameters f32[P]; after `quantize`, each is within half a level of what it was."""

    def value(name: str, codes: jax.Array) -> jax.Array:
        return (codes - quantized.offsets[name]) * quantized.scales[name]

    return per_variable(automaton, value, quantized.codes.astype(jnp.float32))
