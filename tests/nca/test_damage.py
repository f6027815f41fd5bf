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


def test_bad_damage():
    with pytest.raises(ValueError, match=r"damage must be one of left, .* got 'middle'"):
        nca.cut("middle", 10, 10)
    with pytest.raises(ValueError, match=r"square must be at most 10, .* got 16"):
        nca.cut("centre", 10, 20)
