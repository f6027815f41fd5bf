import numpy as np
import pytest

from neuralmutator.nca import patterns


@pytest.mark.parametrize("name", patterns.PATTERNS)
def test_colours(name):
    image = patterns.PATTERNS[name](64)
    assert image.shape == (64, 64, 3) and image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1


def test_dots_cover_what_they_should():
    red = patterns.dots(160, period=16, radius=4.5)[..., 1] < 0.5
    assert red.mean() == pytest.approx(np.pi * 4.5**2 / (16 * 8), rel=0.05)
    np.testing.assert_array_equal(red[:, :-16], red[:, 16:])


def test_stripes_have_a_period():
    image = patterns.stripes(96, period=12)
    np.testing.assert_allclose(image[:, 12:], image[:, :-12], atol=1e-4)
    np.testing.assert_allclose(image[1:, :-1], image[:-1, 1:], atol=1e-4)


def test_checks_are_squares():
    image = patterns.checks(32, side=8)
    assert (image[:8, :8] == image[0, 0]).all() and (image[:8, 8:16] == image[0, 8]).all()
    assert not np.array_equal(image[0, 0], image[0, 8])


def test_voronoi_cells_fit_at_the_border():
    image = patterns.voronoi(64, cells=20)
    across = np.abs(np.diff(image, axis=1)).max(axis=(0, 2))
    assert np.abs(image[:, 0] - image[:, -1]).max() <= across.max()
    np.testing.assert_array_equal(image, patterns.voronoi(64, cells=20))
    assert not np.array_equal(image, patterns.voronoi(64, cells=20, seed=1))


def test_bricks_are_twice_as_long_as_high():
    mortar = patterns.bricks(64, height=8, joint=2)[..., 1] > 0.6
    assert mortar[0].all() and mortar[8].all() and not mortar[4].all()
    assert mortar[4, 0] and mortar[4, 16] and not mortar[4, 8] and mortar[12, 8] and not mortar[12, 0]


@pytest.mark.parametrize(("name", "period"), [("weave", 16), ("scales", 16), ("waves", 32), ("bricks", 16)])
def test_patterns_repeat(name, period):
    image = patterns.PATTERNS[name](96)
    np.testing.assert_allclose(image[:, period:], image[:, :-period], atol=1e-4)
    np.testing.assert_allclose(image[period:], image[:-period], atol=1e-4)


def test_walls_of_a_labyrinth_are_as_far_apart_as_they_should():
    image = patterns.labyrinth(128, period=10)[..., 0].astype(float)
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    order = np.argsort(frequency, axis=None)
    halfway = np.searchsorted(power.ravel()[order].cumsum(), power.sum() / 2)
    assert frequency.ravel()[order][halfway] == pytest.approx(0.1, rel=0.1)
    assert np.abs(image[0] - image[-1]).mean() < 2 * np.abs(np.diff(image, axis=0)).mean()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: patterns.dots(2), "size must be .* at least 3, got 2"),
        (lambda: patterns.dots(radius=0), "radius must be a finite number above 0"),
        (lambda: patterns.checks(side=0), "side must be"),
        (lambda: patterns.voronoi(cells=1), "cells must be"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
