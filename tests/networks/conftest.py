"""What the tests of networks share: parameters cut by hand, and the statistics of first parameters."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome

KEY = jax.random.key(0)


def start(network):
    return jax.jit(network.init)(KEY)


def genome_of(params, topology=()):
    return Genome(params, None, None, jnp.array(topology, jnp.int32), jnp.float32(0))


def dense_layers(params, sizes):
    """(weights [inputs, outputs], bias) of every layer in float64; flax keeps the bias before its kernel."""
    params, layers = np.asarray(params, np.float64), []
    for inputs, outputs in itertools.pairwise(sizes):
        bias, kernel, params = np.split(params, [outputs, outputs * (inputs + 1)])
        layers.append((kernel.reshape(inputs, outputs), bias))
    assert params.size == 0
    return layers


def assert_uniform(values, fan_in, variance=1 / 3):
    """Are these numbers uniform around 0, of variance `variance` / fan_in? U(-1, 1) / sqrt(fan_in) by default."""
    unit = np.asarray(values).ravel() * (fan_in / variance / 3) ** 0.5
    n = unit.size
    assert np.abs(unit).max() <= 1 + 1e-6
    assert np.abs(unit).max() > 1 - 12 / n
    assert abs(unit.mean()) < 5 / np.sqrt(3 * n)
    assert abs((unit**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / n)


@pytest.fixture(scope="session", name="start")
def start_fixture():
    return start


@pytest.fixture(scope="session", name="genome_of")
def genome_of_fixture():
    return genome_of


@pytest.fixture(scope="session", name="dense_layers")
def dense_layers_fixture():
    return dense_layers


@pytest.fixture(scope="session", name="assert_uniform")
def assert_uniform_fixture():
    return assert_uniform
