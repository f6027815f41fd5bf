import jax
import numpy as np
import pytest

from neuralmutator import nca


@pytest.mark.parametrize(("damage", "erased"), [("left", 1 / 2), ("right", 1 / 2), ("top", 1 / 2), ("bottom", 1 / 2)])
def test_halves(damage, erased):
    mask = np.asarray(nca.cut(damage, 10, 8))
    assert mask.shape == (10, 8, 1) and mask.mean() == erased
    corner = {"left": (5, 0), "right": (5, 7), "top": (0, 4), "bottom": (9, 4)}[damage]
    assert mask[corner] == 0


def test_a_square_in_the_middle():
    mask = np.asarray(nca.cut("centre", 56, 56))[..., 0]
    assert (mask == 0).sum() == 16 * 16 and not mask[20:36, 20:36].any()


def test_random_discs_are_where_the_article_has_them():
    masks = np.asarray(jax.vmap(lambda key: nca.random_disc(key, 64, 64))(jax.random.split(jax.random.key(0), 500)))[
        ..., 0
    ]
    across = np.linspace(-1, 1, 64)
    for mask in masks[:50]:
        down, right = np.nonzero(mask == 0)
        middle = across[right].mean(), across[down].mean()
        assert max(map(abs, middle)) < 0.53
        radius = np.hypot(across[right] - middle[0], across[down] - middle[1]).max()
        assert 0.05 < radius < 0.45
    # E[π r²] / 4 for r uniform in [0.1, 0.4]
    assert (masks == 0).mean() == pytest.approx(np.pi * 0.07 / 4, rel=0.1)


def masks_of(damage, count=500, side=64):
    draw = jax.jit(jax.vmap(lambda key: damage(key, side, side)))
    return np.asarray(draw(jax.random.split(jax.random.key(0), count)))[..., 0]


def test_larger_discs():
    masks = masks_of(lambda *args: nca.random_disc(*args, largest=0.6))
    # E[r²] for r uniform in [0.1, 0.6]; the rims of a few discs lie beyond the border of the grid
    assert (masks == 0).mean() == pytest.approx(np.pi * (0.6**3 - 0.1**3) / (3 * 0.5) / 4, rel=0.1)


def test_random_halves_are_cut_by_a_line_near_the_middle():
    masks = masks_of(nca.random_half)
    across = np.linspace(-1, 1, 64)
    points = np.stack([*np.meshgrid(across, across)], axis=-1)
    sides = []
    for mask in masks:
        erased, kept = points[mask == 0], points[mask == 1]
        assert set(np.unique(mask)) == {0, 1}
        towards = erased.mean(axis=0) - kept.mean(axis=0)
        sides.append(np.arctan2(towards[1], towards[0]))
    # A line separates them: along its normal, every erased cell is beyond every cell that is kept.
    for key, mask in zip(jax.random.split(jax.random.key(0), 50), masks[:50], strict=False):
        angle = float(jax.random.uniform(jax.random.split(key)[0], maxval=2 * np.pi))
        along = points @ np.array([np.cos(angle), np.sin(angle)])
        border = along[mask == 0].min()
        assert along[mask == 1].max() <= border + 1e-5 and -0.2 - 0.05 <= border <= 0.2 + 0.05
    assert (masks == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert np.histogram(sides, 4, (-np.pi, np.pi))[0].min() > 90  # of 500, each quarter of all directions 125


def test_no_line_goes_further_from_the_middle_than_told():
    masks = masks_of(lambda *args: nca.random_half(*args, furthest=0.0))
    np.testing.assert_allclose((masks == 0).mean(axis=(1, 2)), 0.5, atol=0.03)


def test_random_damages_are_halves_and_discs():
    masks = masks_of(nca.random_damage)
    corners = (masks[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).any(axis=1)  # discs never reach one
    assert 0.4 < corners.mean() < 0.6
    discs = masks[~corners]
    assert (discs == 0).mean() == pytest.approx(np.pi * (0.45**3 - 0.1**3) / (3 * 0.35) / 4, rel=0.15)


def test_one_severe_damage_of_three_takes_the_middle():
    masks = masks_of(nca.random_severe_damage, 900)
    corners = (masks[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).any(axis=1)
    assert corners.mean() == pytest.approx(1 / 3, abs=0.06)  # half of the other two thirds are halves
    middle = (masks[:, 29:35, 29:35] == 0).all(axis=(1, 2)) & ~corners  # which all discs in the middle erase
    # Of the other discs, a third of all, as many as a disc of 0.1 to 0.45 that is within 0.3 holds the square.
    across = np.linspace(-1, 1, 64)[34]
    places, radii = np.random.default_rng(0).uniform(-0.3, 0.3, (100_000, 2)), np.linspace(0.1, 0.45, 100_000)
    others = (np.hypot(*(np.abs(places) + across).T) <= radii).mean()
    assert middle.mean() == pytest.approx((1 + others) / 3, abs=0.06)
    large = (masks[~corners] == 0).mean(axis=(1, 2)) > 0.3**2 * np.pi / 4
    assert large.mean() == pytest.approx((1 + 3 / 7) / 2, abs=0.06)  # all of them, and 0.3 to 0.45 of 0.1 to 0.45


def test_bad_damage():
    with pytest.raises(ValueError, match=r"damage must be one of left, .* got 'middle'"):
        nca.cut("middle", 10, 10)
    with pytest.raises(ValueError, match=r"square must be at most 10, .* got 16"):
        nca.cut("centre", 10, 20)
