from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator import nca, rollout

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


def test_life_is_alpha_above_a_tenth_or_a_neighbour_of_it():
    grid = jnp.zeros((5, 5, 4)).at[1, 1, 3].set(0.11).at[4, 4, 3].set(0.1).at[0, 4, 0].set(1.0)
    expected = np.zeros((5, 5), bool)
    expected[:3, :3] = True
    np.testing.assert_array_equal(nca.alive(grid), expected)


def test_the_default_has_the_articles_number_of_parameters():
    automaton = nca.growing()
    assert automaton.num_params == 48 * 128 + 128 + 128 * 16 + 16 == 8336
    params = automaton.init(jax.random.key(0))
    variables = automaton.variables(params)
    assert {name: value.shape for name, value in variables.items()} == {
        "w1": (48, 128), "b1": (128,), "w2": (128, 16), "b2": (16,)
    }  # fmt: skip
    assert variables["w1"].std() == pytest.approx((2 / (48 + 128)) ** 0.5, rel=0.05)
    assert not variables["w2"].any()


def test_a_new_automaton_stands_still():
    seed = nca.seed((9, 9))
    grid = nca.growing().update(jax.random.key(1), nca.growing().init(jax.random.key(0)), seed)
    np.testing.assert_array_equal(grid, seed)
    assert seed[4, 4, 3:].tolist() == [1.0] * 13 and seed.sum() == 13


def test_half_of_the_cells_fire():
    assert np.mean(nca.fire(jax.random.key(0), (200, 200))) == pytest.approx(0.5, abs=0.01)
    assert np.mean(nca.fire(jax.random.key(0), (200, 200), 0.2)) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_turned_cells_grow_the_pattern_turned(quarter):
    """A quarter turn of all cells is a quarter turn of the grid, exactly, if the same cells fire."""
    straight = nca.growing(channels=6, hidden=9, fire_rate=1.0)
    turned = nca.growing(channels=6, hidden=9, fire_rate=1.0, angle=quarter * np.pi / 2)
    params, key = random_params(straight, 4, 0.1), jax.random.key(0)
    seed = nca.seed((15, 15), 6)
    one, _ = rollout(straight.step(params), key, seed, 6)
    other, _ = rollout(turned.step(params), key, seed, 6)
    assert np.abs(one).max() > 0.1 and not np.allclose(one, np.rot90(one), atol=1e-2)
    np.testing.assert_allclose(other, np.rot90(one, quarter), atol=1e-4)


alive = jax.jit(nca.alive)


@partial(jax.jit, static_argnames="margin")
def develop(key, params, grid, length, margin):
    return nca.develop(SMALL, key, params, grid, length, 12, margin)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(1, 2))
def test_within_a_window_as_without(seed, length, margin):
    """The result is that of the whole grid, unless life left the window, which is told."""
    grid = nca.seed((17, 15), 6)
    params, key = random_params(SMALL, seed, 0.15), jax.random.key(seed)
    inside, whole = develop(key, params, grid, length, margin), develop(key, params, grid, length, 0)
    assert (inside.room <= margin) == (whole.room <= margin)
    if inside.room > margin:
        assert inside.room == whole.room
        np.testing.assert_allclose(inside.grid, whole.grid, atol=1e-5)
    rooms = []
    for t in range(length + 1):
        rows, columns = np.nonzero(alive(grid))
        rooms += [*rows, *(16 - rows), *columns, *(14 - columns)]
        grid = UPDATE(jax.random.fold_in(key, t), params, grid) if t < length else grid
    np.testing.assert_allclose(whole.grid, grid, atol=1e-5)
    assert whole.room == min(rooms, default=17)


def test_life_outside_of_the_window_is_told():
    outside = jnp.zeros((17, 17, 6)).at[0, 0, 3].set(1.0)
    assert develop(jax.random.key(0), random_params(SMALL), outside, 0, 1).room <= 1


def test_a_population_of_automata():
    params = jax.vmap(SMALL.init)(jax.random.split(jax.random.key(0), 3)) + 0.05
    grids = jax.jit(jax.vmap(SMALL.update, (None, 0, None)))(jax.random.key(1), params, nca.seed((7, 7), 6))
    for one, grid in zip(params, grids, strict=True):
        np.testing.assert_allclose(grid, UPDATE(jax.random.key(1), one, nca.seed((7, 7), 6)), atol=1e-6)


def test_parts_are_swapped():
    def own(grid):
        return grid

    rule = nca.dense_rule(6, 6, 9)
    automaton = nca.automaton(rule, 6, own, lambda key, shape: jnp.ones(shape, bool), lambda grid: grid[..., 3] >= 0)
    params, grid = random_params(automaton), jnp.abs(random_grid(0))
    w = automaton.variables(params)
    change = np.maximum(np.asarray(grid) @ w["w1"] + w["b1"], 0) @ w["w2"] + w["b2"]
    expected = grid + change
    expected = expected * (expected[..., 3:4] >= 0)
    np.testing.assert_allclose(automaton.update(jax.random.key(0), params, grid), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nca.growing(channels=3), "channels must be .* got 3"),
        (lambda: nca.growing(hidden=0), "hidden must be .* got 0"),
        (lambda: nca.growing(fire_rate=0.0), "fire_rate must lie in .* got 0.0"),
        (lambda: nca.automaton(nca.dense_rule(7, 6), 6), "cannot take what a cell of 6 channels"),
        (lambda: nca.automaton(nca.dense_rule(18, 5), 6), "must give 6 numbers per cell"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_colours_on_white():
    grid = jnp.zeros((1, 3, 5)).at[0, 1].set(jnp.array([0.5, 0.0, 0.0, 0.5, 9.0])).at[0, 2, 3].set(1.0)
    np.testing.assert_allclose(nca.to_rgb(grid)[0], [[1, 1, 1], [1, 0.5, 0.5], [0, 0, 0]])
