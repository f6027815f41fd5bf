import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from neuralmutator import nca

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
LAPLACIAN = np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]]) / 8


def test_how_many_numbers():
    automaton = nca.texture()
    assert automaton.num_params == 5868
    start = automaton.start(jax.random.key(0), (4, 5))
    assert start.shape == (4, 5, 12) and not start.any()
    np.testing.assert_array_equal(automaton.look(start), np.full((4, 5, 3), 0.5))


def test_an_update_is_what_the_article_writes():
    automaton = nca.texture(channels=3, hidden=5)
    params = 0.3 * jax.random.normal(jax.random.key(0), (automaton.num_params,))
    grid = np.random.default_rng(0).normal(size=(6, 7, 3)).astype(np.float32)
    fires = np.random.default_rng(1).uniform(size=(6, 7)) < 0.5
    seen = [grid[..., c] for c in range(3)]
    for kernel in (SOBEL, SOBEL.T, LAPLACIAN):
        seen += [ndimage.correlate(grid[..., c].astype(float), kernel, mode="wrap") for c in range(3)]
    seen = np.stack(seen, axis=-1)
    w = {name: np.asarray(value, float) for name, value in automaton.unflatten(params).items()}
    change = np.maximum(seen @ w["w1"] + w["b1"], 0) @ w["w2"] + w["b2"]
    np.testing.assert_allclose(nca.perceive_texture(jnp.asarray(grid)), seen, atol=1e-5)
    moved = automaton.move(params, jnp.asarray(grid), jnp.asarray(fires))
    np.testing.assert_allclose(moved, grid + change * fires[..., None], atol=1e-4)
    updated = automaton.update(jax.random.key(2), params, jnp.asarray(grid))
    assert 0.2 < np.mean(np.any(updated != grid, axis=-1)) < 0.8


def test_bad_input():
    with pytest.raises(ValueError, match=r"channels must be .* at least 3, got 2"):
        nca.texture(channels=2)
    with pytest.raises(ValueError, match="fire_rate must lie in"):
        nca.texture(fire_rate=0.0)
