import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.metalearning import mesa


@pytest.mark.parametrize("chunk", [None, 8])
def test_constructed_weights_are_ridge_regression(dynamics_in_numpy, solved_in_numpy, chunk):
    states = dynamics_in_numpy(8, 10, 50)
    network = mesa.transformer([mesa.mesa(chunk)])
    params = mesa.construction(network, regularisation=1e-3)
    predict = jax.jit(jax.vmap(mesa.predictor(network, params)))
    now = np.asarray(states[:, :-1])
    before = np.concatenate([np.zeros_like(now[:, :1]), now[:, :-1]], axis=1)
    expected = [solved_in_numpy(k, v, v, 1e-3) for k, v in zip(before, now, strict=True)]
    np.testing.assert_allclose(predict(states), expected, atol=1e-4)
    np.testing.assert_allclose(jax.jit(jax.vmap(mesa.ridge))(states), expected, atol=1e-4)


def test_a_network_of_two_layers_in_numpy():
    network = mesa.transformer([mesa.linear(5), mesa.softmax()], dim=2, key_size=3, heads=2, clip=1.0)
    params = jnp.asarray(0.5 * np.random.default_rng(1).normal(size=network.num_params), jnp.float32)
    tokens = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    found = jax.jit(network.activations)(params, tokens)
    parts, start = [], 0
    for size, shape in zip(network.sizes, 2 * [(2, 8, 3), (2, 3, 8), (2, 8, 3), (2, 8, 3)], strict=True):
        parts.append(np.asarray(params[start : start + size]).reshape(shape))
        start += size
    stream, seen = tokens, np.tril(np.ones((5, 5)))
    for layer, (keys, outputs, queries, values) in enumerate((parts[:4], parts[4:])):
        given = 0
        for head in range(2):
            scores = (stream @ queries[head]) @ (stream @ keys[head]).T
            soft = seen * np.exp(scores / np.sqrt(3))
            weights = seen * scores / 5 if layer == 0 else soft / soft.sum(axis=1, keepdims=True)
            given = given + weights @ (stream @ values[head]) @ outputs[head]
        stream = np.clip(stream + given, -1, 1)
        np.testing.assert_allclose(found[layer], stream, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[2], stream[:, :2], rtol=1e-3, atol=1e-4)


def test_learnt_tokens_see_one_state_and_its_position(dynamics_in_numpy):
    layers = [mesa.softmax(), mesa.linear(20)]
    network = mesa.transformer(layers, dim=4, embedding=True)
    assert sum(network.sizes) == network.num_params == 12 * 16 + 2 * 4 * 16 * 20
    params = jnp.asarray(0.3 * np.random.default_rng(1).normal(size=network.num_params), jnp.float32)
    states = dynamics_in_numpy(1)[0]
    codes = np.asarray(mesa.positions(20, 8))
    np.testing.assert_allclose(codes[:, :4] ** 2 + codes[:, 4:] ** 2, 1, rtol=1e-5)
    np.testing.assert_allclose(codes[:, 0], np.sin(np.arange(20)), atol=1e-5)
    stream = jnp.concatenate([states[:-1], codes], axis=1) @ params[: 12 * 16].reshape(12, 16)
    bare = mesa.transformer(layers, dim=4)
    found, expected = jax.jit(
        lambda params: (network.apply(params, mesa.states_alone(states)), bare.apply(params[12 * 16 :], stream))
    )(params)
    assert found.shape == (20, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mesa.transformer([]), "layers must hold at least one attention, got none"),
        (lambda: mesa.transformer([mesa.mesa()], regularisation=-1), "regularisation must be a finite number above 0"),
        (lambda: mesa.transformer([mesa.mesa()], width=5), "width must be a whole number of at least 10, got 5"),
        (
            lambda: mesa.transformer([mesa.softmax()]).apply(jnp.zeros(3200), jnp.zeros((5, 10))),
            "tokens must have shape (T, 40) with T at least 1, got (5, 10)",
        ),
        (
            lambda: mesa.construction(mesa.transformer([mesa.linear()])),
            "network must be one mesa-layer of one head of size 20 on tokens of 40, got one of 3200 parameters",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
