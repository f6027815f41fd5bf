import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.metalearning import mesa


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


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mesa.linear_dynamics(length=0), "length must be a whole number of at least 1, got 0"),
        (lambda: mesa.linear_dynamics(noise=-1), "noise must be a finite number of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
