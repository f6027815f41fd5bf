import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.metalearning import in_context


def linear_in_numpy(count, dim=10, pairs=10, span=1.0, spread=1.0):
    """The tasks of `linear_tasks`, drawn by NumPy."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-span / 2, span / 2, size=(count, pairs + 1, dim))
    y = np.einsum("bnd,bd->bn", x, spread * rng.normal(size=(count, dim)))
    tokens = np.concatenate([x, y[..., None]], axis=2)
    tokens[:, -1, -1] = 0
    return in_context.Tasks(jnp.asarray(tokens, jnp.float32), jnp.asarray(y[:, -1], jnp.float32))


@pytest.fixture(scope="session", name="linear_in_numpy")
def _linear_in_numpy():
    return linear_in_numpy


@pytest.fixture(scope="session", name="tasks")
def _tasks():
    return linear_in_numpy(64)
