import jax.numpy as jnp
import numpy as np
import pytest


def dynamics_in_numpy(count, dim=4, length=20, noise=0.01, seed=0):
    """The states of `linear_dynamics`, drawn by NumPy."""
    rng = np.random.default_rng(seed)
    w = np.linalg.qr(rng.normal(size=(count, dim, dim)))[0]
    states = [rng.uniform(-1, 1, size=(count, dim))]
    for _ in range(length):
        states.append(np.einsum("bij,bj->bi", w, states[-1]) + noise * rng.normal(size=(count, dim)))
    return jnp.asarray(np.stack(states, axis=1), jnp.float32)


def solved_in_numpy(keys, values, queries, regularisation):
    """The least squares problem of every position, solved anew, in float64."""
    found = []
    for t in range(len(keys)):
        k, v = (np.asarray(x[: t + 1], np.float64) for x in (keys, values))
        inverse = np.linalg.inv(k.T @ k + regularisation * np.eye(k.shape[1]))
        found.append(v.T @ k @ inverse @ np.asarray(queries[t], np.float64))
    return np.array(found)


@pytest.fixture(scope="session", name="dynamics_in_numpy")
def _dynamics_in_numpy():
    return dynamics_in_numpy


@pytest.fixture(scope="session", name="solved_in_numpy")
def _solved_in_numpy():
    return solved_in_numpy
