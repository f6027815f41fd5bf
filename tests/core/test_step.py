import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import rollout
from neuralmutator.core import each

KEY = jax.random.key(3)
START = {"x": jnp.arange(3.0), "n": jnp.int32(0)}


@jax.jit
def step(key, state):
    x = 0.9 * state["x"] + jax.random.normal(key, (3,))
    return {"x": x, "n": state["n"] + 1}, {"sum": jnp.sum(x), "n": state["n"]}


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def loop(length, start=0):
    state, infos = START, []
    for t in range(start, start + length):
        state, info = step(jax.random.fold_in(KEY, t), state)
        infos.append(info)
    return state, jax.tree.map(lambda *x: jnp.stack(x), *infos)


@pytest.mark.parametrize("start", [0, 7])
def test_rollout_equals_a_python_loop(start):
    state, infos = rollout(step, KEY, START, 6, start)
    expected, expected_infos = loop(6, start)
    np.testing.assert_allclose(state["x"], expected["x"], rtol=1e-6)
    np.testing.assert_allclose(infos["sum"], expected_infos["sum"], rtol=1e-6)
    np.testing.assert_array_equal(infos["n"], np.arange(6))
    assert state["n"] == 6


@pytest.mark.parametrize("cut", [0, 1, 4, 6])
def test_a_run_cut_at_any_moment_equals_the_whole(cut):
    whole, infos = rollout(step, KEY, START, 6)
    state, first = rollout(step, KEY, START, cut)
    state, second = rollout(step, KEY, state, 6 - cut, start=cut)
    assert_equal(state, whole)
    assert_equal(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second), infos)


def test_the_first_moment_may_be_traced():
    traced = jax.jit(lambda start: rollout(step, KEY, START, 4, start))
    for start in (0, 5):
        np.testing.assert_allclose(traced(start)[0]["x"], loop(4, start)[0]["x"], rtol=1e-6)
    assert traced._cache_size() == 1


def test_no_two_moments_share_their_draws():
    _, draws = rollout(lambda key, state: (state, jax.random.normal(key)), KEY, (), 50)
    assert len(np.unique(draws)) == 50


def test_a_legacy_key_is_refused():
    with pytest.raises(ValueError, match=r"jax\.random\.key, got an array of dtype uint32"):
        rollout(step, jax.random.PRNGKey(0), START, 2)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_each_member_of_a_batch(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    a, b = jnp.arange(12.0).reshape(4, 3), jnp.arange(4)
    found = each(lambda x, n: {"sum": x.sum() * n, "x": x + n}, a, b)
    np.testing.assert_allclose(found["sum"], [float(x.sum()) * i for i, x in enumerate(np.asarray(a))])
    np.testing.assert_allclose(found["x"], np.asarray(a) + np.arange(4)[:, None])


@pytest.mark.parametrize("length", [-1, 2.5, True])
def test_a_length_is_a_whole_number(length):
    with pytest.raises(ValueError, match=f"length must be a whole number of at least 0, got {length}"):
        rollout(lambda key, state: (state, None), jax.random.key(0), jnp.zeros(()), length)
