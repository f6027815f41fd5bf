import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import envs, networks

KEY = jax.random.key(0)


def test_cnn_equals_numpy(dense_layers):
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


def test_cnn_starts_with_the_variances_of_he(assert_uniform):
    flat = jax.jit(networks.cnn().init)(KEY)
    # outputs, fan_in, variance times fan_in
    sizes = [(8, 48, 2), (16, 128, 2), (16, 256, 2), (8, 256, 2), (32, 288, 1), (3, 32, 1)]
    for outputs, fan_in, variance in sizes:
        bias, weights, flat = np.split(flat, [outputs, outputs * (fan_in + 1)])
        assert_uniform(weights, fan_in, variance)
        np.testing.assert_array_equal(bias, 0)
    assert flat.size == 0


@pytest.mark.slow
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


@pytest.mark.parametrize("shape", [(10, 10, 4), (10, 5), (8, 8), (1, 1), (3, 40, 2)])
def test_a_small_cnn_equals_numpy(shape, start, dense_layers):
    network = networks.cnn(3, shape)
    height, width, channels = (*shape, 1)[:3]
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    params = start(network)
    flat = np.asarray(params, np.float64)
    size = 8 * (9 * channels + 1)
    [(kernel, bias)] = dense_layers(flat[:size], (9 * channels, 8))
    padded = np.pad(image.reshape(height, width, channels), ((1, 1), (1, 1), (0, 0)))
    x = np.zeros((height, width, 8))
    for i in range(height):
        for j in range(width):
            x[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel.reshape(3, 3, channels, 8), 3) + bias
    seen = np.maximum(x, 0)
    (w_1, b_1), (w_2, b_2) = dense_layers(flat[size:], (seen.size, 32, 3))
    layers = jax.jit(network.activations)(params, jnp.asarray(image))
    np.testing.assert_allclose(layers[0], seen, atol=1e-5)
    output = np.tanh(seen.ravel() @ w_1 + b_1) @ w_2 + b_2
    np.testing.assert_allclose(jax.jit(network.apply)(params, jnp.asarray(image)), output, atol=1e-5)


def test_a_small_cnn_starts_with_the_variances_of_he(start, assert_uniform, dense_layers):
    flat = start(networks.cnn(4, (9, 7, 5)))
    size = 8 * (9 * 5 + 1)
    for part, sizes, variance in ((flat[:size], (45, 8), 2), (flat[size:], (9 * 7 * 8, 32, 4), 1)):
        for (weights, bias), fan_in in zip(dense_layers(part, sizes), sizes, strict=False):
            assert_uniform(weights, fan_in, variance)
            np.testing.assert_array_equal(bias, 0)


def test_bytes_of_a_small_image_count_as_shares():
    network = networks.cnn(2, (4, 4, 1))
    image = jnp.arange(16, dtype=jnp.uint8).reshape(4, 4, 1) * 17
    params = network.init(KEY)
    np.testing.assert_allclose(network.apply(params, image), network.apply(params, image / 255), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (lambda: networks.cnn(act=0), "act", 0),
        (lambda: networks.cnn(3, (96, 96, 0)), "channels", 0),
        (lambda: networks.cnn(3, (0, 4)), "height", 0),
        (lambda: networks.cnn(3, (96, 96)), "image must have channels", 96),
        (lambda: networks.cnn(3, (4,)), "image", 4),
    ],
)
def test_errors_name_the_field_and_the_value(make, field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        make()
