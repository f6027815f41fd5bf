"""Parameters as bytes: small enough to travel inside a web page."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.nca.automaton import Automaton, per_variable

LEVELS = 127


class Quantized(NamedTuple):
    """Parameters in 8 bits."""

    codes: jax.Array  # i8[P] from -127 to 127
    scales: dict[str, jax.Array]  # f32[] of every variable: what a code is multiplied by


def quantize(automaton: Automaton, params: jax.Array) -> Quantized:
    """The nearest of 255 levels for every parameter, spread evenly over ± the largest of its matrix or vector."""
    scales = {name: jnp.max(jnp.abs(value)) / LEVELS for name, value in automaton.variables(params).items()}

    def code(name: str, value: jax.Array) -> jax.Array:
        return jnp.round(value / jnp.where(scales[name] > 0, scales[name], 1))

    return Quantized(per_variable(automaton, code, params).astype(jnp.int8), scales)


def dequantize(automaton: Automaton, quantized: Quantized) -> jax.Array:
    """Parameters f32[P], each within half a level of what it was."""
    codes = quantized.codes.astype(jnp.float32)
    return per_variable(automaton, lambda name, value: value * quantized.scales[name], codes)
