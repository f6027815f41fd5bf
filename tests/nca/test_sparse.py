from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator import nca
from neuralmutator.nca.sparse import apply_where

RULE = nca.dense_rule(5, 3, 7)
PARAMS = jax.random.normal(jax.random.key(0), (RULE.num_params,))
AUTOMATON = nca.growing(channels=6, hidden=9)


def all_rows(params, inputs, where):
    return RULE.apply(params, inputs) * where[:, None]


def some_rows(params, inputs, where):
    return apply_where(RULE.apply, params, inputs, where, 4)


@partial(jax.jit, static_argnums=0)
def value_and_pull(function, params, inputs, where, weights):
    value, pull = jax.vjp(lambda p, x: function(p, x, where), params, inputs)
    return value, *pull(weights)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([1, 4, 11]))
def test_as_if_all_rows_were_computed(seed, share, rows):
    """Values and derivatives, for none, some and all of the rows, in chunks of four of which the last may be part."""
    key_inputs, key_where, key_weights = jax.random.split(jax.random.key(seed), 3)
    inputs = jax.random.normal(key_inputs, (rows, 5))
    where = jax.random.uniform(key_where, (rows,)) < share
    weights = jax.random.normal(key_weights, (rows, 3))
    found = value_and_pull(some_rows, PARAMS, inputs, where, weights)
    for mine, theirs in zip(found, value_and_pull(all_rows, PARAMS, inputs, where, weights), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found[0]).any(axis=1), np.asarray(where))


def test_rows_that_are_not_wanted_do_no_harm():
    """0 × infinity would be NaN: what is not wanted is not computed, and not multiplied by 0."""
    inputs = jnp.ones((6, 5)).at[2].set(jnp.inf)
    where = jnp.arange(6) != 2
    value, of_params, of_inputs = value_and_pull(some_rows, PARAMS, inputs, where, jnp.ones((6, 3)))
    assert np.isfinite(value).all() and np.isfinite(of_params).all() and np.isfinite(of_inputs).all()


def test_for_many_grids_at_once():
    inputs, where = (
        jax.random.normal(jax.random.key(1), (3, 9, 5)),
        jnp.arange(27).reshape(3, 9) % 5 > jnp.arange(3)[:, None],
    )
    found = jax.jit(jax.vmap(some_rows, (None, 0, 0)))(PARAMS, inputs, where)
    np.testing.assert_allclose(found, jax.vmap(all_rows, (None, 0, 0))(PARAMS, inputs, where), atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_an_automaton_moves_its_few_cells_as_all(seed):
    key_params, key_grid, key_fire, key_weights = jax.random.split(jax.random.key(seed), 4)
    params = 0.2 * jax.random.normal(key_params, (AUTOMATON.num_params,))
    grid = jax.random.uniform(key_grid, (20, 22, 6)) * (jnp.arange(22) < 12)[:, None]
    fires, weights = nca.random_cells(key_fire, (20, 22)), jax.random.normal(key_weights, (20, 22, 6))

    def weighted(move):
        return jax.jit(jax.value_and_grad(lambda p, g: jnp.sum(move(p, g, fires) * weights), (0, 1)))(params, grid)

    few, every = weighted(AUTOMATON.move_few), weighted(AUTOMATON.move)
    assert np.abs(every[1][0]).max() > 1
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-3), few, every)


def test_where_nothing_dies_every_cell_moves():
    torus = partial(nca.perceive, border="joined")
    assert nca.automaton(nca.dense_rule(9, 3, 4), 3, torus, nca.random_cells).move_few is None
