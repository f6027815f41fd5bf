import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.runs.automata import Model
from neuralmutator.runs.film import FilmConfig, film


def small(params):
    return Model(np.zeros((18, 18, 4), np.float32), params, settings={"channels": 6, "hidden": 8})


def test_a_film_is_the_automaton_with_its_damage():
    automaton = nca.growing(6, 8)
    params = 0.2 * jax.random.normal(jax.random.key(0), (automaton.num_params,))
    options = FilmConfig(steps=6, damage="disc", damage_at=4, x=12, y=9, radius=3.5, every=2)
    frames = film(small(params), options)
    assert frames.shape == (4, 18, 18, 3) and frames.dtype == np.uint8
    grid, expected = nca.seed_grid((18, 18), 6), []
    down, across = np.mgrid[:18, :18]
    mask = ((across - 12) ** 2 + (down - 9) ** 2 > 3.5**2)[..., None]
    for t in range(7):
        if t % 2 == 0:
            expected.append(np.round(255 * np.asarray(nca.to_rgb(grid))))
        grid = grid * mask if t == 4 else grid
        grid = automaton.update(jax.random.fold_in(jax.random.key(0), t), params, jnp.asarray(grid))
    assert np.abs(np.stack(expected) - frames).max() <= 1
    assert np.abs(frames.astype(int) - 255).max(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be .* got 0"),
        ({"every": 7, "steps": 6}, "every must be at most 6"),
        ({"damage": "disc", "x": 18, "damage_at": 2}, "x must lie between 0 and 17, within the grid, got 18"),
        ({"damage": "disc", "radius": 0.0, "damage_at": 2}, "radius must be"),
        ({"damage": "nose", "damage_at": 2}, "damage must be one of"),
        ({"damage": "left", "damage_at": 6, "steps": 6}, "damage_at must be less than 6"),
    ],
)
def test_a_bad_film(options, message):
    with pytest.raises(ValueError, match=message):
        film(small(jnp.zeros(nca.growing(6, 8).num_params)), FilmConfig(**options))
