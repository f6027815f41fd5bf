"""Reaction and diffusion: cells that see only what is in them, and what flows in and out.

A concentration i of a cell changes by ``d_i lap(x)_i + f(x)_i``, explicit Euler with a step of 1. The reaction f knows
no neighbour and so no direction: what is learnt on a grid runs on a mesh (Mordvintsev, Randazzo and Niklasson 2021,
"Differentiable Programming of Reaction-Diffusion Patterns", arXiv 2107.06862; Gray and Scott 1984, Pearson 1993).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.nca.cells import Automaton, Look, Rule, Start, automaton, first_colours
from neuralmutator.nca.torus import laplacian, to_grid, to_planes

Laplacian = Callable[[jax.Array], jax.Array]
"""``cells f32[..., C] -> f32[..., C]``, the mean of a cell's neighbours less the cell, or like it."""

TURING = np.array([[0.22, -0.27], [0.27, -0.25]], np.float32)
"""How an activator and its inhibitor change each other: stable alone, patterns where the inhibitor diffuses faster."""

GAIN = 1.5
"""By which a unit of a new reaction multiplies its concentration."""


def grid_laplacian(grid: jax.Array) -> jax.Array:
    """[[1, 2, 1], [2, -12, 2], [1, 2, 1]] / 16 of a grid f32[H, W, C] with joined borders; eigenvalues in [-1, 0]."""
    return to_grid(laplacian(to_planes(grid))) / 16


def diffusing(
    reaction: Rule,
    diffusion: Sequence[float] | np.ndarray | jax.Array,
    start: Start,
    look: Look = first_colours,
    laplacian: Laplacian = grid_laplacian,
    shape: Sequence[int] = (3, 3),
) -> Automaton:
    """Puts a system of reaction and diffusion together.

    Args:
        reaction: from the concentrations f32[..., C] of a cell to their change.
        diffusion: f32[C], one number for each concentration. Up to 1 the grid is stable, and so are meshes.
        start: what cells begin as.
        look: what they look like.
        laplacian: of the lattice, for example ``functools.partial(nca.surface_laplacian, surface)``.
        shape: of a lattice that `laplacian` takes.

    Raises:
        ValueError: if a number of `diffusion` is outside of 0 to 1, or the parts do not fit together.
    """
    rates = jnp.asarray(diffusion, jnp.float32)
    if rates.ndim != 1:
        raise ValueError(f"diffusion must be one number for each concentration, got shape {rates.shape}")
    if not check.is_traced(rates):
        check.number(0, 1, diffusion=float(rates.min()))
        check.number(0, 1, diffusion=float(rates.max()))
    channels = rates.size

    def perceive(cells: jax.Array) -> jax.Array:
        return jnp.concatenate([cells, laplacian(cells)], axis=-1)

    def apply(params: jax.Array, perceived: jax.Array) -> jax.Array:
        cells, flow = jnp.split(perceived, 2, axis=-1)
        return rates * flow + reaction.apply(params, cells)

    made = automaton(reaction._replace(apply=apply), channels, perceive, start=start, look=look, shape=shape)
    return made._replace(move=jax.checkpoint(made.move))  # cheaper to compute again than to remember


def reaction_diffusion(
    channels: int = 32,
    hidden: int = 128,
    decay: float = 0.05,
    diffusion: tuple[float, float] = (1 / 8, 1.0),
    laplacian: Laplacian = grid_laplacian,
    shape: Sequence[int] = (3, 3),
) -> Automaton:
    """A system whose reaction is learnt, ``f(x) = tanh(x W1 + b1) W2 - decay x``; 8,320 parameters by default.

    It cannot diverge, as tanh is bounded and everything decays. A new one makes Turing patterns from the first update:
    each concentration of the first half is an activator, and that of the second half its inhibitor. The first three
    are colours, and all begin as noise.

    Args:
        channels: concentrations in a cell, an even number.
        hidden: units of the reaction's hidden layer, at least as many as there are channels.
        decay: share of a concentration that is lost in an update.
        diffusion: of the first half of the channels, and of the second.
        laplacian: of the lattice; see `diffusing`.
        shape: of a lattice that `laplacian` takes.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(6, channels=channels)
    if channels % 2:
        raise ValueError(f"channels must be even, got {channels}")
    check.whole(channels, hidden=hidden)
    check.number(0, 1, open_low=True, decay=decay)
    first, half = channels * hidden, channels // 2

    def init(key: jax.Array) -> jax.Array:
        key_in, key_out = jax.random.split(key)
        w1 = 0.1 * jax.random.normal(key_in, (channels, hidden), jnp.float32)
        w2 = 3e-3 * jax.random.normal(key_out, (hidden, channels), jnp.float32)
        speeds = np.diag(0.3 * np.linspace(0.85, 1.15, half, dtype=np.float32))  # patterns of several sizes
        linear = np.kron(TURING, speeds) + decay * np.eye(channels, dtype=np.float32)
        w1 = w1.at[:, :channels].set(GAIN * np.eye(channels, dtype=np.float32))
        w2 = w2.at[:channels].add(linear.T / GAIN)
        return jnp.concatenate([w1.reshape(-1), jnp.zeros(hidden, jnp.float32), w2.reshape(-1)])

    def unflatten(params: jax.Array) -> dict[str, jax.Array]:
        w1, b1, w2 = jnp.split(params, (first, first + hidden))
        return {"w1": w1.reshape(channels, hidden), "b1": b1, "w2": w2.reshape(hidden, channels)}

    def apply(params: jax.Array, cells: jax.Array) -> jax.Array:
        w, columns = unflatten(params), jnp.moveaxis(cells, -1, 0).reshape(channels, -1)
        change = w["w2"].T @ jnp.tanh(w["w1"].T @ columns + w["b1"][:, None]) - decay * columns
        return jnp.moveaxis(change.reshape(channels, *cells.shape[:-1]), 0, -1)

    def start(key: jax.Array, shape: Sequence[int]) -> jax.Array:
        return 0.3 * jax.random.normal(key, (*shape, channels), jnp.float32)

    reaction = Rule(2 * first + hidden, init, apply, unflatten)
    return diffusing(reaction, np.repeat(diffusion, half), start, laplacian=laplacian, shape=shape)


def gray_scott(
    feed: float = 0.055,
    kill: float = 0.062,
    diffusion: tuple[float, float] = (1.0, 0.5),
    laplacian: Laplacian = grid_laplacian,
    shape: Sequence[int] = (3, 3),
) -> Automaton:
    """Gray and Scott's system of two substances, U + 2 V -> 3 V; U is fed, V is removed. Two parameters: feed and kill.

    A plane of U begins with some drops of V in it.

    Args:
        feed: that parameters begin with.
        kill: that parameters begin with.
        diffusion: of U and of V.
        laplacian: of the lattice; see `diffusing`.
        shape: of a lattice that `laplacian` takes.

    Raises:
        ValueError: if a number is out of range.
    """
    check.number(0, 1, feed=feed, kill=kill)

    def apply(params: jax.Array, cells: jax.Array) -> jax.Array:
        feed, kill = params
        u, v = cells[..., 0], cells[..., 1]
        made = u * v**2
        return jnp.stack([feed * (1 - u) - made, made - (feed + kill) * v], axis=-1)

    def start(key: jax.Array, shape: Sequence[int]) -> jax.Array:
        drops = jax.random.bernoulli(key, 0.02, shape).astype(jnp.float32)[..., None]
        for _ in range(3):
            drops = drops + laplacian(drops)
        v = jnp.minimum(8 * drops, 1)
        return jnp.concatenate([1 - v / 2, v / 2], axis=-1)

    def look(cells: jax.Array) -> jax.Array:
        return jnp.stack([cells[..., 0], cells[..., 0], 1 - cells[..., 1]], axis=-1)

    def unflatten(params: jax.Array) -> dict[str, jax.Array]:
        return {"feed": params[:1], "kill": params[1:]}

    reaction = Rule(2, lambda key: jnp.array([feed, kill], jnp.float32), apply, unflatten)
    return diffusing(reaction, diffusion, start, look, laplacian, shape)
