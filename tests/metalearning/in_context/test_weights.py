from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator.metalearning import in_context

NOTHING = in_context.Tasks(jnp.zeros((1, 2, 11)), jnp.zeros(1))


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


@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize("plus", [False, True])
def test_the_construction_is_gradient_descent(tasks, looped, plus):
    layers = 3
    rates = np.array([5.0]) if looped else np.array([5.0, 3.0, 7.0])
    shrinks = 0.3 * rates if plus else 0 * rates
    network = in_context.linear_attention(layers=layers, looped=looped)
    params = in_context.construction(rates, shrinks if plus else None)
    assert params.shape == (network.num_params,) == (484 * len(rates),)
    found = predictions(network, params, tasks.tokens)
    repeat = layers if looped else 1
    np.testing.assert_allclose(
        found, steps_in_numpy(tasks.tokens, np.tile(rates, repeat), np.tile(shrinks, repeat)), atol=1e-5
    )
    make = in_context.gd_plus_plus if plus else in_context.gradient_descent
    other = make(steps=layers, looped=looped)
    theirs = predictions(other, jnp.asarray(np.concatenate([rates, shrinks])[: other.num_params]), tasks.tokens)
    np.testing.assert_allclose(found, theirs, atol=1e-5)


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


def test_an_interpolation_begins_and_ends_with_the_two(tasks):
    network = in_context.linear_attention()
    one, two = (in_context.canonical(in_context.construction(rate)) for rate in (3.0, 9.0))
    found = in_context.interpolate(network, one, two, tasks, 5)
    # Between two of them lies gradient descent with the rate between.
    loss = jax.jit(lambda rate: in_context.mean_loss(in_context.gradient_descent(), rate, tasks))
    expected = [loss(jnp.array([rate])) for rate in (3.0, 4.5, 6.0, 7.5, 9.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: in_context.construction(jnp.ones(2), jnp.ones(3)),
            "rates and shrinks must have one shape (K,), got (2,) and (3,)",
        ),
        (lambda: in_context.canonical(jnp.zeros(483)), "params must have shape (L * 484,), got (483,)"),
        (
            lambda: in_context.interpolate(in_context.linear_attention(), jnp.zeros(484), jnp.zeros(968), NOTHING),
            "params and other must have one shape, got (484,) and (968,)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
