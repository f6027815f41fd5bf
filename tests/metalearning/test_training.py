import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from neuralmutator import metalearning, networks, rollout

NETWORK = networks.from_functions(lambda key: jax.random.normal(key, (3,)), lambda params, x: params @ x)
TARGET = jnp.array([1.0, -2.0, 0.5])


def loss(key, params):
    return jnp.sum((params - TARGET) ** 2) + 1e-3 * jax.random.normal(key)


def test_a_step_is_one_of_the_optimiser():
    trainer = metalearning.training(NETWORK, loss, optax.sgd(0.25))
    state = trainer.init(jax.random.key(0))
    np.testing.assert_array_equal(state.params, NETWORK.init(jax.random.key(0)))
    after, info = trainer.step(jax.random.key(1), state)
    np.testing.assert_allclose(after.params, state.params - 0.5 * (state.params - TARGET), rtol=1e-5)
    np.testing.assert_allclose(info.loss, loss(jax.random.key(1), state.params), rtol=1e-6)
    assert not info.skipped


def test_a_gradient_that_is_not_finite_changes_nothing():
    trainer = metalearning.training(NETWORK, lambda key, params: jnp.exp(1e3 * jnp.abs(params[0])), optax.adam(0.1))
    before = trainer.init(jax.random.key(0))
    after, info = trainer.step(jax.random.key(1), before)
    assert info.skipped
    np.testing.assert_array_equal(after.params, before.params)
    jax.tree.map(np.testing.assert_array_equal, after.optimizer.inner_state, before.optimizer.inner_state)


def test_a_rollout_learns_and_seeds_are_a_map_over_keys():
    trainer = metalearning.training(NETWORK, loss, metalearning.clipped_adam(0.1, 1.0, steps=200, warm_up=10))
    run = jax.jit(lambda key: rollout(trainer.step, key, trainer.init(key), 200)[0].params)
    keys = jax.random.split(jax.random.key(0), 2)
    found = jax.lax.map(run, keys)
    np.testing.assert_allclose(found, np.tile(TARGET, (2, 1)), atol=0.01)
    np.testing.assert_allclose(found[1], run(keys[1]), atol=1e-6)


def test_a_gradient_is_cut_before_adam_sees_it():
    optimizer = metalearning.clipped_adam(0.1, clip=0.01)
    params = jnp.zeros(2)
    memory = optimizer.init(params)
    _, memory = optimizer.update(jnp.array([3.0, 4.0]), memory, params)
    found = [x for x in jax.tree.leaves(memory) if jnp.shape(x) == (2,)]
    np.testing.assert_allclose(found[0], 0.1 * np.array([0.006, 0.008]), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metalearning.clipped_adam(0), "learning_rate must be a finite number above 0, got 0"),
        (lambda: metalearning.clipped_adam(clip=-1), "clip must be a finite number above 0, got -1"),
        (lambda: metalearning.clipped_adam(steps=0), "steps must be a whole number of at least 1, got 0"),
        (lambda: metalearning.clipped_adam(steps=5, warm_up=-1), "warm_up must be a whole number of at least 0"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        call()
