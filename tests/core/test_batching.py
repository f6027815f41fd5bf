"""Batches give what their members give alone, however they are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.core.batching import default_block_size, each, in_blocks, resolve_block_size


def product(x, y):
    return {"sum": x + y.sum(), "row": x * y}


@pytest.mark.parametrize(("rows", "size"), [(1, None), (7, None), (7, 1), (7, 7), (7, 9), (7, 3), (12, 5), (1, 1)])
def test_blocks_of_any_size_give_the_same(rows, size):
    x, y = jnp.arange(rows, dtype=jnp.float32), jnp.arange(3.0 * rows).reshape(rows, 3)
    found = in_blocks(product, size, x, y)
    np.testing.assert_array_equal(found["sum"], np.arange(rows) + np.asarray(y).sum(1))
    np.testing.assert_array_equal(found["row"], np.asarray(x)[:, None] * np.asarray(y))


@pytest.mark.parametrize("size", [None, 1, 3, 7])
def test_rows_look_up_what_they_need_of_others(size):
    population = {"a": jnp.arange(5.0), "b": jnp.arange(10).reshape(5, 2)}
    first, second = jnp.array([4, 0, 3, 3, 1, 2, 4]), jnp.array([0, 0, 1, 2, 3, 4, 4])
    x = jnp.arange(7.0)
    lookups = [(population, first), (population["a"], second)]
    found = in_blocks(lambda x, one, other: (x + one["a"], one["b"] * other), size, x, lookups=lookups)
    np.testing.assert_array_equal(found[0], np.arange(7.0) + np.asarray(first))
    np.testing.assert_array_equal(found[1], np.arange(10).reshape(5, 2)[first] * np.asarray(second)[:, None])


def test_blocks_have_one_size_so_that_they_compile_once():
    traced = []

    def look(x):
        traced.append(x.shape)
        return x

    jax.eval_shape(lambda x: in_blocks(look, 4, x), jnp.zeros((10, 2)))
    assert len(traced) == 1


def test_each_is_a_map_over_members():
    x, y = jnp.arange(4.0), jnp.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(each(product, x, y)["row"], np.arange(4.0)[:, None] * np.asarray(y))


def test_what_a_block_size_means():
    assert resolve_block_size("auto") == default_block_size() == (64 if jax.default_backend() == "cpu" else None)
    assert resolve_block_size(None) is None
    assert resolve_block_size(np.int32(7)) == 7


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "all"])
def test_bad_block_sizes_are_refused(value):
    with pytest.raises(ValueError, match="block_size must be"):
        resolve_block_size(value)
