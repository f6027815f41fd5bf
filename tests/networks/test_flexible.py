import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks

KEY = jax.random.key(0)
OBS, ACT, LAYERS, WIDTH = 3, 2, 4, 10
TOPOLOGIES = [(8, 0, 0, 0), (10, 9, 0, 0), (8, 10, 8, 9), (9, 8, 10, 0)]


@pytest.fixture(scope="module")
def flexible():
    return networks.flexible_mlp(OBS, ACT, LAYERS, WIDTH, initial_layers=(1, 3), initial_widths=(8, 10))


def active_layers(params, widths):
    """The matrices that a topology uses, cut by hand out of a flat vector: [(weights, bias), …]."""
    params, layers, start = np.asarray(params, np.float64), [], 0

    def take(*shape):
        nonlocal start
        start += int(np.prod(shape))
        return params[start - int(np.prod(shape)) : start].reshape(shape)

    w_in, b_in, w, b = take(OBS, WIDTH), take(WIDTH), take(LAYERS - 1, WIDTH, WIDTH), take(LAYERS - 1, WIDTH)
    w_out, b_out = take(WIDTH, ACT), take(ACT)
    assert start == params.size
    layers.append((w_in[:, : widths[0]], b_in[: widths[0]]))
    for k, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers.append((w[k, :inputs, :outputs], b[k, :outputs]))
    return [*layers, (w_out[: widths[-1]], b_out)]


def test_flexible_equals_numpy_on_the_active_matrices(flexible):
    """Networks of different depth in one batch; the parameters outside the active part are noise that must not count
    once the mask is applied."""
    noise = jax.random.normal(KEY, (len(TOPOLOGIES), flexible.num_params))
    topologies = jnp.array(TOPOLOGIES)
    params = jnp.where(jax.jit(jax.vmap(flexible.topology.mask))(topologies), noise, 0.0)
    x = np.array([0.5, -1.0, 2.0])
    output = jax.jit(jax.vmap(flexible.apply, (0, None, 0)))(params, jnp.asarray(x, jnp.float32), topologies)
    layers = jax.jit(jax.vmap(flexible.activations, (0, None, 0)))(params, jnp.asarray(x, jnp.float32), topologies)
    for i, topology in enumerate(TOPOLOGIES):
        widths = [w for w in topology if w]
        expected = x
        for depth, (weights, bias) in enumerate(active_layers(noise[i], widths)):
            expected = expected @ weights + bias
            if depth < len(widths):
                expected = np.tanh(expected)
                np.testing.assert_allclose(layers[depth][i, : widths[depth]], expected, atol=1e-5)
        np.testing.assert_allclose(output[i], expected, atol=1e-5)
        np.testing.assert_allclose(layers[-1][i], expected, atol=1e-5)


def test_policy_step_hands_the_topology_on(flexible, start, genome_of):
    params, x = start(flexible), jnp.ones(OBS)
    outputs = []
    for topology in TOPOLOGIES[:2]:
        carry, output = networks.policy_step(flexible, genome_of(params, topology))(None, x)
        assert carry is None
        np.testing.assert_allclose(output, flexible.apply(params, x, jnp.array(topology)))
        outputs.append(output)
    assert not np.allclose(*outputs)


def test_flexible_starts_uniformly(flexible, start, assert_uniform):
    layers = active_layers(start(flexible), [WIDTH] * LAYERS)
    assert_uniform(np.concatenate([np.ravel(x) for x in layers[0]]), OBS)
    assert_uniform(np.concatenate([np.ravel(x) for layer in layers[1:] for x in layer]), WIDTH)


def test_first_topologies_are_drawn_from_the_choices(flexible):
    drawn = np.asarray(jax.jit(jax.vmap(flexible.topology.init))(jax.random.split(KEY, 2000)))
    depth = (drawn > 0).sum(axis=1)
    assert set(depth) == {1, 3}
    assert abs(np.mean(depth == 1) - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert np.all((drawn > 0) == (np.arange(LAYERS) < depth[:, None]))  # active layers come first
    deep = drawn[depth == 3, :3]
    assert set(deep.ravel()) == {8, 10}
    assert abs(np.mean(deep == 8) - 0.5) < 5 * 0.5 / np.sqrt(deep.size)
    assert abs(np.corrcoef(deep.T)[0, 1]) < 5 / np.sqrt(len(deep))  # the widths are independent


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (lambda: networks.flexible_mlp(3, 1, max_layers=0), "max_layers", 0),
        (lambda: networks.flexible_mlp(3, 1, max_width=7), "max_width", 7),
        (lambda: networks.flexible_mlp(3, 1, max_layers=2, initial_layers=(1, 3)), "initial_layers", 3),
        (lambda: networks.flexible_mlp(3, 1, max_width=32), "initial_widths", 48),
        (lambda: networks.flexible_mlp(3, 1, initial_widths=(4,)), "initial_widths", 4),
        (lambda: networks.flexible_mlp(3, 1, initial_layers=()), "initial_layers", ""),
    ],
)
def test_errors_name_the_field_and_the_value(make, field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        make()


def test_structure_mutates_where_floats_have_64_bits(flexible):
    keys = jax.random.split(KEY, 8)

    def grown(keys):
        params, topology = jax.vmap(flexible.init)(keys), jax.vmap(flexible.topology.init)(keys)
        params = jnp.where(jax.vmap(flexible.topology.mask)(topology), params, 0)
        return topology, *jax.vmap(flexible.topology.mutate)(keys, params, topology)

    with jax.enable_x64(True):
        before, params, topology = jax.jit(grown)(keys)
        active = jax.vmap(flexible.topology.mask)(topology)
    assert (params.dtype, topology.dtype) == (jnp.float32, jnp.int32)
    assert np.any(before != topology, axis=1).all()
    np.testing.assert_array_equal(params[~active], 0)
