"""Normal numbers: those of ``jax.random.normal``, bit by bit, in a third of the time where programs are made for a CPU.

JAX rolls the rounds of its generator into a loop there, which compiles a little faster but carries all numbers through
memory in each of its steps. Unrolled, XLA fuses the generator with the normal quantile and with what is done with the
numbers: one pass, nothing in memory but the result. So that it does, give every piece of a draw one user.
"""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core.platform import on_cpu

# Threefry2x32 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), as JAX has it.
ROUNDS = 20
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


def normal(key: jax.Array, size: int, dtype: jax.typing.DTypeLike = jnp.float32) -> jax.Array:
    """``jax.random.normal(key, (size,), dtype)``."""
    return normals(key, (size,), dtype)[0]


def normals(key: jax.Array, sizes: Sequence[int], dtype: jax.typing.DTypeLike = jnp.float32) -> list[jax.Array]:
    """``jax.random.normal(key, (sum(sizes),), dtype)``, cut into pieces of these sizes, each drawn on its own.

    Args:
        key: from ``jax.random.key``. Where it is of another generator than JAX's usual one, or the numbers are not f32,
            they are JAX's own as well, but not faster.
        sizes: of the pieces.
        dtype: of the numbers.
    """
    ends = list(itertools.accumulate(sizes, initial=0))
    threefry = str(jax.random.key_impl(key)) == "threefry2x32" and jax.threefry_partitionable.value
    if not (on_cpu() and threefry and dtype == jnp.float32):
        return jnp.split(jax.random.normal(key, (ends[-1],), dtype), ends[1:-1])
    return [_quantile(_bits(key, start, end)) for start, end in itertools.pairwise(ends)]


def _bits(key: jax.Array, start: int, end: int) -> jax.Array:
    """The words `start` to `end` of ``jax.random.bits(key, (n,))``, u32[end - start]; they do not depend on n."""
    counts = jnp.arange(start, end, dtype=jnp.uint32)
    first, second = threefry2x32(jax.random.key_data(key), jnp.zeros_like(counts), counts)
    return first ^ second


def threefry2x32(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two words of 32 bits, u32[...] each, enciphered with a key u32[2]."""
    keys = key[0], key[1], key[0] ^ key[1] ^ PARITY
    x, y = x + keys[0], y + keys[1]
    for i, rotation in enumerate(_rotations(), 1):
        x = x + y
        y = x ^ (y << rotation | y >> 32 - rotation)
        if i % 4 == 0:
            x, y = x + keys[i // 4 % 3], y + keys[(i // 4 + 1) % 3] + np.uint32(i // 4)
    return x, y


def _rotations() -> Iterator[int]:
    return itertools.islice(itertools.cycle(itertools.chain(*ROTATIONS)), ROUNDS)


def _quantile(bits: jax.Array) -> jax.Array:
    """What ``jax.random.normal`` makes of words u32[...]: normal quantiles f32[...] of uniform numbers of 23 bits."""
    low = np.nextafter(np.float32(-1), np.float32(0))
    unit = jax.lax.bitcast_convert_type(bits >> 9 | np.uint32(0x3F800000), jnp.float32) - np.float32(1)  # in [0, 1)
    uniform = jnp.maximum(low, unit * (np.float32(1) - low) + low)
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(uniform)
