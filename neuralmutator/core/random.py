"""Normal numbers: those of ``jax.random.normal`` up to rounding, in a third of its time on a CPU.

JAX rolls the rounds of its generator into a loop there, which compiles a little faster but carries all numbers through
memory in each of its steps; and XLA's normal quantile is two polynomials behind a costly logarithm. Here the rounds are
unrolled and the quantile is one quotient, so that XLA makes one pass of the draw and of what is done with it, provided
that each piece of a draw has one user.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core.platform import on_cpu

# Threefry2x32 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), as JAX has it.
ROUNDS = 20
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = np.uint32(0x1BD11BDA)
# The quantile of (1 + x) / 2 is x P(w) / Q(w) with w = -log(1 - x²), the variable of Giles (2010, "Approximating the
# erfinv function"). Fitted by us: of all quotients of these degrees that with the least largest relative error for w up
# to 16, where 23 bits end (2.8e-7; in double precision, by Lawson's reweighted least squares).
NUMERATOR = (1.05158449e-5, 1.14878692e-3, 1.37297333e-2, 0.102561470, 0.498998913, 1.25331449)
DENOMINATOR = (1.22792557e-4, 3.19608311e-3, 3.30745943e-2, 0.136351391, 1.0)


def normal(key: jax.Array, size: int, dtype: jax.typing.DTypeLike = jnp.float32) -> jax.Array:
    """``jax.random.normal(key, (size,), dtype)``."""
    return normals(key, (size,), dtype)[0]


def uniform(key: jax.Array, size: int) -> jax.Array:
    """``jax.random.uniform(key, (size,))``, the same bits in half of its time on a CPU."""
    if not _unrolled(key):
        return jax.random.uniform(key, (size,))
    return _unit(_bits(key, 0, size))


def normals(key: jax.Array, sizes: Sequence[int], dtype: jax.typing.DTypeLike = jnp.float32) -> list[jax.Array]:
    """``jax.random.normal(key, (sum(sizes),), dtype)``, cut into pieces of these sizes, each drawn on its own.

    Args:
        key: from ``jax.random.key``. Where it is of another generator than JAX's usual one, where the numbers are not
            f32, and on accelerators JAX itself draws them.
        sizes: of the pieces.
        dtype: of the numbers.
    """
    ends = list(itertools.accumulate(sizes, initial=0))
    if not (_unrolled(key) and dtype == jnp.float32):
        return jnp.split(jax.random.normal(key, (ends[-1],), dtype), ends[1:-1])
    return [_quantile(_bits(key, start, end)) for start, end in itertools.pairwise(ends)]


def _unrolled(key: jax.Array) -> bool:
    """Whether the rounds of JAX's usual generator are unrolled here."""
    return on_cpu() and str(jax.random.key_impl(key)) == "threefry2x32" and jax.threefry_partitionable.value


def _unit(bits: jax.Array) -> jax.Array:
    """Numbers in [0, 1) of words u32[...], of which 23 bits count."""
    return jax.lax.bitcast_convert_type(bits >> 9 | np.uint32(0x3F800000), jnp.float32) - 1


def _bits(key: jax.Array, start: int, end: int) -> jax.Array:
    """The words `start` to `end` of ``jax.random.bits(key, (n,))``, u32[end - start]; they do not depend on n."""
    counts = jnp.arange(start, end, dtype=jnp.uint32)
    first, second = threefry2x32(jax.random.key_data(key), jnp.zeros_like(counts), counts)
    return first ^ second


def threefry2x32(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two words of 32 bits, u32[...] each, enciphered with a key u32[2]."""
    keys = key[0], key[1], key[0] ^ key[1] ^ PARITY
    x, y = x + keys[0], y + keys[1]
    for i in range(ROUNDS):
        rotation = ROTATIONS[i % 8]
        x = x + y
        y = x ^ (y << rotation | y >> 32 - rotation)
        if i % 4 == 3:
            part = i // 4 + 1
            x, y = x + keys[part % 3], y + keys[(part + 1) % 3] + np.uint32(part)
    return x, y


def _quantile(bits: jax.Array) -> jax.Array:
    """Normal quantiles f32[...] of words u32[...], of which 23 bits count, as in ``jax.random.normal``.

    Off by at most 6e-7 of a quantile; those of JAX are by 6e-6.
    """
    x = 2 * _unit(bits) - (1 - 2**-24)  # in (-1, 1)
    w = -jnp.log((1 - x) * (1 + x))
    return x * _polynomial(NUMERATOR, w) / _polynomial(DENOMINATOR, w)


def _polynomial(coefficients: Sequence[float], x: jax.Array) -> jax.Array:
    """Horner's rule; the first coefficient is that of the highest power."""
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
