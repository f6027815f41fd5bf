"""Flat pictures of a surface, by which a loss of images sees what its vertices paint: no renderer is needed.

A chart is a window on the tangent plane of a vertex, seen from above without perspective. Which three vertices a pixel
lies between is found once, in NumPy; a picture is then a gather and a weighted sum.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.nca.surfaces import Surface

MOST_MISSED = 0.25
"""Share of a chart's pixels that may see nothing; where more do, another vertex is taken."""

TRIES = 8
"""Vertices that are tried for each chart that is wanted."""


class Charts(NamedTuple):
    """N windows of S x S pixels, a pytree of arrays."""

    vertices: jax.Array  # i32[N, S, S, 3], those of the face that a pixel sees
    weights: jax.Array  # f32[N, S, S, 3] at least 0, of sum 1


def surface_charts(surface: Surface, key: jax.Array, count: int = 64, size: int = 32, pixel: float = 1.0) -> Charts:
    """Windows about random vertices; their upper edge points to the y axis as nearly as it can.

    A pixel sees the face that turns towards it and lies nearest to the tangent plane. Where there is none, beyond the
    surface's outline, it sees what the nearest pixel sees that has one. Windows should be small against the radii of
    curvature, as what slopes is foreshortened: on a sphere, ``size * pixel`` edges of at most its radius.

    Args:
        surface: from `nca.surface`; not traced.
        key: of the vertices.
        count: windows, N.
        size: pixels along a side, S.
        pixel: distance of pixels, in mean lengths of an edge.

    Raises:
        ValueError: if a number is out of range, or windows are too large: more than a quarter of the pixels of nearly
            all see nothing.
    """
    check.random_key(key=key)
    check.whole(1, count=count, size=size)
    check.number(0, open_low=True, pixel=pixel)
    points, faces, normals = (np.asarray(x) for x in (surface.vertices, surface.faces, surface.normals))
    points, normals = points.astype(np.float64), normals.astype(np.float64)
    corners = points[faces]
    middles = corners.mean(1)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    step = pixel * float(surface.edge)
    # On a sphere a point at distance r on the tangent plane is at most sqrt(2) r away; and faces have a size.
    reach = step * size + np.linalg.norm(corners - middles[:, None], axis=-1).max()

    found: list[tuple[np.ndarray, np.ndarray]] = []
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for vertex in random.integers(len(points), size=TRIES * count):
        centre, normal = points[vertex], normals[vertex]
        near = ((middles - centre) ** 2).sum(1) < reach**2
        near = np.flatnonzero(near)[across[near] @ normal > 0]
        seen = _seen((corners[near] - centre) @ _axes(normal).T / step + (size - 1) / 2 * np.array([1, 1, 0]), size)
        if seen is not None:
            found.append((faces[near[seen[0]]], seen[1]))
        if len(found) == count:
            break
    if len(found) < count:
        raise ValueError(
            f"size and pixel must be smaller for this surface: of {TRIES * count} windows of {size} x {size} pixels "
            f"{pixel:g} edges apart, only {len(found)} see it with three quarters of their pixels or more"
        )
    vertices, weights = (np.stack(x) for x in zip(*found, strict=True))
    return Charts(jnp.asarray(vertices, jnp.int32), jnp.asarray(weights, jnp.float32))


def chart_images(charts: Charts, values: jax.Array) -> jax.Array:
    """What is seen of values f32[V, F] of vertices, for example colours, f32[N, S, S, F]."""
    seen = values.at[charts.vertices].get(mode="clip")
    return jnp.sum(seen * charts.weights[..., None], axis=-2)


class View(NamedTuple):
    """A whole surface as it is seen from afar, S x S pixels, a pytree of arrays."""

    charts: Charts  # of one window
    light: jax.Array  # f32[S, S], 0 where nothing is seen
    places: jax.Array  # i32[V, 2], row and column of every vertex, also of those behind


def surface_view(surface: Surface, size: int = 256, direction: Sequence[float] = (0.4, 0.5, 1.0)) -> View:
    """A picture of a surface, without perspective, lit from where it is seen.

    Args:
        surface: from `nca.surface`; not traced.
        size: pixels along a side, S.
        direction: f[3], from where it is seen; the y axis points up.

    Raises:
        ValueError: if the size is out of range, or the direction is zero.
    """
    check.whole(8, size=size)
    towards = np.asarray(direction, np.float64)
    if towards.shape != (3,) or not np.linalg.norm(towards) > 0:
        raise ValueError(f"direction must be three numbers that are not all 0, got {direction}")
    axes = _axes(towards / np.linalg.norm(towards))
    points, faces = np.asarray(surface.vertices, np.float64), np.asarray(surface.faces)
    middle = (points.max(0) + points.min(0)) / 2
    turned = (points - middle) @ axes.T
    scale = 0.47 * size / np.abs(turned[:, :2]).max()
    turned = scale * turned + np.array([1, 1, 0]) * (size - 1) / 2
    pixel, face, weights = _hit(turned[faces], size, np.negative)
    vertices = np.zeros((size * size, 3), np.int32)
    shares, light = np.zeros((size * size, 3), np.float32), np.zeros(size * size, np.float32)
    vertices[pixel], shares[pixel] = faces[face], weights
    facing = (np.asarray(surface.normals, np.float64)[faces[face]] * weights[..., None]).sum(1) @ axes[2]
    light[pixel] = 0.7 + 0.3 * np.clip(facing, 0, 1)
    charts = Charts(jnp.asarray(vertices.reshape(1, size, size, 3)), jnp.asarray(shares.reshape(1, size, size, 3)))
    places = np.clip(turned[:, 1::-1].round(), 0, size - 1).astype(np.int32)
    return View(charts, jnp.asarray(light.reshape(size, size)), jnp.asarray(places))


def view_image(view: View, colours: jax.Array) -> jax.Array:
    """What is seen of colours f32[V, 3] of vertices on white, f32[S, S, 3] of 0 to 1."""
    light = view.light[..., None]
    return jnp.where(light > 0, jnp.clip(chart_images(view.charts, colours)[0], 0, 1) * light, 1.0)


def _axes(normal: np.ndarray) -> np.ndarray:
    """Right, down and outward, f64[3, 3], of a window; down is against the y axis, or along z where that is outward."""
    up = np.array([0.0, 1.0, 0.0]) if abs(normal[1]) < 0.999 else np.array([0.0, 0.0, -1.0])
    right = np.cross(up, normal)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, normal), normal])


def _seen(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Which of the faces each pixel sees, and the weights of its corners; None if too many see none.

    Args:
        corners: f64[F, 3, 3], column and row in pixels, and height above the tangent plane.
        size: pixels along a side.
    """
    pixel, face, weights = _hit(corners, size, np.abs)
    if len(pixel) < (1 - MOST_MISSED) * size**2:
        return None
    chosen = np.full(size**2, -1)
    chosen[pixel] = np.arange(len(pixel))
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(chosen.reshape(size, size) < 0, return_distances=False, return_indices=True)
    chosen = chosen.reshape(size, size)[rows, columns]
    return face[chosen], weights[chosen]


def _hit(
    corners: np.ndarray, size: int, far: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels i[P] that lie in a face, the least far such face i[P] of each, and the weights f64[P, 3] of its corners.

    Args:
        corners: f64[F, 3, 3], column and row in pixels, and height.
        size: pixels along a side.
        far: how far a height is.
    """
    flat = corners[..., :2]
    low = np.clip(np.ceil(flat.min(1)), 0, size).astype(int)
    high = np.clip(np.floor(flat.max(1)) + 1, 0, size).astype(int)
    width, height = np.maximum(high - low, 0).T
    # All pixels in the faces' bounding boxes, one after another.
    face = np.repeat(np.arange(len(flat)), width * height)
    place = np.arange(len(face)) - np.repeat(np.cumsum(width * height) - width * height, width * height)
    column, row = low[face, 0] + place % width[face], low[face, 1] + place // width[face]
    a, b, c = flat[face].swapaxes(0, 1)
    p = np.stack([column, row], 1)
    weights = np.stack([_area(p, b, c), _area(a, p, c), _area(a, b, p)], 1)
    whole = weights.sum(1)
    inside = (np.abs(whole) > 1e-12) & ((weights / np.where(whole == 0, 1, whole)[:, None]).min(1) > -1e-6)
    face, pixel, weights = face[inside], (row * size + column)[inside], weights[inside] / whole[inside, None]
    weights = np.maximum(weights, 0)
    weights /= weights.sum(1, keepdims=True)
    order = np.lexsort((far((weights * corners[face, :, 2]).sum(1)), pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    return pixel, face[order[first]], weights[order[first]]


def _area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the areas f64[n] of flat triangles, with a sign."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
