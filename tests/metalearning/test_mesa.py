import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator import metalearning, rollout
from neuralmutator.metalearning import mesa

DRAW = mesa.linear_dynamics(dim=4, length=20)


def dynamics_in_numpy(count, dim=4, length=20, noise=0.01, seed=0):
    """The states of `linear_dynamics`, drawn by NumPy."""
    rng = np.random.default_rng(seed)
    w = np.linalg.qr(rng.normal(size=(count, dim, dim)))[0]
    states = [rng.uniform(-1, 1, size=(count, dim))]
    for _ in range(length):
        states.append(np.einsum("bij,bj->bi", w, states[-1]) + noise * rng.normal(size=(count, dim)))
    return jnp.asarray(np.stack(states, axis=1), jnp.float32)


scanned = jax.jit(mesa.least_squares)
chunked = jax.jit(mesa.chunked_least_squares, static_argnums=4)


def solved_in_numpy(keys, values, queries, regularisation):
    """The least squares problem of every position, solved anew, in float64."""
    found = []
    for t in range(len(keys)):
        k, v = (np.asarray(x[: t + 1], np.float64) for x in (keys, values))
        inverse = np.linalg.inv(k.T @ k + regularisation * np.eye(k.shape[1]))
        found.append(v.T @ k @ inverse @ np.asarray(queries[t], np.float64))
    return np.array(found)


def drawn(seed, length, size, width):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=(length, n)), jnp.float32) for n in (size, width, size)]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**16), regularisation=st.sampled_from([0.01, 0.3, 10.0]))
def test_the_layer_solves_least_squares_at_every_position(seed, regularisation):
    heads = drawn(seed, 12, 3, 2)
    expected = solved_in_numpy(*heads, regularisation)
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(scanned(*heads, regularisation), expected, atol=atol)
    # 5 divides 12 no more than 32 does: the last chunk is filled up.
    np.testing.assert_allclose(chunked(*heads, regularisation, 5), expected, atol=atol)
    np.testing.assert_allclose(chunked(*heads, regularisation, 32), expected, atol=atol)


def test_chunks_give_what_a_scan_gives_and_so_do_their_gradients():
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


def test_rotations_are_orthogonal_and_uniform():
    """Moments of the Haar measure: E w² = 1/D, E w⁴ = 3 / (D (D + 2)), E tr² = 1, E det = 0."""
    normals = np.random.default_rng(0).normal(size=(4, 20_000, 4)).astype(np.float32)
    found = np.asarray(jax.jit(mesa.rotations)(normals))
    np.testing.assert_allclose(np.einsum("bij,bkj->bik", found, found), np.tile(np.eye(4), (20_000, 1, 1)), atol=2e-6)
    np.testing.assert_allclose((found**2).mean(0), 1 / 4, atol=0.01)
    np.testing.assert_allclose((found**4).mean(0), 3 / 24, atol=0.01)
    np.testing.assert_allclose(found.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(np.mean(np.trace(found, axis1=1, axis2=2) ** 2), 1, atol=0.05)
    np.testing.assert_allclose(np.linalg.det(found).mean(), 0, atol=0.03)


def test_dynamics_are_linear():
    draw = mesa.linear_dynamics(dim=3, length=12, noise=0.0, radius=0.9)
    states = np.asarray(jax.jit(lambda key: draw(key, 5))(jax.random.key(0)))
    assert states.shape == (5, 13, 3) and np.abs(states[:, 0]).max() <= 1
    for each in states:
        w = np.linalg.lstsq(each[:4], each[1:5], rcond=None)[0].T
        np.testing.assert_allclose(each[:-1] @ w.T, each[1:], atol=1e-4)
        np.testing.assert_allclose(w @ w.T, 0.81 * np.eye(3), atol=1e-3)
    noisy = mesa.linear_dynamics(dim=10, length=1, noise=0.5, start=lambda key, shape: jnp.full(shape, 2.0))
    states = np.asarray(jax.jit(lambda key: noisy(key, 2000))(jax.random.key(2)))
    assert (states[:, 0] == 2).all()
    # The variance is that of 2 W 1, which is 4, and that of the noise.
    np.testing.assert_allclose(np.var(states[:, 1]), 4 + 0.25, rtol=0.05)


def test_tokens_hold_no_future():
    states = jnp.arange(12.0).reshape(4, 3)
    tokens = np.asarray(mesa.constructed_tokens(states))
    assert tokens.shape == (3, 12) and (tokens[:, :3] == 0).all()
    np.testing.assert_array_equal(tokens[:, 3:6], states[:3])
    np.testing.assert_array_equal(tokens[:, 6:9], states[:3])
    np.testing.assert_array_equal(tokens[:, 9:], [[0, 0, 0], *states[:2]])
    np.testing.assert_array_equal(mesa.states_alone(states), states[:3])


@pytest.mark.parametrize("chunk", [None, 8])
def test_constructed_weights_are_ridge_regression(chunk):
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


def test_learnt_tokens_see_one_state_and_its_position():
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


def test_errors_are_halved_sums_and_a_loss_is_their_mean():
    states = np.asarray(dynamics_in_numpy(50))
    found = mesa.errors(lambda states: jnp.zeros((20, 4)), states)
    np.testing.assert_allclose(found, 0.5 * np.mean(np.sum(states[:, 1:] ** 2, -1), 0), rtol=1e-5)
    network = mesa.transformer([mesa.linear(20)], dim=4)
    loss = mesa.sequence_loss(network, DRAW, 30)

    @jax.jit
    def both(key, params):
        return loss(key, params), DRAW(key, 30), network.apply(params, mesa.constructed_tokens(DRAW(key, 30)[7]))

    value, drawn, prediction = both(jax.random.key(0), jnp.zeros(network.num_params))
    assert drawn.shape == (30, 21, 4) and (prediction == 0).all()
    np.testing.assert_allclose(value, 0.5 * np.mean(np.sum(np.asarray(drawn)[:, 1:] ** 2, -1)), rtol=1e-5)


def test_few_shot_pairs_teach_only_what_they_say():
    tasks = jax.jit(lambda key: mesa.few_shot(dim=4, pairs=8)(key, 30))(jax.random.key(0))
    x, y = np.asarray(tasks.inputs[0]), np.asarray(tasks.outputs[0])
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(x @ w, y, atol=0.1)
    np.testing.assert_allclose(w @ w.T, np.eye(4), atol=0.2)
    tokens = np.asarray(mesa.pair_tokens(x, y))
    np.testing.assert_array_equal(tokens[4], np.concatenate([np.zeros(4), x[2], x[2], np.zeros(4)]))
    np.testing.assert_array_equal(tokens[5], np.concatenate([np.zeros(4), y[2], y[2], x[2]]))
    np.testing.assert_array_equal(mesa.pair_states(x, y)[4:6], [x[2], y[2]])

    network = mesa.transformer([mesa.mesa()], dim=4)
    params = mesa.construction(network, dim=4, regularisation=0.01)
    errors = jax.jit(mesa.few_shot_errors, static_argnums=(0, 3))
    found = errors(network, params, tasks)
    expected = []
    for inputs, outputs in zip(*(np.asarray(part, np.float64) for part in tasks), strict=True):
        guesses = [np.zeros(4)]
        for t in range(1, 8):
            k, v = inputs[:t], outputs[:t]
            guesses.append(v.T @ k @ np.linalg.inv(k.T @ k + 0.01 * np.eye(4)) @ inputs[t])
        expected.append(0.5 * np.sum((np.array(guesses) - outputs) ** 2, axis=1))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(mesa.few_shot_ridge)(tasks, 0.01), np.mean(expected, axis=0), rtol=1e-3, atol=1e-5
    )
    # As one sequence every second pair is wrong.
    assert errors(network, params, tasks, False)[-1] > 5 * found[-1]


@pytest.mark.slow
def test_one_trained_mesa_layer_is_nearly_ridge_and_one_of_linear_attention_far_from_it():
    draw = mesa.linear_dynamics()
    test = dynamics_in_numpy(500, 10, 50)
    reached = {}
    for name, attention in (("mesa", mesa.mesa(8)), ("linear", mesa.linear())):
        network = mesa.transformer([attention])
        optimizer = metalearning.clipped_adam(1e-2, 1.0, steps=500, warm_up=25)
        trainer = metalearning.training(network, mesa.sequence_loss(network, draw), optimizer)
        run = jax.jit(lambda key, trainer=trainer: rollout(trainer.step, key, trainer.init(key), 500))
        state, _ = run(jax.random.key(0))
        reached[name] = mesa.errors(mesa.predictor(network, state.params), test).mean()
    best = mesa.errors(mesa.ridge, test).mean()
    assert best < reached["mesa"] < 1.12 * best
    assert reached["mesa"] < 0.3 * reached["linear"]


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
        (lambda: mesa.linear_dynamics(length=0), "length must be a whole number of at least 1, got 0"),
        (lambda: mesa.linear_dynamics(noise=-1), "noise must be a finite number of at least 0, got -1"),
        (lambda: mesa.ridge(jnp.zeros((1, 10))), "states must have shape (T + 1, D) with at least 1 pair, got (1, 10)"),
        (lambda: mesa.ridge(jnp.zeros((5, 10)), 0), "regularisation must be a finite number above 0, got 0"),
        (lambda: mesa.few_shot(pairs=0), "pairs must be a whole number of at least 1, got 0"),
        (
            lambda: mesa.pair_tokens(jnp.zeros((0, 10)), jnp.zeros((0, 10))),
            "inputs and outputs must have one shape (N, D) with N at least 1, got (0, 10) and (0, 10)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
