import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator.networks import structure

ROOM = structure.Room(obs=3, act=2, max_layers=4, max_width=10)
WIDE = structure.Room(obs=12, act=1, max_layers=2, max_width=9)  # sees more inputs than it has neurons
FLAT = structure.Room(obs=3, act=2, max_layers=1, max_width=10)  # a room without a second layer
KINDS = {
    kind.__name__: jax.jit(partial(kind, ROOM))
    for kind in (structure.add_neuron, structure.remove_neuron, structure.add_layer, structure.remove_layer)
}
NOISE = 0.01 * np.random.default_rng(7).normal(size=(10, 16)).astype(np.float32)
TOPOLOGIES = [(8, 0, 0, 0), (10, 9, 0, 0), (9, 10, 8, 0), (8, 10, 10, 9)]


@partial(jax.jit, static_argnames=("room", "length"))
def history(room, key, params, topology, length):
    """All (params, topology) after each of many mutations."""

    def step(state, key):
        state = structure.mutate(room, key, *state)
        return state, state

    return jax.lax.scan(step, (params, topology), jax.random.split(key, length))[1]


def matrices(room, params, topology):
    """The active network as [(weights [inputs, outputs], bias), …] in float64, cut out by hand."""
    params, parts, start, h = np.asarray(params, np.float64), [], 0, room.max_width
    deep = room.max_layers - 1
    for shape in [(room.obs, h), (h,), (deep, h, h), (deep, h), (h, room.act), (room.act,)]:
        parts.append(params[start : start + int(np.prod(shape))].reshape(shape))
        start += int(np.prod(shape))
    assert start == params.size
    w_in, b_in, w, b, w_out, b_out = parts
    widths = [int(x) for x in topology if x]
    layers = [(w_in[:, : widths[0]], b_in[: widths[0]])]
    for k in range(len(widths) - 1):
        layers.append((w[k, : widths[k], : widths[k + 1]], b[k, : widths[k + 1]]))
    return [*layers, (w_out[: widths[-1]], b_out)]


def flat(room, layers):
    """Inverse of `matrices`: zeros wherever nothing is active."""
    h, deep = room.max_width, room.max_layers - 1
    w_in, b_in, w, b = np.zeros((room.obs, h)), np.zeros(h), np.zeros((deep, h, h)), np.zeros((deep, h))
    w_out = np.zeros((h, room.act))
    (first, first_bias), *middle, (last, last_bias) = layers
    w_in[:, : first.shape[1]], b_in[: first.shape[1]] = first, first_bias
    for k, (weights, bias) in enumerate(middle):
        w[k, : weights.shape[0], : weights.shape[1]], b[k, : len(bias)] = weights, bias
    w_out[: len(last)] = last
    return np.concatenate([x.ravel() for x in (w_in, b_in, w, b, w_out, last_bias)]).astype(np.float32)


def random_network(topology, seed=0, room=ROOM, scale=1.0):
    random, widths = np.random.default_rng(seed), [room.obs, *(w for w in topology if w), room.act]
    layers = [(random.normal(size=(i, o)), random.normal(size=o)) for i, o in itertools.pairwise(widths)]
    return jnp.asarray(flat(room, [(scale * w, scale * b) for w, b in layers])), jnp.array(topology, jnp.int32)


def respond(layers, x):
    for weights, bias in layers[:-1]:
        x = np.tanh(x @ weights + bias)
    return x @ layers[-1][0] + layers[-1][1]


def change(kind, params, topology, place, choices, noise=NOISE):
    """One mutation of a given kind at the `place`-th of the layers that it may choose from: old and new matrices."""
    layers, grown = KINDS[kind]((place + 0.5) / choices, noise, structure.split(ROOM, params), topology)
    grown = np.asarray(grown)
    new = matrices(ROOM, structure.join(layers), grown)
    np.testing.assert_array_equal(structure.join(layers), flat(ROOM, new))  # nothing outside the active part
    return matrices(ROOM, params, topology), new, [int(x) for x in grown if x]


def assert_same(new, expected):
    assert len(new) == len(expected)
    for (weights, bias), (w, b) in zip(new, expected, strict=True):
        np.testing.assert_allclose(weights, w, atol=1e-5)
        np.testing.assert_allclose(bias, b, atol=1e-5)


@given(seed=st.integers(0, 2**31), start=st.sampled_from([*TOPOLOGIES, (8, 0), (9, 8)]))
def test_any_sequence_of_mutations_keeps_the_house_in_order(seed, start):
    room = ROOM if len(start) == ROOM.max_layers else WIDE
    params, topology = random_network(start, seed, room)
    all_params, topologies = map(np.asarray, history(room, jax.random.key(seed), params, topology, 60))
    before = np.array(start)
    for params, topology in zip(all_params, topologies, strict=True):
        depth = int((topology > 0).sum())
        assert depth >= 1
        assert np.all((topology > 0) == (np.arange(room.max_layers) < depth))  # active layers come first
        assert np.all((topology[:depth] >= 8) & (topology[:depth] <= room.max_width))
        np.testing.assert_array_equal(params, flat(room, matrices(room, params, topology)))  # zero outside the mask
        assert np.isfinite(params).all()
        # Exactly one thing happened: a layer more or less, or one neuron more or less.
        if (difference := depth - int((before > 0).sum())) == 0:
            assert np.abs(topology - before).sum() == 1
        else:
            assert abs(difference) == 1
        before = topology


@pytest.mark.parametrize(("room", "topologies"), [(ROOM, TOPOLOGIES), (WIDE, [(8, 0), (9, 8)]), (FLAT, [(8,), (10,)])])
def test_mask_is_the_active_part(room, topologies):
    mask_of = jax.jit(partial(structure.mask, room))
    for topology in topologies:
        mask = np.asarray(mask_of(jnp.array(topology)))
        ones = [(np.ones_like(w), np.ones_like(b)) for w, b in matrices(room, np.ones(room.num_params), topology)]
        np.testing.assert_array_equal(mask, flat(room, ones) > 0)
        widths = [room.obs, *(w for w in topology if w), room.act]
        assert mask.sum() == sum((i + 1) * o for i, o in itertools.pairwise(widths))


def test_split_and_join_are_inverse():
    params = np.random.default_rng(0).normal(size=ROOM.num_params).astype(np.float32)
    np.testing.assert_array_equal(structure.join(structure.split(ROOM, params)), params)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_add_neuron_leaves_all_else_as_it_was(topology):
    params, topology = random_network(topology)
    growing = [k for k, w in enumerate(topology) if 0 < w < 10]
    for place, layer in enumerate(growing):
        old, new, widths = change("add_neuron", params, topology, place, len(growing))
        assert widths[layer] == topology[layer] + 1
        (into, bias), (out_of, _) = new[layer], new[layer + 1]
        fresh = np.concatenate([into[:, -1], bias[-1:], out_of[-1]])
        assert np.all(fresh != 0)
        assert np.all(np.abs(fresh) <= np.abs(NOISE).max())
        new[layer], new[layer + 1] = (into[:, :-1], bias[:-1]), (out_of[:-1], new[layer + 1][1])
        assert_same(new, old)


@pytest.mark.parametrize("topology", TOPOLOGIES[1:])
def test_remove_neuron_takes_the_weakest(topology):
    params, topology = random_network(topology, seed=3)
    shrinking = [k for k, w in enumerate(topology) if w > 8]
    for place, layer in enumerate(shrinking):
        old, new, _ = change("remove_neuron", params, topology, place, len(shrinking))
        (into, bias), (out_of, out_bias) = old[layer], old[layer + 1]
        norms = [sum(w * w for w in into[:, i]) ** 0.5 for i in range(into.shape[1])]
        weakest = norms.index(min(norms))
        old[layer] = np.delete(into, weakest, axis=1), np.delete(bias, weakest)
        old[layer + 1] = np.delete(out_of, weakest, axis=0), out_bias
        assert_same(new, old)


@pytest.mark.parametrize("dead", [0, 4, 8])
def test_removing_a_dead_neuron_changes_nothing(dead):
    params, topology = random_network((8, 9, 8, 0), seed=4)
    layers = matrices(ROOM, params, topology)
    layers[1][0][:, dead] = 0
    layers[1][1][dead] = 0
    old, new, _ = change("remove_neuron", jnp.asarray(flat(ROOM, layers)), topology, 0, 1)
    for x in np.random.default_rng(0).normal(size=(5, 3)):
        np.testing.assert_allclose(respond(new, x), respond(old, x), atol=1e-6)


@pytest.mark.parametrize("topology", TOPOLOGIES[:3])
def test_add_layer_is_nearly_the_identity(topology):
    # Weights so small that tanh is linear.
    params, topology = random_network(topology, seed=5, scale=0.1)
    depth = sum(w > 0 for w in topology)
    for layer in range(depth):
        old, new, widths = change("add_layer", params, topology, layer, depth)
        width = int(topology[layer])
        assert widths == [*map(int, topology[: layer + 1]), width, *map(int, topology[layer + 1 : depth])]
        assert_same(
            new, [*old[: layer + 1], (np.eye(width) + NOISE[:width, :width], np.zeros(width)), *old[layer + 1 :]]
        )
        for x in np.random.default_rng(0).normal(size=(5, 3)) * 0.3:
            before = respond(old, x) - respond(old, 0 * x)
            after = respond(new, x) - respond(new, 0 * x)
            np.testing.assert_allclose(after, before, atol=0.15 * np.abs(before).max())


@pytest.mark.parametrize("topology", TOPOLOGIES[1:])
def test_remove_layer_merges_linearly(topology):
    params, topology = random_network(topology, seed=6)
    depth = sum(w > 0 for w in topology)
    for layer in range(depth):
        old, new, _ = change("remove_layer", params, topology, layer, depth)
        (w1, b1), (w2, b2) = old[layer], old[layer + 1]
        # The facts write W = W2 W1 and b = W2 b1 + b2 for matrices [outputs, inputs].
        merged = (w2.T @ w1.T).T, w2.T @ b1 + b2
        assert_same(new, [*old[:layer], merged, *old[layer + 2 :]])


def test_removing_the_layer_just_added_restores_the_network():
    params, topology = random_network((9, 8, 0, 0), seed=8)
    old, _, _ = change("add_layer", params, topology, 0, 2, 0 * NOISE)
    grown, deeper = KINDS["add_layer"](0.1, 0 * NOISE, structure.split(ROOM, params), topology)
    _, new, _ = change("remove_layer", structure.join(grown), deeper, 1, 3)
    assert_same(new, old)


@partial(jax.jit, static_argnums=0)
def mutants(room, keys, params, topology):
    return jax.vmap(partial(structure.mutate, room), (0, None, None))(keys, params, topology)


def outcomes(room, topology, n=3000):
    """How often each topology follows this one, and the parameters and topologies."""
    params, after = mutants(room, jax.random.split(jax.random.key(1), n), *random_network(topology, room=room))
    kinds, counts = np.unique(after, axis=0, return_counts=True)
    return {tuple(map(int, kind)): count / n for kind, count in zip(kinds, counts, strict=True)}, params, after


def assert_shares(shares, expected, n=3000):
    assert set(shares) == set(expected)
    for outcome, p in expected.items():
        assert abs(shares[outcome] - p) < 5 * np.sqrt(p * (1 - p) / n), outcome


def test_kinds_are_drawn_uniformly_from_those_that_apply():
    # Too narrow to lose a neuron, too shallow to lose a layer.
    shares, _, _ = outcomes(ROOM, (8, 0, 0, 0))
    assert_shares(shares, {(9, 0, 0, 0): 1 / 2, (8, 8, 0, 0): 1 / 2})


@pytest.mark.parametrize(("room", "layer"), [(ROOM, 1), (WIDE, 0)])  # behind a full layer; behind many inputs
def test_the_weights_of_new_neurons_are_independent_small_draws(room, layer):
    widths = [room.max_width, 8][1 - layer :]
    _, params, after = outcomes(room, (*widths, *[0] * (room.max_layers - len(widths))))
    widths[layer] += 1
    of_interest = np.all(np.asarray(after)[:, : len(widths)] == widths, axis=1)
    networks = [matrices(room, p, widths)[layer : layer + 2] for p in np.asarray(params)[of_interest]]
    fresh = np.stack([np.concatenate([w[:, 8], b[8:], v[8]]) for (w, b), (v, _) in networks])
    assert fresh.shape[1] == (room.max_width if layer else room.obs) + 1 + room.act  # incoming, bias, outgoing
    np.testing.assert_allclose(fresh.std(axis=0), 0.01, rtol=0.15)
    correlations = np.abs(np.corrcoef(fresh.T) - np.eye(fresh.shape[1]))
    assert correlations.max() < 0.25


def test_layers_are_drawn_uniformly_from_those_that_apply():
    # Full depth; the second and fourth layer are at their narrowest, the third at its widest.
    shares, _, _ = outcomes(ROOM, (9, 8, 10, 8))
    third = 1 / 3
    expected = {
        (10, 8, 10, 8): third / 3,
        (9, 9, 10, 8): third / 3,
        (9, 8, 10, 9): third / 3,
        (8, 8, 10, 8): third / 2,
        (9, 8, 9, 8): third / 2,
        (8, 10, 8, 0): third / 4,
        (9, 10, 8, 0): third / 4,
        (9, 8, 8, 0): third / 4,
        (9, 8, 10, 0): third / 4,
    }
    assert_shares(shares, expected)


def test_a_single_layer_grows_and_shrinks():
    assert_shares(outcomes(FLAT, (9,))[0], {(8,): 1 / 2, (10,): 1 / 2})


def test_where_nothing_applies_nothing_happens():
    tight = structure.Room(obs=2, act=1, max_layers=1, max_width=8)
    shares, params, _ = outcomes(tight, (8,), 20)
    assert shares == {(8,): 1}
    np.testing.assert_array_equal(params, np.tile(random_network((8,), room=tight)[0], (20, 1)))
