import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks

KEY = jax.random.key(0)


@pytest.mark.parametrize(("hidden", "activation"), [((7, 5), nn.tanh), ((6,), nn.relu), ((), nn.tanh)])
def test_mlp_equals_numpy(hidden, activation, start, dense_layers):
    network = networks.mlp(4, 3, hidden, activation)
    sizes = (4, *hidden, 3)
    assert network.num_params == sum((i + 1) * o for i, o in itertools.pairwise(sizes))
    params = start(network)
    x = np.array([0.3, -2.0, 1.0, 0.5])
    seen = jax.jit(lambda p, x: (*network.activations(p, x), network.apply(p, x)))
    *outputs, output = seen(params, jnp.asarray(x, jnp.float32))
    for layer, (weights, bias) in enumerate(dense_layers(params, sizes)):
        x = np.array([sum(x[i] * weights[i, j] for i in range(len(x))) + bias[j] for j in range(len(bias))])
        if layer < len(hidden):
            x = np.tanh(x) if activation is nn.tanh else np.maximum(x, 0)
        np.testing.assert_allclose(outputs[layer], x, atol=1e-5)
    np.testing.assert_allclose(output, x, atol=1e-5)


def test_mlp_starts_uniformly_by_fan_in(start, dense_layers, assert_uniform):
    params = start(networks.mlp(100, 30, (50, 40)))
    for (weights, bias), fan_in in zip(dense_layers(params, (100, 50, 40, 30)), (100, 50, 40), strict=True):
        assert_uniform(weights, fan_in)
        assert_uniform(bias, fan_in)


def test_the_default_policy_is_the_originals():
    assert networks.mlp(8, 4).num_params == 9 * 64 + 65 * 64 + 65 * 4


def test_recurrent_carries_its_state(start, genome_of, dense_layers):
    network = networks.recurrent(2, 3, hidden=4)
    assert network.num_params == (2 + 4 + 1) * 4 + (4 + 1) * 3
    params = start(network)
    (w, b), (w_out, b_out) = dense_layers(params, (6, 4, 3))
    act = jax.jit(networks.policy_step(network, genome_of(params)))
    carry, state = network.initial_state, np.zeros(4)
    np.testing.assert_array_equal(carry, np.zeros(4))
    inputs = np.random.default_rng(0).normal(size=(5, 2))
    for t, x in enumerate(inputs):
        _, forgetful = act(network.initial_state, jnp.asarray(x, jnp.float32))
        carry, output = act(carry, jnp.asarray(x, jnp.float32))
        state = np.tanh(np.concatenate([x, state]) @ w + b)
        np.testing.assert_allclose(carry, state, atol=1e-5)
        np.testing.assert_allclose(output, state @ w_out + b_out, atol=1e-5)
        assert (np.abs(output - forgetful).max() > 1e-3) == (t > 0)


class Odd(nn.Module):
    """A module nobody here knows."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.gelu(nn.Dense(5)(x.reshape(-1))))
        return x * self.param("gain", nn.initializers.normal(), (5,))


class Counter(nn.Module):
    """Memory of another kind: a dictionary."""

    @nn.compact
    def __call__(self, inputs):
        state, x = inputs
        state = {"sum": state["sum"] + x, "n": state["n"] + 1}
        return state, nn.Dense(1)(state["sum"]) * state["n"]


def test_any_flax_module_is_a_network(start):
    module, x = Odd(), jax.random.normal(KEY, (2, 3))
    network = networks.from_flax(module, jnp.zeros((2, 3)))
    params = start(network)
    leaves, structure = jax.tree.flatten(jax.eval_shape(module.init, KEY, x))
    parts = np.split(params, np.cumsum([leaf.size for leaf in leaves]))
    assert parts[-1].size == 0
    variables = structure.unflatten([p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=False)])
    output = network.apply(params, x)
    np.testing.assert_allclose(output, module.apply(variables, x), atol=1e-6)
    assert any(seen.shape == output.shape and np.allclose(seen, output) for seen in network.activations(params, x))


def test_a_flax_module_may_carry_any_pytree(start, genome_of):
    network = networks.from_flax(Counter(), jnp.zeros(2), {"sum": jnp.zeros(2), "n": jnp.int32(0)})
    act = networks.policy_step(network, genome_of(start(network)))
    carry, once = act(network.initial_state, jnp.ones(2))
    carry, twice = act(carry, jnp.zeros(2))
    assert carry["n"] == 2
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


def test_a_module_with_other_variables_is_refused():
    with pytest.raises(ValueError, match="batch_stats"):
        networks.from_flax(nn.BatchNorm(use_running_average=True), jnp.zeros(3))


class Noisy(nn.Module):
    """A module with dropout."""

    deterministic: bool

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=self.deterministic)(x))


def test_active_dropout_is_refused_and_inactive_taken():
    with pytest.raises(ValueError, match="module must draw no random numbers"):
        networks.from_flax(Noisy(deterministic=False), jnp.zeros(4))
    assert networks.from_flax(Noisy(deterministic=True), jnp.zeros(4)).num_params == 10


def test_what_is_no_module_of_linen_is_refused():
    with pytest.raises(ValueError, match=r"module must be a flax.linen module \(from_nnx.*got function"):
        networks.from_flax(lambda x: x, jnp.zeros(4))


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (lambda: networks.mlp(0, 1), "obs", 0),
        (lambda: networks.mlp(3, 1.5), "act", 1.5),
        (lambda: networks.mlp(3, 1, (8, -2)), "hidden", -2),
        (lambda: networks.recurrent(3, 1, hidden=0), "hidden", 0),
    ],
)
def test_errors_name_the_field_and_the_value(make, field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        make()
