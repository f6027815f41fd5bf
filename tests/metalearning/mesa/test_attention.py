import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator.metalearning import mesa

scanned = jax.jit(mesa.least_squares)

chunked = jax.jit(mesa.chunked_least_squares, static_argnums=4)


def drawn(seed, length, size, width):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=(length, n)), jnp.float32) for n in (size, width, size)]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**16), regularisation=st.sampled_from([0.01, 0.3, 10.0]))
def test_the_layer_solves_least_squares_at_every_position(solved_in_numpy, seed, regularisation):
    heads = drawn(seed, 12, 3, 2)
    expected = solved_in_numpy(*heads, regularisation)
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(scanned(*heads, regularisation), expected, atol=atol)
    # 5 divides 12 no more than 32 does: the last chunk is filled up.
    np.testing.assert_allclose(chunked(*heads, regularisation, 5), expected, atol=atol)
    np.testing.assert_allclose(chunked(*heads, regularisation, 32), expected, atol=atol)


def test_chunks_give_what_a_scan_gives_and_so_do_their_gradients(dynamics_in_numpy):
    states = dynamics_in_numpy(10, 10, 50)
    before = jnp.concatenate([jnp.zeros_like(states[:, :1]), states[:, :-2]], axis=1)
    heads = before, states[:, :-1], states[:, :-1]

    def answers(attention):
        def total(log_regularisation, keys):
            given = jax.vmap(lambda *heads: attention.attend(*heads, jnp.exp(log_regularisation)))(keys, *heads[1:])
            return jnp.sum(jnp.sin(given)), given

        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(jnp.log(0.01), heads[0])

    (_, scanned), slopes = answers(mesa.mesa())
    (_, chunked), chunked_slopes = answers(mesa.mesa(8))
    np.testing.assert_allclose(chunked, scanned, atol=1e-5)
    for one, two in zip(slopes, chunked_slopes, strict=True):
        np.testing.assert_allclose(two, one, atol=2e-3 * np.abs(one).max())


def test_what_comes_later_changes_nothing():
    keys, values, queries = drawn(0, 16, 3, 2)
    changed = [x.at[9:].set(7.0) for x in (keys, values, queries)]
    for attention in (mesa.mesa(), mesa.mesa(4), mesa.linear(16), mesa.softmax()):
        attend = jax.jit(attention.attend)
        early, later = attend(keys, values, queries, 0.5)[:9], attend(*changed, 0.5)[:9]
        np.testing.assert_allclose(early, later, atol=1e-5)


def test_linear_and_softmax_attention_in_numpy():
    keys, values, queries = (np.asarray(x) for x in drawn(1, 6, 4, 2))
    linear = [sum(values[i] * (keys[i] @ queries[t]) for i in range(t + 1)) / 50 for t in range(6)]
    np.testing.assert_allclose(mesa.linear().attend(keys, values, queries, 1.0), linear, rtol=1e-4, atol=1e-6)
    for t in range(6):
        weights = np.exp(keys[: t + 1] @ queries[t] / 2)
        expected = weights @ values[: t + 1] / weights.sum()
        np.testing.assert_allclose(mesa.softmax().attend(keys, values, queries, 1.0)[t], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: mesa.least_squares(jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.ones((5, 4)), 1.0),
            "keys and queries must be of one size, got 3 and 4",
        ),
        (
            lambda: mesa.chunked_least_squares(jnp.ones((5, 3)), jnp.ones((4, 2)), jnp.ones((5, 3)), 1.0),
            "keys, values and queries must be of one length of at least 1, got shapes [(5, 3), (4, 2), (5, 3)]",
        ),
        (
            lambda: mesa.least_squares(jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.ones((5, 3)), 0.0),
            "regularisation must be a finite number above 0, got 0.0",
        ),
        (lambda: mesa.mesa(0), "chunk must be a whole number of at least 1, got 0"),
        (lambda: mesa.linear(0), "length must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
