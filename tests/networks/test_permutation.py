"""A permuted policy gives the same outputs in another order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm

KEY = jax.random.key(4)
ORDER = [2, 0, 1]


def test_outputs_come_in_the_new_order():
    policy = nm.networks.mlp(4, 3)
    crossed = nm.networks.permuted(policy, ORDER)
    params, x = policy.init(KEY), jnp.arange(4.0)
    np.testing.assert_array_equal(crossed.apply(params, x), np.asarray(policy.apply(params, x))[ORDER])
    assert crossed.num_params == policy.num_params


def test_the_memory_of_a_recurrent_policy_stays_as_it_is():
    policy = nm.networks.recurrent(4, 3, 5)
    params, x = policy.init(KEY), jnp.arange(4.0)
    memory, outputs = policy.apply(params, (policy.initial_state, x))
    same, crossed = nm.networks.permuted(policy, ORDER).apply(params, (policy.initial_state, x))
    np.testing.assert_array_equal(same, memory)
    np.testing.assert_array_equal(crossed, np.asarray(outputs)[ORDER])


def test_the_order_may_be_traced():
    policy = nm.networks.mlp(4, 3)
    params, x = policy.init(KEY), jnp.arange(4.0)
    orders = jnp.array([[0, 1, 2], ORDER])
    found = jax.vmap(lambda order: nm.networks.permuted(policy, order).apply(params, x))(orders)
    np.testing.assert_allclose(found[1], found[0][jnp.array(ORDER)])


@pytest.mark.parametrize("order", [[1, 1, 0], [0, 1, 3], [[0, 1]], [0.5, 1]])
def test_what_is_no_permutation_is_refused(order):
    with pytest.raises(ValueError, match="order must be a permutation of 0 to"):
        nm.networks.permuted(nm.networks.mlp(4, 3), order)
