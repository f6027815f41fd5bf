import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from neuralmutator import networks

KEY = jax.random.key(0)


class Policy(nnx.Module):
    """Two layers, with something between them."""

    def __init__(self, between, rngs):
        self.first, self.second = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)
        self.between = between(rngs)

    def __call__(self, x):
        return self.second(self.between(jnp.tanh(self.first(x))))


def policy(between=lambda rngs: lambda x: x):
    return networks.from_nnx(lambda rngs: Policy(between, rngs), jnp.zeros(4))


def test_an_nnx_module_is_a_network():
    """Its flat parameters, cut by hand (bias before kernel, layer after layer), do what the module does."""
    network = policy()
    assert network.num_params == (4 + 1) * 8 + (8 + 1) * 2
    params, x = network.init(KEY), np.array([0.5, -1.0, 2.0, 0.1])
    module = Policy(lambda rngs: lambda x: x, nnx.Rngs(KEY))
    np.testing.assert_array_equal(network.apply(params, jnp.asarray(x)), module(jnp.asarray(x)))
    noise = np.random.default_rng(0).normal(size=network.num_params)
    b_1, w_1, b_2, w_2 = np.split(noise, np.cumsum([8, 32, 2]))
    want = np.tanh(x @ w_1.reshape(4, 8) + b_1) @ w_2.reshape(8, 2) + b_2
    np.testing.assert_allclose(jax.jit(network.apply)(jnp.asarray(noise), jnp.asarray(x)), want, rtol=1e-4)
    np.testing.assert_allclose(network.activations(jnp.asarray(noise), jnp.asarray(x))[-1], want, rtol=1e-4)


def test_every_key_draws_its_own_first_parameters():
    drawn = jax.jit(jax.vmap(policy().init))(jax.random.split(KEY, 3))
    assert len(np.unique(drawn[:, -16:], axis=0)) == 3
    np.testing.assert_array_equal(drawn[:, :8], 0)  # biases


def test_an_nnx_module_with_memory_carries_it():
    class Memory(nnx.Module):
        def __init__(self, rngs):
            self.cell, self.out = nnx.GRUCell(3, 5, rngs=rngs), nnx.Linear(5, 2, rngs=rngs)

        def __call__(self, inputs):
            state, y = self.cell(*inputs)
            return state, self.out(y)

    network = networks.from_nnx(lambda rngs: Memory(rngs), jnp.zeros(3), jnp.zeros(5))
    networks.check_fit(network, "here", (3,), 2)
    params = jax.vmap(network.init)(jax.random.split(KEY, 2))[0]
    state, first = network.apply(params, (network.initial_state, jnp.ones(3)))
    _, second = network.apply(params, (state, jnp.ones(3)))
    assert not np.allclose(first, second)


def test_what_changes_or_draws_in_a_call_is_refused():
    with pytest.raises(ValueError, match="module must draw no random numbers in a call"):
        policy(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    with pytest.raises(ValueError, match=r"no variables but parameters .*BatchStat"):
        policy(lambda rngs: nnx.BatchNorm(8, use_running_average=True, rngs=rngs))
    quiet = policy(lambda rngs: nnx.Dropout(0.5, deterministic=True, rngs=rngs))
    np.testing.assert_array_equal(
        jax.jit(quiet.apply)(quiet.init(KEY), jnp.ones(4)), policy().apply(quiet.init(KEY), jnp.ones(4))
    )


def test_a_module_that_is_made_already_is_refused():
    with pytest.raises(ValueError, match=r"make must be a function of rngs .*got Linear.*lambda rngs"):
        networks.from_nnx(nnx.Linear(4, 2, rngs=nnx.Rngs(0)), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"make must make a flax\.nnx module"):
        networks.from_nnx(lambda rngs: 3.0, jnp.zeros(4))
