from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuralmutator import nca
from neuralmutator.nca.windows import in_smallest_window

SMALL = nca.growing(channels=6, hidden=9)
UPDATE = jax.jit(SMALL.update)


def random_params(automaton, seed=0, size=0.3):
    return size * jax.random.normal(jax.random.key(seed), (automaton.num_params,))


alive = jax.jit(nca.living_cells)


@partial(jax.jit, static_argnames="margin")
def develop(key, params, grid, length, margin):
    return nca.develop(SMALL, key, params, grid, length, 12, margin)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(1, 2))
def test_within_a_window_as_without(seed, length, margin):
    """The result is that of the whole grid, unless life left the window, which is told."""
    grid = nca.seed_grid((17, 15), 6)
    params, key = random_params(SMALL, seed, 0.15), jax.random.key(seed)
    inside, whole = develop(key, params, grid, length, margin), develop(key, params, grid, length, 0)
    assert (inside.room <= margin) == (whole.room <= margin)
    if inside.room > margin:
        assert inside.room == whole.room
        np.testing.assert_allclose(inside.cells, whole.cells, atol=1e-5)
    rooms = []
    for t in range(length + 1):
        rows, columns = np.nonzero(alive(grid))
        rooms += [*rows, *(16 - rows), *columns, *(14 - columns)]
        grid = UPDATE(jax.random.fold_in(key, t), params, grid) if t < length else grid
    np.testing.assert_allclose(whole.cells, grid, atol=1e-5)
    assert whole.room == min(rooms, default=17)


def test_life_outside_of_the_window_is_told():
    outside = jnp.zeros((17, 17, 6)).at[0, 0, 3].set(1.0)
    assert develop(jax.random.key(0), random_params(SMALL), outside, 0, 1).room <= 1


def test_an_update_in_a_window_draws_as_the_whole_grid_does():
    grid = jnp.zeros((15, 16, 6)).at[5:9, 6:10].set(0.5)
    params, key = random_params(SMALL, 3, 0.1), jax.random.key(4)
    inside = nca.windowed(SMALL, 2).update(key, params, grid[2:-2, 2:-2])
    whole = UPDATE(key, params, grid)
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(inside, whole[2:-2, 2:-2], atol=1e-6)


def test_the_smallest_window_that_would_have_done_is_tried():
    """Margins 3 and 1; life comes within `room` of the border."""

    @jax.jit
    def tried(before, now):
        attempt = lambda margin: (jnp.int32(now), jnp.int32(margin))  # noqa: E731
        return in_smallest_window(attempt, (3, 1), before)

    for before, now, margin in [(9, 9, 3), (5, 9, 1), (6, 9, 3), (3, 9, 0), (9, 3, 0), (9, 4, 3), (4, 1, 0), (4, 2, 1)]:
        room, found = tried(before, now)
        assert (int(room), int(found)) == (now, margin), (before, now)


def test_windows_fit_the_target():
    target = np.zeros((40, 50, 4), np.float32)
    target[9:31, 12:38, 3] = 0.01  # 9 empty cells above and below
    assert nca.default_margins(jnp.asarray(target)) == (5, 3, 1)
    assert nca.default_margins(jnp.zeros((40, 40, 4))) == () == nca.default_margins(jnp.ones((40, 40, 4)))
    seen = []
    jax.jit(lambda target: seen.append(nca.default_margins(target)))(jnp.zeros((72, 80, 4)))
    assert seen == [(12, 10, 8, 6)]  # as for the article's targets, 16 cells from the border


def test_an_automaton_without_life_is_never_in_a_window():
    free = nca.automaton(nca.dense_rule(18, 6, 9), 6, nca.perceive, nca.random_cells)
    grid = nca.seed_grid((9, 9), 6)
    assert nca.develop(free, jax.random.key(0), random_params(free), grid, jnp.int32(2), 2).room == 0
