"""Surfaces whose vertices are cells: triangle meshes, as tables that compiled functions take as data."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from neuralmutator.core import check

MOST_VERTICES = 200_000
"""Most vertices of a surface; 16 channels of each are 13 MB."""

MOST_NEIGHBOURS = 32
"""Most neighbours of a vertex: the table of neighbours is as wide for all vertices as for the one that has most."""

MOST_POSITION = 1e15
"""Coordinates are smaller than this, so that float32 can square them."""

FLAT = 1e-9
"""A face is degenerate whose area is less than this times the square of its longest edge."""


class Surface(NamedTuple):
    """A closed triangle mesh of V vertices and F faces, a pytree of arrays; K is the largest number of neighbours."""

    vertices: jax.Array  # f32[V, 3]
    faces: jax.Array  # i32[F, 3], counter-clockwise from outside
    normals: jax.Array  # f32[V, 3] of length 1, the mean of the faces' about a vertex, weighted by area
    neighbours: jax.Array  # i32[V, K], ascending; padded by the vertex itself
    harmonics: jax.Array  # f32[V, K, 4], (1, u_y, u_z, u_x) of the direction u to each neighbour; 0 for padding
    total: jax.Array  # f32[V, 4], their sum over neighbours
    valence: jax.Array  # f32[V], neighbours of each vertex
    edge: jax.Array  # f32[], mean length of an edge

    @property
    def num_vertices(self) -> int:
        """Vertices of the surface, V."""
        return self.vertices.shape[0]


def surface(vertices: ArrayLike, faces: ArrayLike) -> Surface:
    """A surface of triangles. It may have several pieces, which do not feel each other.

    Args:
        vertices: positions f[V, 3].
        faces: the three vertices i[F, 3] of each triangle, all turned alike: counter-clockwise from outside.

    Raises:
        ValueError: if it is no closed surface: an edge belongs to one face (a hole) or to more than two, neighbours
            are turned differently, a vertex is in no face, a face has no area, an index is out of range, a number is
            not finite; or if it has too many vertices, or a vertex too many neighbours.
    """
    points, corners = _positions(vertices), np.asarray(faces)
    count = len(points)
    if corners.ndim != 2 or corners.shape[1] != 3 or corners.dtype.kind not in "iu":
        raise ValueError(f"faces must be whole numbers of shape [F, 3], got {corners.dtype} of shape {corners.shape}")
    if corners.size and (corners.min() < 0 or corners.max() >= count):
        bad = corners[(corners < 0) | (corners >= count)][0]
        raise ValueError(f"faces must hold numbers of vertices from 0 to {count - 1}, got {bad}")
    corners = corners.astype(np.int64)
    lost = np.setdiff1d(np.arange(count), corners)
    if lost.size:
        raise ValueError(
            f"every vertex must be in a face, but vertex {lost[0]} is in none ({lost.size} loose vertices)"
        )
    across = _across(points, corners)
    start, end = _edges(corners, count)

    valence = np.bincount(start, minlength=count)
    widest = int(valence.max())
    if widest > MOST_NEIGHBOURS:
        raise ValueError(
            f"a vertex must have at most {MOST_NEIGHBOURS} neighbours, but vertex {valence.argmax()} has {widest}"
        )
    column = np.arange(len(start)) - np.repeat(np.cumsum(valence) - valence, valence)
    neighbours = np.tile(np.arange(count)[:, None], (1, widest))
    neighbours[start, column] = end
    offset = points[end] - points[start]
    length = np.linalg.norm(offset, axis=1)
    u = offset / length[:, None]
    harmonics = np.zeros((count, widest, 4))
    harmonics[start, column] = np.stack([np.ones(len(u)), u[:, 1], u[:, 2], u[:, 0]], 1)
    normals = np.zeros((count, 3))
    for corner in corners.T:
        np.add.at(normals, corner, across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)

    def f32(x: np.ndarray) -> jax.Array:
        return jnp.asarray(x, jnp.float32)

    return Surface(
        f32(points),
        jnp.asarray(corners, jnp.int32),
        f32(normals),
        jnp.asarray(neighbours, jnp.int32),
        f32(harmonics),
        f32(harmonics.sum(1)),
        f32(valence),
        f32(length.mean()),
    )


def _positions(vertices: ArrayLike) -> np.ndarray:
    points = np.asarray(vertices)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "iuf":
        raise ValueError(f"vertices must be numbers of shape [V, 3], got {points.dtype} of shape {points.shape}")
    if not 4 <= len(points) <= MOST_VERTICES:
        raise ValueError(f"a surface must have 4 to {MOST_VERTICES:,} vertices, got {len(points):,}")
    points = points.astype(np.float64)
    if not (np.abs(points) < MOST_POSITION).all():
        raise ValueError(f"vertices must be finite and below {MOST_POSITION:g}")
    return points


def _across(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Normals f64[F, 3] of the faces, twice as long as their areas; none may be degenerate."""
    a, b, c = points[corners].swapaxes(0, 1)
    across = np.cross(b - a, c - a)
    longest = np.max([((b - a) ** 2).sum(1), ((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)], 0)
    flat = np.linalg.norm(across, axis=1) <= 2 * FLAT * longest
    if flat.any():
        raise ValueError(f"every face must have an area, but that of face {flat.argmax()} is zero ({flat.sum()} such)")
    return across


def _edges(corners: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The edges in both directions, i64[E] and i64[E], ascending; each must stand once in either."""
    code, times = np.unique(corners * count + np.roll(corners, -1, 1), return_counts=True)
    start, end = code // count, code % count
    place = np.searchsorted(code, end * count + start)
    place = np.minimum(place, len(code) - 1)
    back = np.where(code[place] == end * count + start, times[place], 0)
    for bad, what in (
        (times + back > 2, "each edge must belong to two faces, but edge ({}, {}) belongs to more ({} such)"),
        (times + back < 2, "the surface has a hole: edge ({}, {}) belongs to one face only ({} such)"),
        (times == 2, "faces must be turned alike, but those at edge ({}, {}) are not ({} such)"),
    ):
        if bad.any():
            raise ValueError(what.format(start[bad][0], end[bad][0], bad.sum()))
    return start, end


def icosphere(frequency: int) -> Surface:
    """A sphere of radius 1, whose vertices are nearly evenly spread.

    Every face of an icosahedron is cut into ``frequency²`` triangles, whose corners are pushed out to the sphere.

    Args:
        frequency: pieces of an icosahedron's edge, nu: 10 nu² + 2 vertices (all with 6 neighbours but for 12 with 5)
            and 20 nu² faces.

    Raises:
        ValueError: if the frequency is not a whole number from 1, or there are too many vertices.
    """
    check.whole(1, frequency=frequency)
    if 10 * frequency**2 + 2 > MOST_VERTICES:
        most = int(((MOST_VERTICES - 2) / 10) ** 0.5)
        raise ValueError(f"frequency must be at most {most}, got {frequency}")
    golden = (1 + 5**0.5) / 2
    corners = np.array([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)])
    corners = np.concatenate([np.roll(corners, turn, 1) for turn in range(3)])
    near = np.isclose(np.linalg.norm(corners[:, None] - corners, axis=-1), 2)
    triples = np.argwhere(near[:, :, None] & near[:, None] & near[None])
    triples = triples[(triples[:, 0] < triples[:, 1]) & (triples[:, 1] < triples[:, 2])]
    inward = np.linalg.det(corners[triples]) < 0
    triples[inward] = triples[inward][:, ::-1]

    # Points of a face are i A + j B + k C with i + j + k = nu. Those on an edge, found from two faces, are one.
    i, j = np.array([(i, j) for i in range(frequency + 1) for j in range(frequency + 1 - i)]).T
    parts = np.stack([i, j, frequency - i - j], 1)
    weights = np.zeros((20, len(parts), 12), np.int64)
    np.put_along_axis(weights, triples[:, None], parts[None], 2)
    weights, number = np.unique(weights.reshape(-1, 12), axis=0, return_inverse=True)
    points = weights @ corners
    row = {(a, b): n for n, (a, b) in enumerate(zip(i, j, strict=True))}
    small = [(row[a, b], row[a + 1, b], row[a, b + 1]) for a, b in row if a + b < frequency]
    small += [(row[a + 1, b], row[a + 1, b + 1], row[a, b + 1]) for a, b in row if a + b < frequency - 1]
    faces = (np.arange(20)[:, None, None] * len(parts) + np.array(small)).reshape(-1, 3)
    return surface(points / np.linalg.norm(points, axis=1, keepdims=True), number.reshape(-1)[faces])


def torus_surface(around: int, across: int, ratio: float = 2.0) -> Surface:
    """A ring about the y axis, whose tube has radius 1; every vertex has 6 neighbours.

    Args:
        around: vertices along the ring, at least 3.
        across: vertices about the tube, an even number of at least 4: every other row is shifted by half an edge.
            Triangles are nearly equilateral on the ring's middle if it is ``around / (0.87 ratio)``.
        ratio: radius of the ring in radii of the tube, above 1.

    Raises:
        ValueError: if a size or the ratio is out of range.
    """
    check.whole(3, around=around)
    check.whole(4, across=across)
    check.number(1, open_low=True, ratio=ratio)
    if across % 2:
        raise ValueError(f"across must be even, got {across}")
    if around * across > MOST_VERTICES:
        raise ValueError(f"around times across must be at most {MOST_VERTICES:,}, got {around * across:,}")
    i, j = (x.reshape(-1) for x in np.meshgrid(np.arange(around), np.arange(across), indexing="ij"))
    turn, tilt = 2 * np.pi * (i + j / 2) / around, 2 * np.pi * j / across
    radius = ratio + np.cos(tilt)
    points = np.stack([radius * np.cos(turn), np.sin(tilt), radius * np.sin(turn)], 1)

    def number(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Of a vertex; once about the tube is half of `across` along the ring, since each row is shifted by a half."""
        return (i + j // across * (across // 2)) % around * across + j % across

    a, b, c, d = number(i, j), number(i, j + 1), number(i + 1, j), number(i - 1, j + 1)
    return surface(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, d, b], 1)]))
