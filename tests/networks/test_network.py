import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, envs, networks

KEY = jax.random.key(0)


def start(network):
    return jax.jit(network.init)(KEY)


def genome_of(params, topology=()):
    return Genome(params, None, None, jnp.array(topology, jnp.int32), jnp.float32(0))


def dense_layers(params, sizes):
    """(weights [inputs, outputs], bias) of every layer in float64; flax keeps the bias before its kernel."""
    params, layers = np.asarray(params, np.float64), []
    for inputs, outputs in itertools.pairwise(sizes):
        bias, kernel, params = np.split(params, [outputs, outputs * (inputs + 1)])
        layers.append((kernel.reshape(inputs, outputs), bias))
    assert params.size == 0
    return layers


def assert_uniform(values, fan_in, variance=1 / 3):
    """Are these numbers uniform around 0, of variance `variance` / fan_in? U(-1, 1) / sqrt(fan_in) by default."""
    unit = np.asarray(values).ravel() * (fan_in / variance / 3) ** 0.5
    n = unit.size
    assert np.abs(unit).max() <= 1 + 1e-6
    assert np.abs(unit).max() > 1 - 12 / n
    assert abs(unit.mean()) < 5 / np.sqrt(3 * n)
    assert abs((unit**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / n)


@pytest.mark.parametrize(("hidden", "activation"), [((7, 5), nn.tanh), ((6,), nn.relu), ((), nn.tanh)])
def test_mlp_equals_numpy(hidden, activation):
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


def test_mlp_starts_uniformly_by_fan_in():
    params = start(networks.mlp(100, 30, (50, 40)))
    for (weights, bias), fan_in in zip(dense_layers(params, (100, 50, 40, 30)), (100, 50, 40), strict=True):
        assert_uniform(weights, fan_in)
        assert_uniform(bias, fan_in)


def test_the_default_policy_is_the_originals():
    assert networks.mlp(8, 4).num_params == 9 * 64 + 65 * 64 + 65 * 4


def test_cnn_equals_numpy():
    network = networks.cnn(act=2, image=(19, 17, 3))
    image = np.random.default_rng(0).integers(0, 256, (19, 17, 3), np.uint8)
    flat = params = np.random.default_rng(1).uniform(-0.3, 0.3, network.num_params).astype(np.float32)
    x = (image - image.mean((0, 1))) / (image.std((0, 1)) + 1)
    for channels, features in ((3, 8), (8, 16), (16, 16), (16, 8)):
        bias, kernel, flat = np.split(flat, [features, features * (16 * channels + 1)])
        kernel = kernel.reshape(4, 4, channels, features)
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        height, width = (padded.shape[0] - 4) // 2 + 1, (padded.shape[1] - 4) // 2 + 1
        x = np.zeros((height, width, features))
        for i in range(height):
            for j in range(width):
                x[i, j] = np.tensordot(padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel, 3) + bias
        x = np.maximum(x, 0)
    x = x.ravel()
    for weights, bias in dense_layers(flat, (x.size, 32, 2)):
        x = np.tanh(x @ weights + bias)
    np.testing.assert_allclose(jax.jit(network.apply)(params, jnp.asarray(image)), x, atol=1e-5)


def test_cnn_starts_with_the_variances_of_he():
    flat = jax.jit(networks.cnn().init)(KEY)
    # outputs, fan_in, variance times fan_in
    sizes = [(8, 48, 2), (16, 128, 2), (16, 256, 2), (8, 256, 2), (32, 288, 1), (3, 32, 1)]
    for outputs, fan_in, variance in sizes:
        bias, weights, flat = np.split(flat, [outputs, outputs * (fan_in + 1)])
        assert_uniform(weights, fan_in, variance)
        np.testing.assert_array_equal(bias, 0)
    assert flat.size == 0


def test_a_fresh_cnn_sees_where_it_drives():
    """Its actions follow the pictures, as they do not where the first weights are small beside the biases."""
    env, params = envs.make("CarRacing-v3")

    def drive(key):
        _, start = env.reset_env(key, params)

        def step(state, time):
            observation, state, *_ = env.step_env(key, state, jnp.array([0.3 * jnp.sin(time / 9), 0.3, 0]), params)
            return state, observation

        return jax.lax.scan(step, start, jnp.arange(200.0))[1][60::10]

    network, pictures = networks.cnn(), jax.jit(drive)(KEY)
    genomes = jax.vmap(network.init)(jax.random.split(KEY, 30))
    actions = jax.jit(jax.vmap(jax.vmap(network.apply, (None, 0)), (0, None)))(genomes, pictures)
    assert actions.std(axis=1).mean() > 0.1


def test_cnn_stands_an_image_of_one_colour():
    network = networks.cnn()
    action = network.apply(network.init(KEY), jnp.full((96, 96, 3), 255, jnp.uint8))
    np.testing.assert_array_equal(action, 0)  # nothing to see: biases are 0


def test_recurrent_carries_its_state():
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


def test_any_flax_module_is_a_network():
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


def test_a_flax_module_may_carry_any_pytree():
    network = networks.from_flax(Counter(), jnp.zeros(2), {"sum": jnp.zeros(2), "n": jnp.int32(0)})
    act = networks.policy_step(network, genome_of(start(network)))
    carry, once = act(network.initial_state, jnp.ones(2))
    carry, twice = act(carry, jnp.zeros(2))
    assert carry["n"] == 2
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


def test_a_module_with_other_variables_is_refused():
    with pytest.raises(ValueError, match="batch_stats"):
        networks.from_flax(nn.BatchNorm(use_running_average=True), jnp.zeros(3))


OBS, ACT, LAYERS, WIDTH = 3, 2, 4, 10
TOPOLOGIES = [(8, 0, 0, 0), (10, 9, 0, 0), (8, 10, 8, 9), (9, 8, 10, 0)]


@pytest.fixture(scope="module")
def flexible():
    return networks.flexible_mlp(OBS, ACT, LAYERS, WIDTH, initial_layers=(1, 3), initial_widths=(8, 10))


def active_layers(params, widths):
    """The matrices that a topology uses, cut by hand out of a flat vector: [(weights, bias), …]."""
    params, layers, start = np.asarray(params, np.float64), [], 0

    def take(*shape):
        nonlocal start
        start += int(np.prod(shape))
        return params[start - int(np.prod(shape)) : start].reshape(shape)

    w_in, b_in, w, b = take(OBS, WIDTH), take(WIDTH), take(LAYERS - 1, WIDTH, WIDTH), take(LAYERS - 1, WIDTH)
    w_out, b_out = take(WIDTH, ACT), take(ACT)
    assert start == params.size
    layers.append((w_in[:, : widths[0]], b_in[: widths[0]]))
    for k, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers.append((w[k, :inputs, :outputs], b[k, :outputs]))
    return [*layers, (w_out[: widths[-1]], b_out)]


def test_flexible_equals_numpy_on_the_active_matrices(flexible):
    """Networks of different depth in one batch; the parameters outside the active part are noise that must not count
    once the mask is applied."""
    noise = jax.random.normal(KEY, (len(TOPOLOGIES), flexible.num_params))
    topologies = jnp.array(TOPOLOGIES)
    params = jnp.where(jax.jit(jax.vmap(flexible.topology.mask))(topologies), noise, 0.0)
    x = np.array([0.5, -1.0, 2.0])
    output = jax.jit(jax.vmap(flexible.apply, (0, None, 0)))(params, jnp.asarray(x, jnp.float32), topologies)
    layers = jax.jit(jax.vmap(flexible.activations, (0, None, 0)))(params, jnp.asarray(x, jnp.float32), topologies)
    for i, topology in enumerate(TOPOLOGIES):
        widths = [w for w in topology if w]
        expected = x
        for depth, (weights, bias) in enumerate(active_layers(noise[i], widths)):
            expected = expected @ weights + bias
            if depth < len(widths):
                expected = np.tanh(expected)
                np.testing.assert_allclose(layers[depth][i, : widths[depth]], expected, atol=1e-5)
        np.testing.assert_allclose(output[i], expected, atol=1e-5)
        np.testing.assert_allclose(layers[-1][i], expected, atol=1e-5)


def test_a_genome_of_another_policy_is_refused():
    with pytest.raises(ValueError, match=r"the policy's 44 parameters, got \(10,\)"):
        networks.policy_step(networks.mlp(3, 4, (5,)), genome_of(jnp.zeros(10)))


def test_policy_step_hands_the_topology_on(flexible):
    params, x = start(flexible), jnp.ones(OBS)
    outputs = []
    for topology in TOPOLOGIES[:2]:
        carry, output = networks.policy_step(flexible, genome_of(params, topology))(None, x)
        assert carry is None
        np.testing.assert_allclose(output, flexible.apply(params, x, jnp.array(topology)))
        outputs.append(output)
    assert not np.allclose(*outputs)


def test_flexible_starts_uniformly(flexible):
    layers = active_layers(start(flexible), [WIDTH] * LAYERS)
    assert_uniform(np.concatenate([np.ravel(x) for x in layers[0]]), OBS)
    assert_uniform(np.concatenate([np.ravel(x) for layer in layers[1:] for x in layer]), WIDTH)


def test_first_topologies_are_drawn_from_the_choices(flexible):
    drawn = np.asarray(jax.jit(jax.vmap(flexible.topology.init))(jax.random.split(KEY, 2000)))
    depth = (drawn > 0).sum(axis=1)
    assert set(depth) == {1, 3}
    assert abs(np.mean(depth == 1) - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert np.all((drawn > 0) == (np.arange(LAYERS) < depth[:, None]))  # active layers come first
    deep = drawn[depth == 3, :3]
    assert set(deep.ravel()) == {8, 10}
    assert abs(np.mean(deep == 8) - 0.5) < 5 * 0.5 / np.sqrt(deep.size)
    assert abs(np.corrcoef(deep.T)[0, 1]) < 5 / np.sqrt(len(deep))  # the widths are independent


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (lambda: networks.mlp(0, 1), "obs", 0),
        (lambda: networks.mlp(3, 1.5), "act", 1.5),
        (lambda: networks.mlp(3, 1, (8, -2)), "hidden", -2),
        (lambda: networks.cnn(act=0), "act", 0),
        (lambda: networks.cnn(3, (15, 96, 3)), "image", 15),
        (lambda: networks.cnn(3, (96, 96, 0)), "channels", 0),
        (lambda: networks.recurrent(3, 1, hidden=0), "hidden", 0),
        (lambda: networks.flexible_mlp(3, 1, max_layers=0), "max_layers", 0),
        (lambda: networks.flexible_mlp(3, 1, max_width=7), "max_width", 7),
        (lambda: networks.flexible_mlp(3, 1, max_layers=2, initial_layers=(1, 3)), "initial_layers", 3),
        (lambda: networks.flexible_mlp(3, 1, max_width=32), "initial_widths", 48),
        (lambda: networks.flexible_mlp(3, 1, initial_widths=(4,)), "initial_widths", 4),
        (lambda: networks.flexible_mlp(3, 1, initial_layers=()), "initial_layers", ""),
    ],
)
def test_errors_name_the_field_and_the_value(make, field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        make()
