"""How far an image is from a texture, without a pretrained network: sliced optimal transport between patches.

Both are taken apart into maps (a pyramid of sharpened images, by default), and these into patches. Along a direction,
the patches of one are moved to those of the other at least cost by sorting both (Niklasson et al. 2021 and Mordvintsev
and Niklasson 2021 use optimal transport; slicing is Heitz et al. 2021).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.nca.cells import Automaton

Features = Callable[[jax.Array], Sequence[jax.Array]]
"""``image f32[H, W, 3] -> [map f32[h, w, F], ...]``, of any sizes: what of an image is compared."""

BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16


class Texture(NamedTuple):
    """What is known of a target; arrays, that a jitted function may take as arguments."""

    directions: tuple[jax.Array, ...]  # of each map: f32[D, size, size, F], of length 1
    values: tuple[jax.Array, ...]  # of each map: f32[D, Q] the target's patches along each direction, sorted


def blur(image: jax.Array) -> jax.Array:
    """A binomial filter of five pixels in both directions, f32[H, W, C]; the image is mirrored at its border."""
    height, width = image.shape[:2]
    # Two products of matrices; as sums of shifted images it compiles for 15 seconds with its gradient.
    return jnp.einsum("ih,jw,hwc->ijc", _blurring(height), _blurring(width), image)


def pyramid(image: jax.Array, levels: int = 4) -> list[jax.Array]:
    """An image f32[H, W, C] and smaller ones, each half of the last, all sharpened: ``x + 2 (x - blur(x))``."""
    found = []
    for _ in range(levels):
        blurred = blur(image)
        found.append(image + 2 * (image - blurred))
        image = blurred[::2, ::2]
    return found


def describe(
    target: jax.Array,
    key: jax.Array | None = None,
    size: int = 5,
    directions: int = 512,
    values: int = 1024,
    features: Features = pyramid,
) -> Texture:
    """What is known of a target: its patches along random directions.

    Args:
        target: f32[H, W, 3] of 0 to 1.
        key: of the directions; ``jax.random.key(0)`` if not given.
        size: of a patch, pixels of a map.
        directions: of each map.
        values: kept along each direction.
        features: see `Features`.

    Raises:
        ValueError: if the target is no image, is not finite, or is too small for a patch.
    """
    check.whole(1, size=size, directions=directions, values=values)
    if target.ndim != 3 or target.shape[2] != 3:
        raise ValueError(f"target must have shape (H, W, 3), got {target.shape}")
    if not check.is_traced(target) and not np.isfinite(target).all():
        raise ValueError("target must be finite, got NaN or infinity")
    if min(target.shape[:2]) < 3:
        raise ValueError(f"target must be at least 3 pixels wide and high, got {target.shape[:2]}")
    key = jax.random.key(0) if key is None else key
    found_directions, found_values = [], []
    for level, seen in enumerate(features(jnp.asarray(target, jnp.float32))):
        _holds_a_patch(seen[None], size, "target", level)
        along = jax.random.normal(jax.random.fold_in(key, level), (directions, size, size, seen.shape[2]), jnp.float32)
        along = along / jnp.linalg.norm(along.reshape(directions, -1), axis=1)[:, None, None, None]
        found_directions.append(along)
        found_values.append(_resampled(_sorted(_projected(seen[None], along)), values))
    return Texture(tuple(found_directions), tuple(found_values))


def distance(
    key: jax.Array,
    texture: Texture,
    images: jax.Array,
    projections: int = 32,
    samples: int = 1024,
    features: Features = pyramid,
) -> jax.Array:
    """How far images are from a texture, f32[]: the mean squared distance along random directions, summed over maps.

    Args:
        key: of the directions and patches.
        texture: from `describe`, with the same `features`.
        images: f32[H, W, 3], or several f32[N, H, W, 3], whose patches are taken together.
        projections: directions of each map.
        samples: patches along each direction, at most.
        features: see `Features`.

    Raises:
        ValueError: if images are too small for a patch.
    """
    images = images if images.ndim == 4 else images[None]
    total = jnp.zeros(())
    for level, seen in enumerate(jax.vmap(features)(images)):
        _holds_a_patch(seen, texture.directions[level].shape[1], "images", level)
        key_directions, key_patches = jax.random.split(jax.random.fold_in(key, level))
        chosen = jax.random.randint(key_directions, (projections,), 0, len(texture.directions[level]))
        values = _projected(seen, texture.directions[level][chosen])
        if values.shape[1] > samples:
            values = values[:, jax.random.randint(key_patches, (samples,), 0, values.shape[1])]
        total += jnp.mean((_sorted(values) - _resampled(texture.values[level][chosen], values.shape[1])) ** 2)
    return total


def loss(
    target: jax.Array | Texture,
    projections: int = 32,
    samples: int = 1024,
    features: Features = pyramid,
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """``(key, images) -> f32[]``, how far images are from a target; see `describe` and `distance`.

    Args:
        target: f32[H, W, 3] of 0 to 1, or what `describe` made of it.
        projections: see `distance`.
        samples: see `distance`.
        features: what is compared; a pretrained network's maps, for example. Give `describe` the patch size that suits
            it (1 for maps that look around by themselves).

    Raises:
        ValueError: as `describe`.
    """
    texture = target if isinstance(target, Texture) else describe(target, features=features)
    return lambda key, images: distance(key, texture, images, projections, samples, features)


def held_out(target: jax.Array, levels: int = 4, size: int = 7, directions: int = 256) -> Texture:
    """What `exact_distance` judges by: other directions and larger patches than those of the training.

    Args:
        target: f32[H, W, 3] of 0 to 1.
        levels: of the pyramid; the smallest must still hold a patch.
        size: of a patch, pixels.
        directions: of each level.

    Raises:
        ValueError: as `describe`.
    """
    return describe(target, jax.random.key(123), size, directions, 4096, partial(pyramid, levels=levels))


def exact_distance(texture: Texture, images: jax.Array) -> jax.Array:
    """How far images are from a texture, f32[]: as `distance`, but all patches along all directions, without chance.

    Args:
        texture: from `held_out`.
        images: f32[H, W, 3], or several f32[N, H, W, 3], whose patches are taken together.

    Raises:
        ValueError: if images are too small for a patch.
    """
    images = images if images.ndim == 4 else images[None]
    total = jnp.zeros(())
    maps = jax.vmap(partial(pyramid, levels=len(texture.directions)))(images)
    for level, (along, values, seen) in enumerate(zip(*texture, maps, strict=True)):
        _holds_a_patch(seen, along.shape[1], "images", level)
        found = _sorted(_projected(seen, along))
        total += jnp.mean((_resampled(found, values.shape[1]) - values) ** 2)
    return total


def shuffled(key: jax.Array, target: jax.Array) -> jax.Array:
    """The target f32[H, W, 3] with its pixels in random order: its colours, and nothing of its texture."""
    return jax.random.permutation(key, target.reshape(-1, 3)).reshape(target.shape)


def overflow(cells: jax.Array) -> jax.Array:
    """Mean square f32[] of what cells hold beyond ±1: without it a training finds automata that explode later."""
    return jnp.mean((cells - jnp.clip(cells, -1, 1)) ** 2)


def texture_loss(
    automaton: Automaton,
    images_loss: Callable[[jax.Array, jax.Array], jax.Array],
    weight: float = 1.0,
    view: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """``(key, cells) -> f32[]``, for `rollout_trainer`: how far what cells look like is from a texture, and `overflow`.

    Args:
        automaton: what the cells are of.
        images_loss: from `loss`.
        weight: of the overflow.
        view: ``(key, colours f32[..., 3]) -> images f32[N, H, W, 3]``, for a lattice that is no image, such as
            windows on a mesh. None: colours are the image.
    """

    def cells_loss(key: jax.Array, cells: jax.Array) -> jax.Array:
        images = automaton.look(cells)
        if view is not None:
            key, key_view = jax.random.split(key)
            images = view(key_view, images)
        return images_loss(key, images) + weight * overflow(cells)

    return cells_loss


def _blurring(length: int) -> np.ndarray:
    """The filter along a side as a matrix f32[length, length]."""
    matrix = np.zeros((length, length), np.float32)
    mirrored = np.pad(np.arange(length), 2, "reflect")
    for place in range(length):
        np.add.at(matrix[place], mirrored[place : place + 5], BINOMIAL)
    return matrix


def _projected(maps: jax.Array, directions: jax.Array) -> jax.Array:
    """All patches of maps f32[N, h, w, F] along directions f32[D, s, s, F], f32[D, patches]: one convolution."""
    found = jax.lax.conv_general_dilated(maps, directions, (1, 1), "VALID", dimension_numbers=("NHWC", "OHWI", "CNHW"))
    return found.reshape(len(directions), -1)


def _sorted(values: jax.Array) -> jax.Array:
    """Values f32[..., N] in ascending order, but for those that differ by less than a share of N / 2^23 of them.

    A CPU sorts whole numbers ten times as fast as floats. Their high bits are those of the values, and their low bits
    are places, so that the gradient knows where each came from.
    """
    bits = max((values.shape[-1] - 1).bit_length(), 1)
    whole = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(values), jnp.int32)
    ordered = jnp.where(whole < 0, whole ^ 0x7FFFFFFF, whole)
    places = jnp.arange(values.shape[-1], dtype=jnp.int32)
    order = jnp.sort((ordered & ~((1 << bits) - 1)) | places) & ((1 << bits) - 1)
    return jnp.take_along_axis(values, order, axis=-1)


def _holds_a_patch(maps: jax.Array, size: int, name: str, level: int) -> None:
    height, width = maps.shape[1:3]
    if min(height, width) < size:
        raise ValueError(
            f"{name} must be larger: map {level} has {height} × {width} pixels, and a patch has {size} × {size}"
        )


def _resampled(values: jax.Array, count: int) -> jax.Array:
    """Sorted values f32[..., Q] as `count` of them, f32[..., count]."""
    known = values.shape[-1]
    return values[..., ((np.arange(count) + 0.5) * known / count).astype(int)]
