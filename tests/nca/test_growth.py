import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca, rollout


def test_life_is_alpha_above_a_tenth_or_a_neighbour_of_it():
    grid = jnp.zeros((5, 5, 4)).at[1, 1, 3].set(0.11).at[4, 4, 3].set(0.1).at[0, 4, 0].set(1.0)
    expected = np.zeros((5, 5), bool)
    expected[:3, :3] = True
    np.testing.assert_array_equal(nca.living_cells(grid), expected)


def test_the_default_has_the_articles_number_of_parameters():
    automaton = nca.growing()
    assert automaton.num_params == 48 * 128 + 128 + 128 * 16 + 16 == 8336
    params = automaton.init(jax.random.key(0))
    variables = automaton.unflatten(params)
    assert {name: value.shape for name, value in variables.items()} == {
        "w1": (48, 128), "b1": (128,), "w2": (128, 16), "b2": (16,)
    }  # fmt: skip
    assert variables["w1"].std() == pytest.approx((2 / (48 + 128)) ** 0.5, rel=0.05)
    assert not variables["w2"].any()


def test_a_new_automaton_stands_still():
    seed = nca.seed_grid((9, 9))
    grid = nca.growing().update(jax.random.key(1), nca.growing().init(jax.random.key(0)), seed)
    np.testing.assert_array_equal(grid, seed)
    assert seed[4, 4, 3:].tolist() == [1.0] * 13 and seed.sum() == 13


def test_half_of_the_cells_fire():
    assert np.mean(nca.random_cells(jax.random.key(0), (200, 200))) == pytest.approx(0.5, abs=0.01)
    assert np.mean(nca.random_cells(jax.random.key(0), (200, 200), 0.2)) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_turned_cells_grow_the_pattern_turned(quarter):
    """A quarter turn of all cells is a quarter turn of the grid, exactly, if the same cells fire."""
    straight = nca.growing(channels=6, hidden=9, fire_rate=1.0)
    turned = nca.growing(channels=6, hidden=9, fire_rate=1.0, angle=quarter * np.pi / 2)
    params, key = 0.1 * jax.random.normal(jax.random.key(4), (straight.num_params,)), jax.random.key(0)
    seed = nca.seed_grid((15, 15), 6)
    one, _ = rollout(straight.step(params), key, seed, 6)
    other, _ = rollout(turned.step(params), key, seed, 6)
    assert np.abs(one).max() > 0.1 and not np.allclose(one, np.rot90(one), atol=1e-2)
    np.testing.assert_allclose(other, np.rot90(one, quarter), atol=1e-4)


def test_colours_on_white():
    grid = jnp.zeros((1, 3, 5)).at[0, 1].set(jnp.array([0.5, 0.0, 0.0, 0.5, 9.0])).at[0, 2, 3].set(1.0)
    np.testing.assert_allclose(nca.to_rgb(grid)[0], [[1, 1, 1], [1, 0.5, 0.5], [0, 0, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 3}, "channels must be .* got 3"),
        ({"hidden": 0}, "hidden must be .* got 0"),
        ({"fire_rate": 0.0}, "fire_rate must lie in .* got 0.0"),
        ({"fire_rate": float("nan")}, "fire_rate must lie in .* got nan"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        nca.growing(**options)
