"""SplitMix64 (Steele, Lea and Flood 2014) on pairs of 32-bit words: JAX needs no 64-bit mode for it.

A hash is a stateless random number: number k of a stream is the hash of its place.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_MASK = (1 << 64) - 1


class U64(NamedTuple):
    """Whole numbers below 2^64, u32[...] each."""

    high: jax.Array
    low: jax.Array


def u64(value: int | jax.Array) -> U64:
    """A Python number (modulo 2^64), or an array of numbers from 0 to 2^32 - 1."""
    if isinstance(value, int):
        value &= _MASK
        return U64(jnp.uint32(value >> 32), jnp.uint32(value & 0xFFFFFFFF))
    low = value.astype(jnp.uint32)
    return U64(jnp.zeros_like(low), low)


def add(a: U64, b: U64) -> U64:
    """Sum modulo 2^64."""
    low = a.low + b.low
    return U64(a.high + b.high + (low < a.low).astype(jnp.uint32), low)


def xor(a: U64, b: U64) -> U64:
    """Bitwise exclusive or."""
    return U64(a.high ^ b.high, a.low ^ b.low)


def multiply(a: U64, b: U64) -> U64:
    """Product modulo 2^64, by limbs of 16 bits."""
    a0, a1, b0, b1 = a.low & 0xFFFF, a.low >> 16, b.low & 0xFFFF, b.low >> 16
    low, cross, other = a0 * b0, a1 * b0, a0 * b1
    middle = (low >> 16) + (cross & 0xFFFF) + (other & 0xFFFF)
    carried = a1 * b1 + (cross >> 16) + (other >> 16) + (middle >> 16)
    return U64(carried + a.high * b.low + a.low * b.high, (low & 0xFFFF) | (middle << 16))


def _fold(a: U64, shift: int) -> U64:
    """``a ^ (a >> shift)`` for shifts from 1 to 31."""
    return U64(a.high ^ (a.high >> shift), a.low ^ ((a.low >> shift) | (a.high << (32 - shift))))


def splitmix(x: U64) -> U64:
    """The hash of every number."""
    z = add(x, u64(0x9E3779B97F4A7C15))
    z = multiply(_fold(z, 30), u64(0xBF58476D1CE4E5B9))
    z = multiply(_fold(z, 27), u64(0x94D049BB133111EB))
    return _fold(z, 31)


def seeded(seed: U64, x: U64) -> U64:
    """The hash of every number x in the stream of a seed: ``hash(hash(seed) ^ hash(x))``."""
    return splitmix(xor(splitmix(seed), splitmix(x)))


def modulo(a: U64, divisor: jax.Array) -> jax.Array:
    """Remainder u32[...] by a divisor u32[...] from 1 to 2^17, by digits of 15 bits."""
    rest = (a.high >> 28) % divisor
    for digit in (
        (a.high >> 13) & 0x7FFF,
        ((a.high & 0x1FFF) << 2) | (a.low >> 30),
        (a.low >> 15) & 0x7FFF,
        a.low & 0x7FFF,
    ):
        rest = ((rest << 15) | digit) % divisor
    return rest
