from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator import metalearning, networks, rollout
from neuralmutator.metalearning import in_context


def linear_in_numpy(count, dim=10, pairs=10, span=1.0, spread=1.0):
    """The tasks of `linear_tasks`, drawn by NumPy."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-span / 2, span / 2, size=(count, pairs + 1, dim))
    y = np.einsum("bnd,bd->bn", x, spread * rng.normal(size=(count, dim)))
    tokens = np.concatenate([x, y[..., None]], axis=2)
    tokens[:, -1, -1] = 0
    return in_context.Tasks(jnp.asarray(tokens, jnp.float32), jnp.asarray(y[:, -1], jnp.float32))


TASKS = linear_in_numpy(64)


@partial(jax.jit, static_argnums=0)
def predictions(network, params, tokens):
    return jax.vmap(network.apply, (None, 0))(params, tokens)


def steps_in_numpy(tokens, rates, shrinks):
    """Predictions of a linear model after steps of gradient descent on its weights, f64[B]; inputs may shrink."""
    predictions = []
    for each in np.asarray(tokens, np.float64):
        x, y, query = each[:-1, :-1], each[:-1, -1], each[-1, :-1]
        residuals, prediction = y, 0.0
        for rate, shrink in zip(rates, shrinks, strict=True):
            w = rate * np.mean(residuals[:, None] * x, axis=0)
            residuals, prediction = residuals - x @ w, prediction + w @ query
            curvature = np.eye(x.shape[1]) - shrink * x.T @ x / len(x)
            x, query = x @ curvature, curvature @ query
        predictions.append(prediction)
    return np.array(predictions)


def test_tasks_are_linear_and_hide_the_answer():
    draw = in_context.linear_tasks(dim=3, pairs=5, span=4.0, spread=2.0)
    tokens, answers = map(np.asarray, jax.jit(lambda key: draw(key, 4000))(jax.random.key(0)))
    assert tokens.shape == (4000, 6, 4) and (tokens[:, -1, -1] == 0).all()
    w = np.linalg.lstsq(tokens[0, :-1, :-1], tokens[0, :-1, -1], rcond=None)[0]
    np.testing.assert_allclose(tokens[0, -1, :-1] @ w, answers[0], rtol=1e-4)
    assert np.abs(tokens[..., :-1]).max() <= 2
    np.testing.assert_allclose(np.var(tokens[..., :-1]), 16 / 12, rtol=0.02)
    np.testing.assert_allclose(np.var(answers), 3 * 4 * 16 / 12, rtol=0.15)


def test_sines_have_the_papers_amplitudes():
    tokens, answers = map(np.asarray, jax.jit(lambda key: in_context.sine_tasks()(key, 4000))(jax.random.key(0)))
    assert tokens.shape == (4000, 11, 2) and np.abs(tokens[..., 0]).max() <= 5
    # The mean square of a sine over some periods is a² / 2, and E a² = (0.5³ - 0.1³) / (3 · 0.4).
    np.testing.assert_allclose(np.mean(tokens[:, :-1, 1] ** 2), 0.124 / 1.2 / 2, rtol=0.06)
    assert 0.4 < np.abs(answers).max() <= 0.5


@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize("plus", [False, True])
def test_the_construction_is_gradient_descent(looped, plus):
    layers = 3
    rates = np.array([5.0]) if looped else np.array([5.0, 3.0, 7.0])
    shrinks = 0.3 * rates if plus else 0 * rates
    network = in_context.linear_attention(layers=layers, looped=looped)
    params = in_context.construction(rates, shrinks if plus else None)
    assert params.shape == (network.num_params,) == (484 * len(rates),)
    found = predictions(network, params, TASKS.tokens)
    repeat = layers if looped else 1
    np.testing.assert_allclose(
        found, steps_in_numpy(TASKS.tokens, np.tile(rates, repeat), np.tile(shrinks, repeat)), atol=1e-5
    )
    make = in_context.gd_plus_plus if plus else in_context.gradient_descent
    other = make(steps=layers, looped=looped)
    theirs = predictions(other, jnp.asarray(np.concatenate([rates, shrinks])[: other.num_params]), TASKS.tokens)
    np.testing.assert_allclose(found, theirs, atol=1e-5)


def test_a_closed_form_is_the_papers_and_that_of_monte_carlo():
    rate, loss = in_context.optimal_step()
    assert rate == pytest.approx(6.0606, abs=1e-4) and loss == pytest.approx(0.206229, abs=1e-6)
    rate, loss = in_context.optimal_step(dim=2, pairs=3, span=2.0, spread=0.5)
    network = in_context.gradient_descent(2)
    found = in_context.tune(network, linear_in_numpy(200_000, 2, 3, 2.0, 0.5), [0.0], [5.0])
    np.testing.assert_allclose(found.params[0], rate, rtol=0.02)
    np.testing.assert_allclose(found.loss, loss, rtol=0.01)
    # Where the inputs are far more than their dimensions, one step solves the task.
    assert in_context.optimal_step(dim=1, pairs=10**6)[1] < 1e-7


def test_a_scan_finds_the_best_pair_of_numbers():
    network = in_context.gd_plus_plus(steps=2)
    found = in_context.tune(network, TASKS, [0.0, 0.0], [30.0, 5.0], points=8, rounds=3)
    loss = jax.jit(lambda params: in_context.mean_loss(network, params, TASKS))
    np.testing.assert_allclose(found.loss, loss(found.params), rtol=1e-5)
    for change in np.array([[0.5, 0], [-0.5, 0], [0, 0.1], [0, -0.1]], np.float32):
        assert found.loss <= loss(found.params + change)
    plain = in_context.tune(in_context.gradient_descent(steps=2), TASKS, [0.0], [20.0])
    assert found.loss < plain.loss


def test_one_layer_in_numpy():
    network = in_context.linear_attention(dim=2)
    params = 0.3 * np.random.default_rng(0).normal(size=network.num_params).astype(np.float32)
    query, key, value, projection = params.reshape(4, 3, 3)
    h = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    c = h[:-1]
    after = h + (h @ query) @ (c @ key).T @ (c @ value) @ projection
    tokens, prediction = network.activations(params, h)
    np.testing.assert_allclose(tokens, after, rtol=1e-4)
    np.testing.assert_allclose([prediction, network.apply(params, h)], [-after[-1, -1]] * 2, rtol=1e-4)

    scores = (h @ query) @ (c @ key).T / np.sqrt(3)
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    after = h + weights @ (c @ value) @ projection
    np.testing.assert_allclose(in_context.softmax_attention(dim=2).activations(params, h)[0], after, rtol=1e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_query_is_answered_without_the_pairs_tokens(layers):
    """Few layers of linear attention take another way than the tokens that `activations` gives."""
    network = in_context.linear_attention(layers=layers, looped=False)
    params = jnp.asarray(0.4 * np.random.default_rng(layers).normal(size=network.num_params), jnp.float32)
    tokens = TASKS.tokens[:8]
    slow = jax.jit(jax.vmap(lambda tokens: network.activations(params, tokens)[-1]))(tokens)
    np.testing.assert_allclose(predictions(network, params, tokens), slow, rtol=1e-3, atol=1e-4 * np.abs(slow).max())


def test_a_loop_is_a_stack_of_equal_layers_and_tokens_are_clipped():
    looped = in_context.linear_attention(layers=3, clip=0.4)
    stack = in_context.linear_attention(layers=3, looped=False, clip=0.4)
    params = jnp.asarray(0.3 * np.random.default_rng(0).normal(size=484), jnp.float32)
    assert (looped.num_params, stack.num_params) == (484, 3 * 484)
    seen = looped.activations(params, TASKS.tokens[0])
    np.testing.assert_allclose(seen[-1], stack.apply(jnp.tile(params, 3), TASKS.tokens[0]), rtol=1e-6)
    np.testing.assert_allclose(seen[-1], looped.apply(params, TASKS.tokens[0]), rtol=1e-6)
    assert max(np.abs(x).max() for x in seen[:-1]) == pytest.approx(0.4)


def test_fresh_weights_have_the_papers_spread():
    network = in_context.linear_attention()
    params = np.asarray(jax.jit(lambda key: jax.vmap(network.init)(jax.random.split(key, 40)))(jax.random.key(0)))
    np.testing.assert_allclose(params.std(), (0.002 / 11) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(np.abs(params).max(), 2 * (0.002 / 11) ** 0.5 / 0.8796, rtol=0.02)


def test_features_come_first_and_leave_y_alone():
    features = networks.mlp(obs=1, act=6, hidden=(4,))
    network = in_context.linear_attention(dim=6, features=features)
    bare = in_context.linear_attention(dim=6)
    params = 0.2 * jnp.ones(network.num_params) + 5 * jax.jit(network.init)(jax.random.key(0))
    tokens = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
    made = jax.vmap(features.apply, (None, 0))(params[: features.num_params], tokens[:, :1])
    expected = bare.apply(params[features.num_params :], jnp.concatenate([made, tokens[:, 1:]], axis=1))
    np.testing.assert_allclose(network.apply(params, tokens), expected, rtol=1e-6)
    assert sum(network.sizes) == network.num_params == features.num_params + bare.num_params


def test_a_comparison_in_numpy():
    """The sensitivity of one step of gradient descent is η/N Σ y x."""
    one, two = in_context.gradient_descent(), in_context.gradient_descent(steps=2)
    found = in_context.compare(one, jnp.array([4.0]), two, jnp.array([3.0]), TASKS)
    tokens = np.asarray(TASKS.tokens, np.float64)
    x, y = tokens[:, :-1, :-1], tokens[:, :-1, -1]
    first = 0.4 * np.einsum("bn,bnd->bd", y, x)
    moved = 0.3 * np.einsum("bn,bnd->bd", y, x)
    second = moved + 0.3 * np.einsum("bn,bnd->bd", y - np.einsum("bnd,bd->bn", x, moved), x)
    answers = [np.einsum("bd,bd->b", w, tokens[:, -1, :-1]) for w in (first, second)]
    lengths = [np.linalg.norm(w, axis=1) for w in (first, second)]
    np.testing.assert_allclose(found.loss, 0.5 * np.mean((answers[0] - TASKS.answers) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.other_loss, 0.5 * np.mean((answers[1] - TASKS.answers) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.difference, np.mean(np.abs(answers[0] - answers[1])), rtol=1e-4)
    np.testing.assert_allclose(found.cosine, np.mean(np.sum(first * second, 1) / lengths[0] / lengths[1]), rtol=1e-5)
    np.testing.assert_allclose(found.distance, np.mean(np.linalg.norm(first - second, axis=1)), rtol=1e-4)


STACKS = {layers: in_context.linear_attention(dim=3, layers=layers, looped=False) for layers in (1, 2)}
STACKS = {layers: (network, jax.jit(network.apply)) for layers, network in STACKS.items()}


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**16), layers=st.integers(1, 2))
def test_canonical_weights_are_the_same_network_and_unique(seed, layers):
    network, apply = STACKS[layers]
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(layers, 4, 4, 4)) + np.eye(4)
    params = jnp.asarray(weights.ravel(), jnp.float32)
    found = in_context.canonical(params, dim=3)
    tokens = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)
    assert found.shape == (network.num_params,)
    np.testing.assert_allclose(apply(found, tokens), apply(params, tokens), rtol=2e-3, atol=1e-3)
    # Another basis for queries and keys, and a factor that moves from scores to values, change nothing.
    basis = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    query, key, value, projection = np.moveaxis(weights, 1, 0)
    same = np.stack([3 * query @ basis, key @ basis, value / 3 @ basis, basis.T @ projection], axis=1)
    again = in_context.canonical(jnp.asarray(same.ravel(), jnp.float32), dim=3)
    np.testing.assert_allclose(again, found, rtol=2e-2, atol=2e-2 * np.abs(found).max())


def test_an_interpolation_begins_and_ends_with_the_two():
    network = in_context.linear_attention()
    one, two = (in_context.canonical(in_context.construction(rate)) for rate in (3.0, 9.0))
    found = in_context.interpolate(network, one, two, TASKS, 5)
    # Between two of them lies gradient descent with the rate between.
    loss = jax.jit(lambda rate: in_context.mean_loss(in_context.gradient_descent(), rate, TASKS))
    expected = [loss(jnp.array([rate])) for rate in (3.0, 4.5, 6.0, 7.5, 9.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ratios_of_losses_beyond_the_training():
    network, other = in_context.linear_attention(), in_context.gradient_descent()
    sets = linear_in_numpy(200), linear_in_numpy(200, span=2.0)
    found = in_context.loss_ratios(network, in_context.construction(6.0), other, jnp.array([6.0]), sets)
    np.testing.assert_allclose(found, 1, rtol=1e-5)
    assert in_context.loss_ratios(other, jnp.array([12.0]), other, jnp.array([6.0]), sets)[1] > 2


@pytest.mark.slow
def test_a_trained_layer_is_gradient_descent():
    network, other = in_context.linear_attention(), in_context.gradient_descent()
    loss = in_context.task_loss(network, in_context.linear_tasks())
    trainer = metalearning.training(network, loss, metalearning.clipped_adam(3e-3, steps=1000))
    state, info = jax.jit(lambda key: rollout(trainer.step, key, trainer.init(key), 1000))(jax.random.key(0))
    tasks = linear_in_numpy(40_000)  # a loss of 0.206 with a standard error of 0.0017
    rate, least = in_context.optimal_step()
    found = in_context.compare(network, state.params, other, jnp.array([rate]), tasks)
    assert found.loss < 1.01 * found.other_loss and found.cosine > 0.99
    assert found.loss == pytest.approx(least, abs=6e-3) and info.loss[:20].mean() > 0.35
    sets = tuple(in_context.linear_tasks(span=span)(jax.random.key(6), 4000) for span in (0.5, 1.5))
    np.testing.assert_allclose(
        in_context.loss_ratios(network, state.params, other, jnp.array([rate]), sets), 1, atol=0.1
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: in_context.linear_tasks(pairs=0), "pairs must be a whole number of at least 1, got 0"),
        (lambda: in_context.linear_tasks(span=0), "span must be a finite number above 0, got 0"),
        (lambda: in_context.sine_tasks(least=0.5, most=0.1), "most must be a finite number of at least 0.5, got 0.1"),
        (lambda: in_context.linear_attention(layers=0), "layers must be a whole number of at least 1, got 0"),
        (lambda: in_context.softmax_attention(clip=0), "clip must be a finite number above 0, got 0"),
        (lambda: in_context.gradient_descent(steps=0), "steps must be a whole number of at least 1, got 0"),
        (
            lambda: in_context.linear_attention().apply(jnp.zeros(484), jnp.zeros((1, 11))),
            "tokens must have shape (N + 1, 11) with at least 1 pair, got (1, 11)",
        ),
        (
            lambda: in_context.gd_plus_plus(3).apply(jnp.zeros(2), jnp.zeros((5, 3))),
            "tokens must have shape (N + 1, 4) with at least 1 pair, got (5, 3)",
        ),
        (
            lambda: in_context.gradient_descent(3, features=networks.mlp(obs=1, act=2)).apply(
                jnp.zeros(10_000), jnp.zeros((5, 2))
            ),
            "features must give 3 numbers, got shape (2,)",
        ),
        (
            lambda: in_context.construction(jnp.ones(2), jnp.ones(3)),
            "rates and shrinks must have one shape (K,), got (2,) and (3,)",
        ),
        (lambda: in_context.optimal_step(span=-1), "span must be a finite number above 0, got -1"),
        (
            lambda: in_context.task_loss(in_context.linear_attention(), in_context.linear_tasks(), 0),
            "batch must be a whole number",
        ),
        (
            lambda: in_context.tune(in_context.gd_plus_plus(), TASKS, [0.0], [1.0]),
            "low and high must have shape (2,), got (1,) and (1,)",
        ),
        (lambda: in_context.canonical(jnp.zeros(483)), "params must have shape (L * 484,), got (483,)"),
        (
            lambda: in_context.interpolate(in_context.linear_attention(), jnp.zeros(484), jnp.zeros(968), TASKS),
            "params and other must have one shape, got (484,) and (968,)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
