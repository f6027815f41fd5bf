"""Textures that are drawn, f32[n, n, 3] of 0 to 1: what is true of them is known."""

from collections.abc import Callable, Mapping

import numpy as np

from neuralmutator.core import check


def dots(size: int = 128, period: float = 16, radius: float | None = None) -> np.ndarray:
    """Red dots on cream, in a lattice of equilateral triangles but for rounding: rows half a period apart.

    Args:
        size: height and width, pixels.
        period: between dots of a row, pixels.
        radius: of a dot, pixels; 9/32 of the period if not given.

    Raises:
        ValueError: if a number is out of range.
    """
    radius = 9 / 32 * period if radius is None else radius
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


def bricks(size: int = 128, height: int = 8, joint: float = 1.5) -> np.ndarray:
    """A wall of red bricks twice as long as high, each row half a brick aside.

    Args:
        size: height and width, pixels.
        height: of a row, pixels.
        joint: width of the mortar, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.whole(2, height=height)
    check.number(0, height, joint=joint)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    x = x + y // height % 2 * height
    near = np.minimum(_to_border(y, height), _to_border(x, 2 * height))
    return _mix(np.clip(near - joint / 2 + 0.5, 0, 1), (0.7, 0.25, 0.15), (0.85, 0.8, 0.75))


def weave(size: int = 128, width: int = 8) -> np.ndarray:
    """Strips of cloth, brown across and cream down, that go over and under each other.

    Args:
        size: height and width, pixels.
        width: of a strip, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.whole(2, width=width)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    over = (x // width + y // width) % 2
    along, aside = np.where(over == 1, x, y) % width / width, np.where(over == 1, y, x) % width / width
    light = 0.45 + 0.55 * np.sin(np.pi * (along + 0.5 / width)) * np.sqrt(np.sin(np.pi * (aside + 0.5 / width)))
    return light[..., None].astype(np.float32) * _mix(over, (0.65, 0.4, 0.2), (0.95, 0.9, 0.75))


def scales(size: int = 128, width: int = 16) -> np.ndarray:
    """Scales of a fish, blue with bright borders: discs in rows, of which the upper lies over the lower.

    Args:
        size: height and width, pixels.
        width: of a scale, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.whole(4, width=width)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    row, share = np.floor(2 * y / width), np.zeros((size, size), np.float32)
    for above in (0, 1, 2):  # the uppermost last
        r = row - above
        aside = (x + r % 2 * width / 2 + width / 2) % width - width / 2
        far = np.hypot(aside, y - r * width / 2) / (width / 2)
        share = np.where(far <= 1, np.clip(1.2 - far**2, 0, 1), share)
    return _mix(share, (0.1, 0.35, 0.55), (0.75, 0.9, 0.9))


def waves(size: int = 128, period: float = 8, length: float = 32) -> np.ndarray:
    """Dark lines on white that swing up and down.

    Args:
        size: height and width, pixels.
        period: between lines, pixels.
        length: of a swing, pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.number(0, open_low=True, period=period, length=length)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    wave = np.sin(2 * np.pi * (y + length / 8 * np.sin(2 * np.pi * x / length)) / period)
    return _mix(np.clip(wave + 0.5, 0, 1), (0.95, 0.95, 0.9), (0.2, 0.1, 0.35))


def labyrinth(size: int = 128, period: float = 10, seed: int = 0) -> np.ndarray:
    """Winding walls of even width, orange and black: noise of one wavelength; opposite borders fit.

    Args:
        size: height and width, pixels.
        period: between walls, pixels.
        seed: of the noise.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(3, size=size)
    check.number(2, size, period=period)
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=(size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    wave = np.fft.ifft2(noise * np.exp(-(((frequency * period - 1) / 0.15) ** 2))).real
    return _mix(np.clip(1.5 * wave / wave.std() + 0.5, 0, 1), (0.95, 0.6, 0.15), (0.1, 0.08, 0.1))


PATTERNS: Mapping[str, Callable[..., np.ndarray]] = {
    "dots": dots,
    "stripes": stripes,
    "checks": checks,
    "voronoi": voronoi,
    "bricks": bricks,
    "weave": weave,
    "scales": scales,
    "waves": waves,
    "labyrinth": labyrinth,
}
"""All of them by name."""


def _to_border(place: np.ndarray, period: float) -> np.ndarray:
    """Distance of pixels' middles from the next multiple of a period."""
    inside = (place + 0.5) % period
    return np.minimum(inside, period - inside)


def _mix(share: np.ndarray, first: tuple[float, ...], second: tuple[float, ...]) -> np.ndarray:
    share = np.asarray(share, np.float32)[..., None]
    return (share * np.array(first) + (1 - share) * np.array(second)).astype(np.float32)
