import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca

SMALL = nca.growing(channels=6, hidden=9)
UPDATE = jax.jit(SMALL.update)


def random_params(automaton, seed=0, size=0.3):
    return size * jax.random.normal(jax.random.key(seed), (automaton.num_params,))


def random_grid(seed, height=7, width=8, channels=6):
    """Some cells are empty, some alive, some neither."""
    key_grid, key_mask = jax.random.split(jax.random.key(seed))
    grid = jax.random.normal(key_grid, (height, width, channels)) * 0.3
    return grid * (jax.random.uniform(key_mask, (height, width, 1)) < 0.4)


def loops(params, grid, fires, angle=0.0, hidden=9):
    """One update as the article writes it, cell by cell, in float64."""
    grid, params = np.asarray(grid, np.float64), np.asarray(params, np.float64)
    height, width, channels = grid.shape
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernel_x = np.cos(angle) * sobel - np.sin(angle) * sobel.T
    kernel_y = np.sin(angle) * sobel + np.cos(angle) * sobel.T

    def at(values, i, j):
        return values[i, j] if 0 <= i < height and 0 <= j < width else np.zeros_like(values[0, 0])

    def living(values):
        near = [[max(at(values, i + a, j + b)[3] for a in (-1, 0, 1) for b in (-1, 0, 1)) for j in range(width)]
                for i in range(height)]  # fmt: skip
        return np.array(near) > 0.1

    inputs = 3 * channels
    cuts = np.cumsum([inputs * hidden, hidden, hidden * channels])
    w1, b1, w2, b2 = np.split(params, cuts)
    perceived, new = np.zeros((height, width, inputs)), grid.copy()
    for i in range(height):
        for j in range(width):
            dx, dy = np.zeros(channels), np.zeros(channels)
            for a in (-1, 0, 1):
                for b in (-1, 0, 1):
                    dx += kernel_x[a + 1, b + 1] * at(grid, i + a, j + b)
                    dy += kernel_y[a + 1, b + 1] * at(grid, i + a, j + b)
            perceived[i, j] = np.concatenate([grid[i, j], dx, dy])
            if fires[i, j]:
                units = np.maximum(perceived[i, j] @ w1.reshape(inputs, hidden) + b1, 0)
                new[i, j] += units @ w2.reshape(hidden, channels) + b2
    return perceived, new * (living(grid) & living(new))[..., None]


@pytest.mark.parametrize("angle", [0.0, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_an_update_is_what_the_article_writes(seed, angle):
    automaton, grid = nca.growing(channels=6, hidden=9, angle=angle), random_grid(seed)
    params = random_params(automaton, seed)
    fires = jax.random.uniform(jax.random.key(9 + seed), grid.shape[:2]) < 0.5
    perceived, new = loops(params, grid, np.asarray(fires), angle)
    np.testing.assert_allclose(nca.perceive(grid, angle), perceived, atol=1e-6)
    np.testing.assert_allclose(jax.jit(automaton.move)(params, grid, fires), new, atol=1e-5)
    assert 0.1 < np.mean(np.any(new != 0, axis=2)) < 1


def test_a_population_of_automata():
    params = jax.vmap(SMALL.init)(jax.random.split(jax.random.key(0), 3)) + 0.05
    grids = jax.jit(jax.vmap(SMALL.update, (None, 0, None)))(jax.random.key(1), params, nca.seed_grid((7, 7), 6))
    for one, grid in zip(params, grids, strict=True):
        np.testing.assert_allclose(grid, UPDATE(jax.random.key(1), one, nca.seed_grid((7, 7), 6)), atol=1e-6)


def test_parts_are_swapped():
    def own(grid):
        return grid

    rule = nca.dense_rule(6, 6, 9)
    automaton = nca.automaton(rule, 6, own, lambda key, shape: jnp.ones(shape, bool), lambda grid: grid[..., 3] >= 0)
    params, grid = random_params(automaton), jnp.abs(random_grid(0))
    w = automaton.unflatten(params)
    change = np.maximum(np.asarray(grid) @ w["w1"] + w["b1"], 0) @ w["w2"] + w["b2"]
    expected = grid + change
    expected = expected * (expected[..., 3:4] >= 0)
    np.testing.assert_allclose(automaton.update(jax.random.key(0), params, grid), expected, atol=1e-5)


def test_without_life_nothing_is_emptied():
    rule = nca.dense_rule(2, 2, 5)
    automaton = nca.automaton(rule, 2, lambda grid: grid, lambda key, shape: jnp.ones(shape, bool))
    params, grid = random_params(automaton), random_grid(1, channels=2)
    w = automaton.unflatten(params)
    expected = grid + np.maximum(np.asarray(grid) @ w["w1"] + w["b1"], 0) @ w["w2"] + w["b2"]
    np.testing.assert_allclose(automaton.update(jax.random.key(0), params, grid), expected, atol=1e-5)


def test_flat_parameters_are_put_together_as_they_were_cut():
    params = random_params(SMALL)
    number = {"w1": 0.0, "b1": 1.0, "w2": 2.0, "b2": 3.0}
    numbered = nca.per_variable(SMALL, lambda name, value: jnp.full(value.shape, number[name]), params)
    np.testing.assert_array_equal(numbered, np.repeat([0.0, 1, 2, 3], [18 * 9, 9, 9 * 6, 6]))


@pytest.mark.parametrize(
    ("rule", "channels", "message"),
    [
        (nca.dense_rule(7, 6), 6, "cannot take what a cell of 6 channels"),
        (nca.dense_rule(18, 5), 6, "must give 6 numbers per cell"),
        (nca.dense_rule(18, 5), 0, "channels must be .* at least 1, got 0"),
    ],
)
def test_bad_input(rule, channels, message):
    with pytest.raises(ValueError, match=message):
        nca.automaton(rule, channels, nca.perceive, nca.random_cells)
