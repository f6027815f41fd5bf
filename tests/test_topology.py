"""Structural mutations against networks of NumPy matrices that hold the active part alone."""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator import networks, topology as structure
from neuralmutator.topology import Room

ROOMS = [Room(3, 2, 3, 10), Room(12, 1, 2, 9)]  # the second sees more inputs than it has neurons
SIZES = st.sampled_from(ROOMS)
SEEDS = st.integers(0, 2**16)


@cache
def jitted(name, room):
    return jax.jit(partial(getattr(structure, name), room))


def slots(room):
    """Shapes in the flat vector: in, then every hidden matrix, every hidden bias, out."""
    h, n = room.max_width, room.max_layers - 1
    return [(room.obs, h), (h,), *[(h, h)] * n, *[(h,)] * n, (h, room.act), (room.act,)]


def matrices(room, params, topology):
    """[(weights [inputs, outputs], bias)] of the active part of a flat vector, the output layer last."""
    parts, start = [], 0
    for shape in slots(room):
        parts.append(np.asarray(params, np.float64)[start : start + np.prod(shape)].reshape(shape))
        start += np.prod(shape)
    assert start == len(params) == room.num_params
    n, widths = room.max_layers - 1, [int(w) for w in topology if w > 0]
    dense = [(parts[0], parts[1]), *zip(parts[2 : 2 + n], parts[2 + n : 2 + 2 * n], strict=True)][: len(widths)]
    dense.append((parts[-2], parts[-1]))
    bounds = [room.obs, *widths, room.act]
    return [(w[:i, :o], b[:o]) for (w, b), (i, o) in zip(dense, pairwise(bounds), strict=True)]


def flat(room, dense):
    """Inverse of `matrices`: everything that is not active is zero."""
    n, h = room.max_layers - 1, room.max_width
    parts = [np.zeros(shape) for shape in slots(room)]
    hidden, (w_out, b_out) = dense[:-1], dense[-1]
    for k, (w, b) in enumerate(hidden):
        at_w, at_b = (0, 1) if k == 0 else (1 + k, 1 + n + k)
        parts[at_w][: w.shape[0], : w.shape[1]] = w
        parts[at_b][: len(b)] = b
    parts[-2][: w_out.shape[0]], parts[-1][:] = w_out, b_out
    topology = [len(b) for _, b in hidden]
    assert len(topology) <= room.max_layers and max(topology) <= h
    return np.concatenate([x.ravel() for x in parts]), topology + [0] * (room.max_layers - len(topology))


def forward(dense, x):
    for w, b in dense[:-1]:
        x = np.tanh(x @ w + b)
    return x @ dense[-1][0] + dense[-1][1]


def network(room, seed, topology=None):
    """A random network: (params, topology, matrices)."""
    random = np.random.default_rng(seed)
    if topology is None:
        count = random.integers(1, room.max_layers + 1)
        topology = random.integers(8, room.max_width + 1, count)
    bounds = [room.obs, *(w for w in topology if w > 0), room.act]
    dense = [(random.normal(size=(i, o)), random.normal(size=o)) for i, o in pairwise(bounds)]
    params, topology = flat(room, dense)
    return jnp.asarray(params, jnp.float32), jnp.asarray(topology, jnp.int32), dense


def apply(kind, room, draw, noise, params, topology):
    """One kind of mutation: (matrices, new topology); what is outside of them must be zero."""
    layers, new = jitted(kind, room)(jnp.float32(draw), jnp.asarray(noise, jnp.float32), split(room, params), topology)
    params = np.concatenate([np.asarray(x).ravel() for x in layers])
    dense = matrices(room, params, np.asarray(new))
    np.testing.assert_array_equal(params, flat(room, dense)[0].astype(np.float32))
    return dense, np.asarray(new).tolist()


def split(room, params):
    return jitted("split", room)(params)


def noise_of(room, seed):
    side = max(room.max_width, room.obs, room.act)
    return 0.01 * np.random.default_rng(seed).normal(size=(room.max_width, side + 1))


def chosen(draw, allowed):
    """The layer that a uniform draw falls on."""
    allowed = [i for i, yes in enumerate(allowed) if yes]
    return allowed[int(draw * len(allowed))]


def assert_dense(got, want, atol=1e-5):
    assert [w.shape for w, _ in got] == [w.shape for w, _ in want]
    for (w, b), (v, c) in zip(got, want, strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-5, atol=atol)
        np.testing.assert_allclose(b, c, rtol=1e-5, atol=atol)


DRAWS = st.floats(0, 1, exclude_max=True, width=32)


@given(SIZES, SEEDS)
def test_apply_equals_a_loop_over_the_active_matrices(room, seed):
    params, topology, dense = network(room, seed)
    x = np.random.default_rng(seed + 1).normal(size=room.obs)
    # Weights of a trained size: with N(0, 1) float32's own error would be the larger part.
    params, dense = 0.3 * params, [(0.3 * w, 0.3 * b) for w, b in dense]
    want = forward(dense, x)
    np.testing.assert_allclose(policy(room, "apply")(params, x, topology), want, rtol=0, atol=1e-5)
    *hidden, output = policy(room, "activations")(params, x, topology)
    np.testing.assert_allclose(output, want, rtol=0, atol=1e-5)
    for k in range(len(dense) - 1):
        x = np.tanh(x @ dense[k][0] + dense[k][1])
        np.testing.assert_allclose(hidden[k][: len(x)], x, rtol=0, atol=1e-5)


@cache
def policy(room, what):
    net = networks.flexible_mlp(*room, initial_layers=(1, 2), initial_widths=(8, 9))
    return jax.jit(getattr(net, what))


@given(SIZES, SEEDS)
def test_mask_is_the_active_part(room, seed):
    params, topology, dense = network(room, seed)
    want, _ = flat(room, [(np.ones_like(w), np.ones_like(b)) for w, b in dense])
    np.testing.assert_array_equal(jitted("mask", room)(topology), want.astype(bool))
    np.testing.assert_array_equal(structure.join(split(room, params)), params)


@given(SIZES, SEEDS, st.integers(1, 20))
def test_any_sequence_of_mutations_keeps_the_form(room, seed, length):
    params, topology, _ = network(room, seed)
    for t in range(length):
        before = np.asarray(topology)
        params, topology = jitted("mutate", room)(jax.random.key(seed + 1000 * t), params, topology)
        after = np.asarray(topology)
        depth = int(np.sum(after > 0))
        assert depth >= 1 and np.all(after[:depth] >= 8) and np.all(after[:depth] <= room.max_width)
        assert np.all(after[depth:] == 0)
        assert abs(depth - np.sum(before > 0)) + abs(after.sum() - before.sum()) >= 1
        outside = np.asarray(params)[~flat_mask(room, after)]
        assert not outside.any() and np.all(np.isfinite(params))


def flat_mask(room, topology):
    bounds = [room.obs, *(w for w in topology if w > 0), room.act]
    ones = [(np.ones((i, o)), np.ones(o)) for i, o in pairwise(bounds)]
    return flat(room, ones)[0].astype(bool)


@given(SIZES, SEEDS, DRAWS)
def test_add_neuron(room, seed, draw):
    params, topology, dense = network(room, seed)
    widths = [len(b) for _, b in dense[:-1]]
    if all(w == room.max_width for w in widths):
        return
    layer = chosen(draw, [w < room.max_width for w in widths])
    got, new = apply("add_neuron", room, draw, noise_of(room, seed), params, topology)
    widths[layer] += 1
    assert new == widths + [0] * (room.max_layers - len(widths))
    fresh = np.concatenate([got[layer][0][:, -1], got[layer][1][-1:], got[layer + 1][0][-1]])
    assert 0 < np.abs(fresh).max() < 0.06 and np.all(fresh != 0)  # 0.01·N(0, 1)
    got[layer] = got[layer][0][:, :-1], got[layer][1][:-1]
    got[layer + 1] = got[layer + 1][0][:-1], got[layer + 1][1]
    assert_dense(got, dense)


@pytest.mark.parametrize("room", ROOMS, ids=["wide", "many inputs"])
def test_every_number_of_a_new_neuron_is_a_draw_of_its_own(room):
    """At the library's own noise, through `mutate`, until a neuron comes in the first layer and one in the second."""
    seen = set()
    params, topology, _ = network(room, 0, [room.max_width - 1] * 2)
    for seed in range(40):
        new, grown = jitted("mutate", room)(jax.random.key(seed), params, topology)
        change = np.asarray(grown - topology)
        if change.sum() != 1:
            continue
        layer = int(np.argmax(change))
        dense = matrices(room, new, grown)
        fresh = np.concatenate([dense[layer][0][:, -1], dense[layer][1][-1:], dense[layer + 1][0][-1]])
        assert len(np.unique(fresh)) == len(fresh)
        seen.add(layer)
    assert seen == {0, 1}


@given(SIZES, SEEDS, DRAWS)
def test_remove_neuron_takes_the_smallest_incoming_norm(room, seed, draw):
    params, topology, dense = network(room, seed)
    widths = [len(b) for _, b in dense[:-1]]
    if all(w == 8 for w in widths):
        return
    layer = chosen(draw, [w > 8 for w in widths])
    weakest = min(range(widths[layer]), key=lambda j: sum(v**2 for v in dense[layer][0][:, j]))
    got, _ = apply("remove_neuron", room, draw, noise_of(room, seed), params, topology)
    want = list(dense)
    want[layer] = np.delete(dense[layer][0], weakest, 1), np.delete(dense[layer][1], weakest)
    want[layer + 1] = np.delete(dense[layer + 1][0], weakest, 0), dense[layer + 1][1]
    assert_dense(got, want)


@given(SIZES, SEEDS)
def test_removing_a_dead_neuron_preserves_the_function(room, seed):
    _, _, dense = network(room, seed, [9])
    dead = seed % 9
    dense[0][0][:, dead], dense[0][1][dead] = 0, 0
    params, topology = flat(room, dense)
    got, _ = apply("remove_neuron", room, 0.5, noise_of(room, seed), jnp.float32(params), jnp.array(topology))
    x = np.random.default_rng(seed).normal(size=(5, room.obs))
    assert len(got[0][1]) == 8
    np.testing.assert_allclose(forward(got, x), forward(dense, x), rtol=0, atol=1e-5)


@given(SIZES, SEEDS, DRAWS)
def test_add_layer_is_near_identity(room, seed, draw):
    params, topology, dense = network(room, seed)
    depth = len(dense) - 1
    if depth == room.max_layers:
        return
    layer, noise = chosen(draw, [True] * depth), noise_of(room, seed)
    got, new = apply("add_layer", room, draw, noise, params, topology)
    width = len(dense[layer][1])
    assert new[layer + 1] == width
    w, b = got.pop(layer + 1)
    assert not b.any() and np.abs(w - np.eye(width)).max() < 0.06
    assert abs((w - np.eye(width)).std() - 0.01) < 0.004
    assert_dense(got, dense)


@given(SIZES, SEEDS, DRAWS)
def test_remove_layer_merges_linearly(room, seed, draw):
    params, topology, dense = network(room, seed)
    depth = len(dense) - 1
    if depth == 1:
        return
    layer = chosen(draw, [True] * depth)
    (w_1, b_1), (w_2, b_2) = dense[layer], dense[layer + 1]  # [inputs, outputs]: W2 W1 of the facts is w_1 @ w_2
    want = [*dense[:layer], (w_1 @ w_2, b_1 @ w_2 + b_2), *dense[layer + 2 :]]
    got, _ = apply("remove_layer", room, draw, noise_of(room, seed), params, topology)
    assert_dense(got, want, atol=1e-4)


@pytest.mark.parametrize(
    ("topology", "kinds"),
    [
        ([9, 0, 0], {(1, 0), (-1, 0), (9, 1)}),
        ([8, 0, 0], {(1, 0), (8, 1)}),
        ([10, 10, 10], {(-1, 0), (-10, -1)}),
        ([9, 9, 0], {(1, 0), (-1, 0), (9, 1), (-9, -1)}),
    ],
)
def test_kinds_that_apply_are_equally_likely(topology, kinds):
    room, n = ROOMS[0], 1000
    params, topology, _ = network(room, 0, topology)
    _, new = many_mutations(jax.random.split(jax.random.key(0), n), params, topology)
    change = np.stack([np.sum(new - topology, 1), np.sum(new > 0, 1) - np.sum(topology > 0)], 1)
    found, counts = np.unique(change, axis=0, return_counts=True)
    assert {tuple(x) for x in found.tolist()} == kinds
    p = 1 / len(kinds)
    assert np.all(np.abs(counts / n - p) < 5 * (p * (1 - p) / n) ** 0.5)


@jax.jit
def many_mutations(keys, params, topology):
    return jax.vmap(lambda key: structure.mutate(ROOMS[0], key, params, topology))(keys)


@pytest.mark.parametrize("room", [Room(2, 1, 1, 8), Room(2, 1, 1, 9)])
def test_a_single_layer_gains_and_loses_neurons_alone(room):
    params, topology, dense = network(room, 0, [8])
    new, grown = jitted("mutate", room)(jax.random.key(0), params, topology)
    if room.max_width == 8:  # nothing applies, nothing happens
        np.testing.assert_array_equal(new, params)
        np.testing.assert_array_equal(grown, [8])
    else:
        np.testing.assert_array_equal(grown, [9])
        x = np.ones(2)
        np.testing.assert_allclose(forward(matrices(room, new, grown), x), forward(dense, x), atol=0.01)


def test_first_topologies_are_uniform():
    net = networks.flexible_mlp(4, 2, max_layers=3, initial_layers=(1, 2), initial_widths=(32, 48, 64))
    drawn = np.asarray(jax.jit(jax.vmap(net.topology.init))(jax.random.split(jax.random.key(0), 3000)))
    assert drawn.dtype == np.int32 and drawn.shape == (3000, 3) and not drawn[:, 2].any()
    assert abs(np.mean(drawn[:, 1] > 0) - 0.5) < 0.05
    for column in (drawn[:, 0], drawn[drawn[:, 1] > 0, 1]):
        widths, counts = np.unique(column, return_counts=True)
        assert widths.tolist() == [32, 48, 64]
        assert np.all(np.abs(counts / counts.sum() - 1 / 3) < 0.06)
