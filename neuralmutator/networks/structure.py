"""Structural mutations of a flexible multi-layer perceptron at static shapes.

A flexible network owns room for ``max_layers`` hidden layers of ``max_width`` neurons. Its *topology* i32[max_layers]
holds the active width of each hidden layer; active layers come first, absent ones are 0. Parameters outside the
active part are zero at all times, so growth and shrinkage move masks and never shapes.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

NOISE = 0.01  # std of new weights, and of what a new layer adds to the identity (the original program)
MIN_WIDTH = 8  # no layer is made narrower (the original program)


class Topology(NamedTuple):
    """How a network of variable structure is drawn, masked and mutated; three pure functions."""

    max_layers: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> topology i32[L]
    mask: Callable[[jax.Array], jax.Array]  # (topology) -> active parameters, bool[P]
    mutate: Callable[..., tuple[jax.Array, jax.Array]]  # (key, params f32[P], topology) -> (params, topology)


class Layers(NamedTuple):
    """The parameters of a flexible network by layer; H = max_width, L = max_layers. Weights are [inputs, outputs]."""

    w_in: jax.Array  # f32[obs, H]
    b_in: jax.Array  # f32[H]
    w: jax.Array  # f32[L-1, H, H]; w[k] leads from hidden layer k to k + 1
    b: jax.Array  # f32[L-1, H]
    w_out: jax.Array  # f32[H, act], reads the last active layer
    b_out: jax.Array  # f32[act]


class Room(NamedTuple):
    """Sizes of a flexible network: numbers of inputs and outputs, and the most it may grow to."""

    obs: int
    act: int
    max_layers: int
    max_width: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the fields of `Layers`."""
        h, n = self.max_width, self.max_layers - 1
        return (self.obs, h), (h,), (n, h, h), (n, h), (h, self.act), (self.act,)

    @property
    def num_params(self) -> int:
        """Length of the flat parameter vector."""
        h = self.max_width
        return (self.obs + 1) * h + (self.max_layers - 1) * (h + 1) * h + (h + 1) * self.act


def split(room: Room, params: jax.Array) -> Layers:
    """Flat parameters f32[P] by layer."""
    parts, start = [], 0
    for shape in room.shapes:
        size = 1
        for n in shape:
            size *= n
        parts.append(params[start : start + size].reshape(shape))
        start += size
    return Layers(*parts)


def join(layers: Layers) -> jax.Array:
    """Inverse of `split`."""
    return jnp.concatenate([x.ravel() for x in layers])


def depth(topology: jax.Array) -> jax.Array:
    """Number of hidden layers, i32[]."""
    return jnp.sum(topology > 0)


def mask(room: Room, topology: jax.Array) -> jax.Array:
    """Which parameters are active, bool[P]."""
    active = jnp.arange(room.max_width) < topology[:, None]  # [L, H]
    last = active[depth(topology) - 1]
    return join(
        Layers(
            w_in=jnp.broadcast_to(active[0], (room.obs, room.max_width)),
            b_in=active[0],
            w=active[:-1, :, None] & active[1:, None, :],
            b=active[1:],
            w_out=jnp.broadcast_to(last[:, None], (room.max_width, room.act)),
            b_out=jnp.ones(room.act, bool),
        )
    )


def init(key: jax.Array, room: Room, layers: tuple[int, ...], widths: tuple[int, ...]) -> jax.Array:
    """A random topology: the number of hidden layers and each one's width are drawn uniformly from the choices."""
    key_depth, key_width = jax.random.split(key)
    count = jax.random.choice(key_depth, jnp.array(layers))
    width = jax.random.choice(key_width, jnp.array(widths), (room.max_layers,))
    return jnp.where(jnp.arange(room.max_layers) < count, width, 0).astype(jnp.int32)


def _pick(draw: jax.Array, allowed: jax.Array) -> jax.Array:
    """The index, among those where `allowed` bool[n], that a uniform draw in [0, 1) falls on; 0 if there is none."""
    return jnp.argmax(jnp.cumsum(allowed) > jnp.floor(draw * jnp.sum(allowed)))


def add_neuron(
    room: Room, draw: jax.Array, noise: jax.Array, layers: Layers, topology: jax.Array
) -> tuple[Layers, jax.Array]:
    """One more neuron in a random layer that has room; its incoming, outgoing weights and bias are small noise."""
    layer = _pick(draw, (topology > 0) & (topology < room.max_width))
    grown = topology.at[layer].add(1)
    into, out_of, bias = noise[0], noise[1], noise[2, 0]
    h = room.max_width
    before = (jnp.arange(room.max_layers - 1) == layer - 1)[:, None, None]  # the matrix that leads into the layer
    fresh = Layers(
        w_in=jnp.broadcast_to(into[: room.obs, None], (room.obs, h)),
        b_in=jnp.broadcast_to(bias, (h,)),
        w=jnp.where(before, into[:h, None], out_of[None, :h]),
        b=jnp.broadcast_to(bias, (room.max_layers - 1, h)),
        w_out=jnp.broadcast_to(out_of[: room.act], (h, room.act)),
        b_out=jnp.zeros(room.act, jnp.float32),
    )
    new = split(room, mask(room, grown) & ~mask(room, topology))
    return jax.tree.map(jnp.where, new, fresh, layers), grown


def remove_neuron(
    room: Room, draw: jax.Array, noise: jax.Array, layers: Layers, topology: jax.Array
) -> tuple[Layers, jax.Array]:
    """Takes from a random layer that has more than `MIN_WIDTH` neurons the one with the smallest incoming L2 norm."""
    layer = _pick(draw, topology > MIN_WIDTH)
    incoming = jnp.concatenate([jnp.sum(layers.w_in**2, 0)[None], jnp.sum(layers.w**2, 1)])[layer]  # [H]
    index = jnp.arange(room.max_width)
    weakest = jnp.argmin(jnp.where(index < topology[layer], incoming, jnp.inf))
    closed = jnp.where(index >= weakest, jnp.minimum(index + 1, room.max_width - 1), index)
    chosen = (jnp.arange(room.max_layers) == layer)[:, None]
    order = jnp.where(chosen, closed, index)  # [L, H] which old neuron sits at each place
    shrunk = topology.at[layer].add(-1)
    moved = Layers(
        w_in=layers.w_in[:, order[0]],
        b_in=layers.b_in[order[0]],
        w=jax.vmap(lambda w, rows, columns: w[rows][:, columns])(layers.w, order[:-1], order[1:]),
        b=jax.vmap(lambda b, o: b[o])(layers.b, order[1:]),
        w_out=layers.w_out[order[depth(topology) - 1]],
        b_out=layers.b_out,
    )
    return _masked(room, moved, shrunk), shrunk


def add_layer(
    room: Room, draw: jax.Array, noise: jax.Array, layers: Layers, topology: jax.Array
) -> tuple[Layers, jax.Array]:
    """A layer of near identity (eye + noise, bias 0) behind a random hidden layer, as wide as that one."""
    layer = _pick(draw, topology > 0)
    slot = jnp.arange(room.max_layers)
    deeper = topology[jnp.where(slot > layer, slot - 1, slot)]
    h = room.max_width
    k = jnp.arange(room.max_layers - 1)
    source = jnp.where(k > layer, k - 1, k)
    new = (k == layer)[:, None, None]
    identity = jnp.eye(h, dtype=jnp.float32) + noise[:h, :h]
    return _masked(
        room,
        layers._replace(
            w=jnp.where(new, identity, layers.w[source]),
            b=jnp.where(new[..., 0], 0.0, layers.b[source]),
        ),
        deeper,
    ), deeper


def remove_layer(
    room: Room, draw: jax.Array, noise: jax.Array, layers: Layers, topology: jax.Array
) -> tuple[Layers, jax.Array]:
    """Takes out a random hidden layer and merges the maps around it linearly: W = W2 W1, b = W2 b1 + b2."""
    layer = _pick(draw, topology > 0)
    deep = depth(topology)
    slot = jnp.arange(room.max_layers)
    shallower = jnp.where(slot >= layer, jnp.append(topology[1:], jnp.int32(0)), topology)
    first, last = layer == 0, layer == deep - 1
    k = jnp.arange(room.max_layers - 1)
    behind = jnp.minimum(k + 1, room.max_layers - 2)
    merged_w = jax.vmap(jnp.matmul)(layers.w, layers.w[behind])
    merged_b = jax.vmap(jnp.matmul)(layers.b, layers.w[behind]) + layers.b[behind]
    here = ((k == layer - 1) & ~last)[:, None, None]
    after = (k >= layer)[:, None, None]
    w_last, b_last = layers.w[layer - 1], layers.b[layer - 1]  # only read when the last of several layers goes
    return _masked(
        room,
        Layers(
            w_in=jnp.where(first, layers.w_in @ layers.w[0], layers.w_in),
            b_in=jnp.where(first, layers.b_in @ layers.w[0] + layers.b[0], layers.b_in),
            w=jnp.where(here, merged_w, jnp.where(after, layers.w[behind], layers.w)),
            b=jnp.where(here[..., 0], merged_b, jnp.where(after[..., 0], layers.b[behind], layers.b)),
            w_out=jnp.where(last, w_last @ layers.w_out, layers.w_out),
            b_out=jnp.where(last, b_last @ layers.w_out + layers.b_out, layers.b_out),
        ),
        shallower,
    ), shallower


def mutate(room: Room, key: jax.Array, params: jax.Array, topology: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One structural mutation, drawn uniformly from those that apply; nothing happens where none does.

    Args:
        room: sizes of the network.
        key: random key.
        params: f32[P], zero outside the active part.
        topology: i32[L].

    Returns:
        New parameters and topology, of the same shapes.
    """
    key_draws, key_noise = jax.random.split(key)
    which, where = jax.random.uniform(key_draws, (2,), jnp.float32)
    noise = NOISE * jax.random.normal(key_noise, (room.max_width, max(room.max_width, room.obs, room.act)), jnp.float32)
    kinds = [
        (add_neuron, jnp.any((topology > 0) & (topology < room.max_width))),
        (remove_neuron, jnp.any(topology > MIN_WIDTH)),
    ]
    if room.max_layers > 1:
        kinds += [(add_layer, depth(topology) < room.max_layers), (remove_layer, depth(topology) > 1)]
    applies = jnp.stack([possible for _, possible in kinds])
    layers, grown = jax.lax.switch(
        _pick(which, applies),
        [partial(kind, room) for kind, _ in kinds],
        where,
        noise,
        split(room, params),
        topology,
    )
    possible = jnp.any(applies)
    return jnp.where(possible, join(layers), params), jnp.where(possible, grown, topology)


def _masked(room: Room, layers: Layers, topology: jax.Array) -> Layers:
    return jax.tree.map(lambda x, on: jnp.where(on, x, 0.0), layers, split(room, mask(room, topology)))
