import jax.numpy as jnp
import numpy as np
from hypothesis import given, strategies as st

from neuralmutator.life import hashing

MASK = (1 << 64) - 1


def whole(value: hashing.U64) -> int:
    return (int(value.high) << 32) | int(value.low)


NUMBERS = st.integers(0, MASK)


@given(NUMBERS, NUMBERS, st.integers(1, 2**17))
def test_arithmetic_is_that_of_python(plain, a, b, divisor):
    x, y = hashing.u64(a), hashing.u64(b)
    assert whole(hashing.add(x, y)) == (a + b) & MASK
    assert whole(hashing.multiply(x, y)) == (a * b) & MASK
    assert whole(hashing.xor(x, y)) == a ^ b
    assert whole(hashing.splitmix(x)) == plain.splitmix(a)
    assert whole(hashing.seeded(x, y)) == plain.splitmix(plain.splitmix(a) ^ plain.splitmix(b))
    assert int(hashing.modulo(x, jnp.uint32(divisor))) == a % divisor


def test_splitmix_gives_the_published_stream():
    # The first numbers of SplitMix64 from the state 1234567 (Rosetta Code). Its state grows by a constant, so number k
    # of the stream is the hash of 1234567 plus k times this constant.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    found = [whole(hashing.splitmix(hashing.u64(1234567 + k * 0x9E3779B97F4A7C15))) for k in range(4)]
    assert found == published


def test_arrays_become_numbers_below_two_to_the_32():
    value = hashing.u64(jnp.array([0, 7, 2**32 - 1], jnp.uint32))
    np.testing.assert_array_equal(value.high, 0)
    np.testing.assert_array_equal(value.low, np.array([0, 7, 2**32 - 1], np.uint32))
