from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import metalearning, rollout
from neuralmutator.metalearning import in_context


@partial(jax.jit, static_argnums=0)
def predictions(network, params, tokens):
    return jax.vmap(network.apply, (None, 0))(params, tokens)


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
def test_a_query_is_answered_without_the_pairs_tokens(tasks, layers):
    """Few layers of linear attention take another way than the tokens that `activations` gives."""
    network = in_context.linear_attention(layers=layers, looped=False)
    params = jnp.asarray(0.4 * np.random.default_rng(layers).normal(size=network.num_params), jnp.float32)
    tokens = tasks.tokens[:8]
    slow = jax.jit(jax.vmap(lambda tokens: network.activations(params, tokens)[-1]))(tokens)
    np.testing.assert_allclose(predictions(network, params, tokens), slow, rtol=1e-3, atol=1e-4 * np.abs(slow).max())


def test_a_loop_is_a_stack_of_equal_layers_and_tokens_are_clipped(tasks):
    looped = in_context.linear_attention(layers=3, clip=0.4)
    stack = in_context.linear_attention(layers=3, looped=False, clip=0.4)
    params = jnp.asarray(0.3 * np.random.default_rng(0).normal(size=484), jnp.float32)
    assert (looped.num_params, stack.num_params) == (484, 3 * 484)
    seen = looped.activations(params, tasks.tokens[0])
    np.testing.assert_allclose(seen[-1], stack.apply(jnp.tile(params, 3), tasks.tokens[0]), rtol=1e-6)
    np.testing.assert_allclose(seen[-1], looped.apply(params, tasks.tokens[0]), rtol=1e-6)
    assert max(np.abs(x).max() for x in seen[:-1]) == pytest.approx(0.4)


def test_fresh_weights_have_the_papers_spread():
    network = in_context.linear_attention()
    params = np.asarray(jax.jit(lambda key: jax.vmap(network.init)(jax.random.split(key, 40)))(jax.random.key(0)))
    np.testing.assert_allclose(params.std(), (0.002 / 11) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(np.abs(params).max(), 2 * (0.002 / 11) ** 0.5 / 0.8796, rtol=0.02)


@pytest.mark.slow
def test_a_trained_layer_is_gradient_descent(linear_in_numpy):
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
        (lambda: in_context.linear_attention(layers=0), "layers must be a whole number of at least 1, got 0"),
        (lambda: in_context.softmax_attention(clip=0), "clip must be a finite number above 0, got 0"),
        (
            lambda: in_context.linear_attention().apply(jnp.zeros(484), jnp.zeros((1, 11))),
            "tokens must have shape (N + 1, 11) with at least 1 pair, got (1, 11)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
