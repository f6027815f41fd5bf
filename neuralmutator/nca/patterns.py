"""Textures that are drawn, f32[n, n, 3] of 0 to 1: what is true of them is known."""

from collections.abc import Callable, Mapping

import numpy as np

from neuralmutator.core import check


def dots(size: int = 128, period: float = 16, radius: float = 4.5) -> np.ndarray:
    """Red dots on cream, in a lattice of equilateral triangles but for rounding: rows half a period apart.

    Args:
        size: height and width, pixels.
        period: between dots of a row, pixels.
        radius: of a dot, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.number(0, open_low=True, period=period, radius=radius)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    near = []
    for row in (np.floor(2 * y / period), np.floor(2 * y / period) + 1):
        aside = (x + row % 2 * period / 2 + period / 2) % period - period / 2
        near.append(np.hypot(aside, y - row * period / 2))
    return _mix(np.clip(radius - np.minimum(*near) + 0.5, 0, 1), (0.85, 0.15, 0.15), (0.95, 0.9, 0.75))


def stripes(size: int = 128, period: float = 12) -> np.ndarray:
    """Blue and yellow stripes, from the lower left to the upper right.

    Args:
        size: height and width, pixels.
        period: of the stripes along a side, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.number(0, open_low=True, period=period)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    wave = np.sin(2 * np.pi * (x + y) / period)
    return _mix(np.clip(1.5 * wave + 0.5, 0, 1), (0.1, 0.3, 0.7), (0.95, 0.85, 0.3))


def checks(size: int = 128, side: int = 8) -> np.ndarray:
    """White and blue squares.

    Args:
        size: height and width, pixels.
        side: of a square, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.whole(1, side=side)
    y, x = np.mgrid[:size, :size]
    return _mix((x // side + y // side) % 2, (0.9, 0.9, 0.9), (0.1, 0.1, 0.3))


def voronoi(size: int = 128, cells: int = 80, seed: int = 0) -> np.ndarray:
    """Green cells with dark walls: the points that are nearest to random centres; opposite borders fit.

    Args:
        size: height and width, pixels.
        cells: their number.
        seed: of the centres.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.whole(2, cells=cells)
    centres = np.random.default_rng(seed).uniform(0, size, (cells, 2))
    places = np.moveaxis(np.mgrid[:size, :size], 0, -1)[:, :, None]
    apart = np.abs(places - centres)
    far = np.sort(np.hypot(*np.moveaxis(np.minimum(apart, size - apart), -1, 0)))
    return _mix(np.clip((far[..., 1] - far[..., 0]) / 3, 0, 1), (0.55, 0.8, 0.4), (0.1, 0.25, 0.15))


PATTERNS: Mapping[str, Callable[[int], np.ndarray]] = {
    "dots": dots,
    "stripes": stripes,
    "checks": checks,
    "voronoi": voronoi,
}
"""All of them by name."""


def _mix(share: np.ndarray, first: tuple[float, ...], second: tuple[float, ...]) -> np.ndarray:
    share = np.asarray(share, np.float32)[..., None]
    return (share * np.array(first) + (1 - share) * np.array(second)).astype(np.float32)
