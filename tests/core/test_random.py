import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from neuralmutator.core import platform, random

SIZES = [3, 0, 16, 1, 980]

# Salmon et al., Random123, kat_vectors: threefry2x32 of 20 rounds: counter, key, result.
KNOWN = [
    ("00000000 00000000", "00000000 00000000", "6b200159 99ba4efe"),
    ("ffffffff ffffffff", "ffffffff ffffffff", "1cb996fc bb002be7"),
    ("243f6a88 85a308d3", "13198a2e 03707344", "c4923a9c 483df7a0"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers_of_the_generator(counter, key, expected):
    made = random.threefry2x32(jnp.array(words(key)), *map(jnp.array, words(counter)))
    np.testing.assert_array_equal(made, words(expected))


def both(key, dtype=jnp.float32):
    """Our numbers and JAX's own."""
    made = jax.jit(lambda key: jnp.concatenate(random.normals(key, SIZES, dtype)))(key)
    return made, jax.random.normal(key, (sum(SIZES),), dtype)


def test_the_numbers_are_those_of_jax():
    for seed in range(5):
        np.testing.assert_allclose(*both(jax.random.key(seed)), rtol=1e-5)
    key = jax.random.key(7)
    np.testing.assert_allclose(random.normal(key, 5), jax.random.normal(key, (5,)), rtol=1e-5)


def test_every_quantile_there_is():
    """All words of 23 bits beside SciPy's quantiles, and in order."""
    words = np.arange(2**23, dtype=np.uint32) << 9
    made = np.asarray(jax.jit(random._quantile)(words), np.float64)
    x = np.arange(2**23) / 2**22 - (1 - 2**-24)
    tail = special.ndtri((1 - np.abs(x)) / 2)
    exact = np.where(np.abs(x) < 0.5, np.sqrt(2) * special.erfinv(x), -np.sign(x) * tail)
    np.testing.assert_allclose(made, exact, rtol=6e-7)
    assert np.all(np.diff(made) > -1e-6)


@pytest.mark.parametrize("rows", [1, 3, 63])
def test_they_do_not_depend_on_how_many_rows_are_drawn_together(rows):
    keys = jax.random.split(jax.random.key(0), 64)
    drawn = jax.jit(jax.vmap(lambda key: random.normal(key, 100)))
    np.testing.assert_array_equal(drawn(keys[:rows]), drawn(keys)[:rows])


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_generators(impl):
    np.testing.assert_array_equal(*both(jax.random.key(0, impl=impl)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_other_dtypes(dtype):
    with jax.enable_x64(True):
        made, expected = both(jax.random.key(0), dtype)
        assert made.dtype == expected.dtype == dtype
        np.testing.assert_array_equal(made, expected)


def test_the_older_order_of_jax_bits():
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(*both(jax.random.key(0)))


@pytest.mark.slow
def test_accelerators_have_generators_of_their_own():
    with platform.assume("cuda"):
        np.testing.assert_array_equal(*both(jax.random.key(0)))


def test_they_are_normal():
    keys = jax.random.split(jax.random.key(1), 2000)
    x = np.asarray(jax.jit(jax.vmap(lambda key: random.normal(key, 1000)))(keys), np.float64)
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-3
    for power, moment in enumerate([0, 1, 0, 3], 1):
        error = np.sqrt((stats.norm.moment(2 * power) - moment**2) / x.size)
        assert abs(np.mean(x**power) - moment) < 4 * error
    for a, b in ((x[:, 1:], x[:, :-1]), (x[1:], x[:-1]), (x[:, 1:] ** 2, x[:, :-1] ** 2)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_uniform_numbers_are_those_of_jax(impl):
    key = jax.random.key(3, impl=impl)
    found = jax.jit(lambda key: random.uniform(key, 1001))(key)
    np.testing.assert_array_equal(found, jax.random.uniform(key, (1001,)))
