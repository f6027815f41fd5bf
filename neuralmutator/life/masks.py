"""Bits for the bytes of many tapes: words u32[W, B]; a place is bit ``place % 32`` of word ``place // 32``."""

import jax
import jax.numpy as jnp


def packed(bits: jax.Array) -> jax.Array:
    """bool[B, T] -> u32[W, B], with T = 32 W."""
    rows = bits.shape[0]
    fours = jax.lax.bitcast_convert_type(bits.astype(jnp.uint8).reshape(rows, -1, 8, 4), jnp.uint32)
    # Bits 0, 8, 16 and 24 come to lie side by side, and no two of the other products in one place.
    fours = (fours * jnp.uint32(1 << 21 | 1 << 14 | 1 << 7 | 1)) >> 21 & 15
    return jnp.sum(fours << jnp.arange(0, 32, 4, dtype=jnp.uint32), axis=2, dtype=jnp.uint32).T


def marked(mask: jax.Array, place: jax.Array, on: jax.Array, where: jax.Array) -> jax.Array:
    """The words with the bit of one place i32[B] set to `on` bool[B] in the lanes `where` bool[B]."""
    bit = jnp.uint32(1) << (place & 31).astype(jnp.uint32)
    word = (jnp.arange(mask.shape[0])[:, None] == place >> 5) & where
    return jnp.where(word, jnp.where(on, mask | bit, mask & ~bit), mask)


def below(place: jax.Array, words: int) -> jax.Array:
    """The bits below a place i32[B], u32[words, B]."""
    keep = jnp.clip(place - 32 * jnp.arange(words)[:, None], 0, 32).astype(jnp.uint32)
    return jnp.where(keep > 31, jnp.uint32(0xFFFFFFFF), (jnp.uint32(1) << (keep & 31)) - 1)


def next_bit(mask: jax.Array, place: jax.Array) -> jax.Array:
    """The lowest set bit at or behind a place, i32[B]; the tape's size where there is none."""
    words = mask.shape[0]
    rest = mask & ~below(place, words)
    first = jax.lax.population_count((rest & -rest) - 1).astype(jnp.int32) + 32 * jnp.arange(words)[:, None]
    return jnp.min(jnp.where(rest != 0, first, 32 * words), axis=0)


def previous_bit(mask: jax.Array, place: jax.Array) -> jax.Array:
    """The highest set bit at or before a place, i32[B]; -1 where there is none."""
    words = mask.shape[0]
    rest = mask & below(place + 1, words)
    last = 31 - jax.lax.clz(rest).astype(jnp.int32) + 32 * jnp.arange(words)[:, None]
    return jnp.max(jnp.where(rest != 0, last, -1), axis=0)


def count(mask: jax.Array, start: jax.Array, stop: jax.Array) -> jax.Array:
    """How many bits are set from one place i32[B] up to another, which does not count, i32[B]."""
    inside = below(stop, mask.shape[0]) & ~below(start, mask.shape[0])
    return jnp.sum(jax.lax.population_count(mask & inside), axis=0, dtype=jnp.int32)
