"""Automata on surfaces, whose cells f32[V, C] are the vertices of a mesh (MeshNCA, Pajouheshgar et al. 2023).

A cell perceives its neighbours' states, less its own, times the harmonics (1, u_y, u_z, u_x) of the directions u to
them. What it learns on one mesh it does on another: nothing knows how many vertices there are, or where.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from neuralmutator.core import check
from neuralmutator.nca.cells import Automaton, Rule, automaton, random_cells
from neuralmutator.nca.rules import dense_rule
from neuralmutator.nca.surfaces import Surface, surface

USUAL = 6
"""Neighbours of a vertex in a regular mesh."""


def perceive_surface(
    surface: Surface, cells: jax.Array, density: ArrayLike | None = None, angle: ArrayLike | None = None
) -> jax.Array:
    """What vertices feel of their neighbours, and their own state, f32[V, 5 C].

    The first 4 C numbers are sums over neighbours, C of each harmonic: of (1, u_y, u_z, u_x) times the difference of
    states, where u is the unit direction to a neighbour. Where there are more than six, as in scanned meshes, the sums
    are scaled to six; the article scales nothing, and automata that learnt on an icosphere explode there. Where many
    triangles are slivers they still may. Directions are those of space, so a pattern knows up from down, and an
    automaton that reads the first harmonic only is the same however a surface is turned.

    The article's automata can be told how dense a pattern is and how it is turned. Its code does not show how, and
    the two forms here are ours. A pattern that is d times as dense has d times the gradient and d² times the
    curvature, so the three differences along directions are divided by d and the sum of differences by d²: the cells
    then perceive what they know, and draw it d times as dense. Below 1 the sum grows, and an automaton may explode: one
    that paints dots did at 0.85, not from 0.9 to 1.6. An angle turns the three differences about a vertex's normal, so
    no axes in tangent planes are chosen.

    Args:
        surface: from `nca.surface`.
        cells: f32[V, C].
        density: f32[] or f32[V], above 0; how dense a pattern is to be. None: 1.
        angle: f32[] or f32[V], radians; a pattern is turned by it, counter-clockwise seen from outside. None: 0.
    """
    messages = _messages(surface, cells)
    if angle is not None:
        messages = _turned(surface.normals, messages, jnp.asarray(angle, cells.dtype))
    if density is not None:
        scale = 1 / jnp.broadcast_to(jnp.asarray(density, cells.dtype), cells.shape[:1])
        messages *= jnp.stack([scale**2, scale, scale, scale], 1)[..., None]
    return jnp.concatenate([messages.reshape(len(cells), -1), cells], -1)


def _messages(surface: Surface, cells: jax.Array) -> jax.Array:
    """Sums of harmonics times differences of states, of at most `USUAL` neighbours' weight, f32[V, 4, C].

    Column by column of the table, XLA fuses what is gathered with what it is multiplied by; one product of small
    matrices for each vertex takes several times as long on a CPU. The gradient is left to JAX: gathers with reversed
    directions, which are as exact, were three times slower than its additions.
    """
    sums = [-surface.total[:, h, None] * cells for h in range(4)]
    for column in range(surface.neighbours.shape[1]):
        states = _of(cells, surface.neighbours[:, column])
        sums = [total + surface.harmonics[:, column, h, None] * states for h, total in enumerate(sums)]
    return jnp.stack(sums, 1) * jnp.minimum(1, USUAL / surface.valence)[:, None, None]


def _of(values: jax.Array, vertices: jax.Array) -> jax.Array:
    """Rows of values f32[V, ...]."""
    return values.at[vertices].get(mode="clip")


def _turned(normals: jax.Array, messages: jax.Array, angle: jax.Array) -> jax.Array:
    """The differences along directions turned back by an angle about normals (Rodrigues); messages f32[V, 4, C].

    Cells that perceive the world turned back draw what they know turned forth.
    """
    sum_, y, z, x = (messages[:, h] for h in range(4))
    n_x, n_y, n_z = (normals[:, i, None] for i in range(3))
    cos, sin = (jnp.broadcast_to(f(angle), normals.shape[:1])[:, None] for f in (jnp.cos, jnp.sin))
    along = (n_x * x + n_y * y + n_z * z) * (1 - cos)
    turned_x = cos * x - sin * (n_y * z - n_z * y) + along * n_x
    turned_y = cos * y - sin * (n_z * x - n_x * z) + along * n_y
    turned_z = cos * z - sin * (n_x * y - n_y * x) + along * n_z
    return jnp.stack([sum_, turned_y, turned_z, turned_x], 1)


def surface_laplacian(surface: Surface, cells: jax.Array) -> jax.Array:
    """The mean of the neighbours less a vertex's own, f32[V, C]: a quarter of the squared edge times the Laplacian.

    It is as large as that of `nca.grid_laplacian` for edges as long as a grid's cells. The sum over vertices, each
    times its valence, is 0.

    Args:
        surface: from `nca.surface`.
        cells: f32[V, C].
    """
    sums = jnp.zeros_like(cells)
    for column in range(surface.neighbours.shape[1]):
        sums += surface.harmonics[:, column, :1] * _of(cells, surface.neighbours[:, column])
    return sums / surface.valence[:, None] - cells


def mesh_automaton(
    surface: Surface,
    channels: int = 16,
    hidden: int = 128,
    fire_rate: float = 0.5,
    density: ArrayLike | None = None,
    angle: ArrayLike | None = None,
) -> Automaton:
    """The article's automaton on a surface; 12,432 parameters by default, the same for all surfaces.

    Cells begin at 0, and the first three channels are shown around grey. The surface may be traced: where a function
    that is compiled makes the automaton, its tables are arguments of the program, and surfaces of equal sizes share it.

    Args:
        surface: from `nca.surface`, `nca.icosphere`, `nca.torus_surface`.
        channels: numbers in a cell, at least 3.
        hidden: units of the rule's hidden layer.
        fire_rate: probability that a cell changes in an update.
        density: see `perceive_surface`.
        angle: see `perceive_surface`.

    Raises:
        ValueError: if a size, the rate or a density is out of range.
    """
    check.whole(3, channels=channels)
    check.whole(1, hidden=hidden)
    check.number(0, 1, open_low=True, fire_rate=fire_rate)
    _check_field(surface, "density", density, positive=True)
    _check_field(surface, "angle", angle)
    made = automaton(
        _rule(channels, hidden),
        channels,
        perceive=partial(perceive_surface, surface, density=density, angle=angle),
        fire=partial(random_cells, rate=fire_rate),
        shape=surface.vertices.shape[:1],
    )
    return made._replace(move=jax.checkpoint(made.move))  # a tenth of the memory in training, and no slower


def on_mesh(
    vertices: ArrayLike, faces: ArrayLike, channels: int = 16, hidden: int = 128, fire_rate: float = 0.5
) -> Automaton:
    """`mesh_automaton` on a mesh of vertices f[V, 3] and faces i[F, 3].

    Raises:
        ValueError: as `nca.surface` and `mesh_automaton`.
    """
    return mesh_automaton(surface(vertices, faces), channels, hidden, fire_rate)


def _rule(channels: int, hidden: int) -> Rule:
    """Two dense layers that begin as the article's code has them (IVRL/MeshNCA); a new automaton moves.

    The gains of 0.2 and 1.2 are of its Xavier-normal matrices; the first bias has PyTorch's default, the second is 0.
    """
    inputs = 5 * channels

    def init(key: jax.Array) -> jax.Array:
        key_first, key_bias, key_second = jax.random.split(key, 3)
        first = 0.2 * jax.nn.initializers.glorot_normal()(key_first, (inputs, hidden), jnp.float32)
        second = 1.2 * jax.nn.initializers.glorot_normal()(key_second, (hidden, channels), jnp.float32)
        bound = inputs**-0.5
        bias = jax.random.uniform(key_bias, (hidden,), jnp.float32, -bound, bound)
        return jnp.concatenate([first.reshape(-1), bias, second.reshape(-1), jnp.zeros(channels, jnp.float32)])

    return dense_rule(inputs, channels, hidden)._replace(init=init)


def _check_field(surface: Surface, name: str, field: ArrayLike | None, positive: bool = False) -> None:
    if field is None:
        return
    if np.shape(field) not in ((), surface.vertices.shape[:1]):
        count = surface.num_vertices
        raise ValueError(f"{name} must be one number or one of each of {count} vertices, got shape {np.shape(field)}")
    if not check.is_traced(field):
        values = np.asarray(field)
        if not np.isfinite(values).all() or (positive and not (values > 0).all()):
            raise ValueError(f"{name} must be finite{' and above 0' if positive else ''} everywhere")


def brush(surface: Surface, centre: ArrayLike, radius: ArrayLike, soft: ArrayLike = 0.0) -> jax.Array:
    """Which vertices lie in a ball, f32[V]: 1 within `radius` of `centre` f32[3], 0 beyond `radius` and `soft`.

    A mask for `paint` and `graft`; ``cells * (1 - brush)`` is a wound.
    """
    distance = jnp.linalg.norm(surface.vertices - jnp.asarray(centre, jnp.float32), axis=1)
    beyond = distance - radius
    return jnp.where(beyond <= 0, 1.0, jnp.clip(1 - beyond / jnp.maximum(soft, 1e-30), 0, 1))


def paint(cells: jax.Array, mask: jax.Array, values: ArrayLike) -> jax.Array:
    """Cells f32[..., C] with values f32[C] or f32[..., C] where a mask f32[...] is 1; as they were where it is 0."""
    return cells + mask[..., None] * (jnp.asarray(values, cells.dtype) - cells)


def graft(first: Automaton, second: Automaton, mask: ArrayLike) -> Automaton:
    """Two automata on one lattice: the first moves cells where a mask is 0, the second where it is 1, both in between.

    Its parameters are those of the first, then those of the second, and cells change when the first's do. Their
    patterns meet well if the second was trained from the first's parameters, so that channels mean the same.

    Args:
        first: also says what cells begin as and look like.
        second: of as many channels.
        mask: f32[V] of 0 to 1, for example from `brush`; f32[H, W] on a grid.

    Raises:
        ValueError: if they have not equally many channels, or the mask leaves 0 to 1.
    """
    if first.channels != second.channels:
        raise ValueError(f"both automata must have equally many channels, got {first.channels} and {second.channels}")
    if not check.is_traced(mask) and not ((np.asarray(mask) >= 0) & (np.asarray(mask) <= 1)).all():
        raise ValueError("mask must lie between 0 and 1")
    weight = jnp.asarray(mask, jnp.float32)[..., None]
    cut = first.num_params

    def init(key: jax.Array) -> jax.Array:
        key_first, key_second = jax.random.split(key)
        return jnp.concatenate([first.init(key_first), second.init(key_second)])

    def move(params: jax.Array, cells: jax.Array, fires: jax.Array | None) -> jax.Array:
        moved = second.move(params[cut:], cells, fires)
        return first.move(params[:cut], cells, fires) * (1 - weight) + moved * weight

    def unflatten(params: jax.Array) -> dict[str, jax.Array]:
        named = {f"first.{name}": value for name, value in first.unflatten(params[:cut]).items()}
        return named | {f"second.{name}": value for name, value in second.unflatten(params[cut:]).items()}

    count = cut + second.num_params
    return first._replace(num_params=count, init=init, move=move, unflatten=unflatten, move_few=None)
