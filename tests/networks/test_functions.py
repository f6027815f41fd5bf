import os
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks

KEY = jax.random.key(0)


def init(key):
    return {"w": jax.random.normal(key, (3, 2)), "b": (jnp.zeros(2),)}


def apply(params, x):
    return x @ params["w"] + params["b"][0]


def test_any_pair_of_functions_is_a_network():
    network = networks.from_functions(init, apply)
    assert network.num_params == 8
    params, x = network.init(KEY), jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_array_equal(params, np.concatenate([np.zeros(2), np.ravel(init(KEY)["w"])]))  # b before w
    np.testing.assert_allclose(jax.jit(network.apply)(params, x), np.asarray(params)[2:].reshape(3, 2).T @ x, rtol=1e-6)
    np.testing.assert_array_equal(network.activations(params, x)[-1], network.apply(params, x))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_parameters_keep_their_dtype(dtype):
    network = networks.from_functions(
        lambda key: jax.tree.map(lambda x: x.astype(dtype), init(key)), lambda params, x: params["w"][0]
    )
    assert network.init(KEY).dtype == dtype
    assert network.apply(network.init(KEY), None).dtype == dtype
    module = networks.from_flax(nn.Dense(2, param_dtype=dtype), jnp.zeros(3))
    assert module.init(KEY).dtype == dtype
    networks.check_fit(module, "here", (3,), 2)


def test_several_dtypes_are_promoted_and_cast_back():
    network = networks.from_functions(
        lambda key: {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(3)}, lambda params, x: (params["a"], params["b"])
    )
    params = network.init(KEY)
    assert params.dtype == jnp.float32
    assert [x.dtype for x in network.apply(params, None)] == [jnp.bfloat16, jnp.float32]


def test_parameters_that_are_no_floats_are_refused():
    with pytest.raises(ValueError, match="parameters must be floating-point arrays, got int32"):
        networks.from_functions(lambda key: {"a": jnp.ones(2), "n": jnp.int32(3)}, apply)


def decompositions(program):
    """Shapes of the results of all QR decompositions in a program, and in the programs within it."""
    found = []
    for equation in program.eqns:
        if equation.primitive.name in ("qr", "geqrf"):
            found.append(equation.outvars[0].aval.shape)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(value, "eqns"):
                found += decompositions(getattr(value, "jaxpr", value))
    return found


@pytest.fixture(scope="module")
def gru():
    return networks.from_flax(Gru(), jnp.zeros(3), jnp.zeros(6))


class Gru(nn.Module):
    """A cell whose recurrent weights start orthogonal."""

    @nn.compact
    def __call__(self, inputs):
        state, x = inputs
        state, y = nn.GRUCell(6)(state, x)
        return state, nn.Dense(2)(y)


@pytest.mark.parametrize("seeds", [1, 2])
def test_orthogonal_starts_are_decomposed_one_at_a_time(gru, seeds):
    """A batch of QR decompositions can hang for ever on a CPU of 2 cores; a program without one cannot."""
    batched = gru.init
    keys = jax.random.split(KEY, 6)
    for _ in range(seeds):
        batched = jax.vmap(batched)
    shapes = decompositions(jax.make_jaxpr(batched)(keys if seeds == 1 else keys.reshape(2, 3)).jaxpr)
    assert shapes and all(shape == (6, 6) for shape in shapes)


def test_starts_under_vmap_are_those_of_each_key(gru):
    module, keys = Gru(), jax.random.split(KEY, 4)
    drawn = jax.jit(jax.vmap(gru.init))(keys)
    for key, params in zip(keys, drawn, strict=True):
        leaves = jax.tree.leaves(module.init(key, (jnp.zeros(6), jnp.zeros(3))))
        np.testing.assert_allclose(params, np.concatenate([np.ravel(x) for x in leaves]), atol=1e-6)


STRESS = """
import jax, jax.numpy as jnp, flax.linen as nn
from neuralmutator import networks

class Gru(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.GRUCell(32)(*inputs)

init = jax.jit(jax.vmap(networks.from_flax(Gru(), jnp.zeros(4), jnp.zeros(32)).init))
for i in range(400):
    init(jax.random.split(jax.random.key(i), 128)).block_until_ready()
"""


@pytest.mark.slow
def test_orthogonal_starts_do_not_hang():
    """On 2 cores, the batched decompositions hung within 10 to 490 rounds."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    subprocess.run(
        [sys.executable, "-c", STRESS],
        check=True,
        timeout=540,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
