import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import envs, fitness, networks
from neuralmutator.envs import CarRacing
from neuralmutator.envs.car import track as car_track
from neuralmutator.envs.car.track import MAX_TILES

STEP = {continuous: jax.jit(CarRacing(continuous).step_env) for continuous in (True, False)}


@pytest.fixture(scope="module")
def theirs():
    """Gymnasium's discrete variant."""
    return gymnasium.make("CarRacing-v3", continuous=False)


def test_it_is_a_gymnax_environment():
    env, params = envs.make("CarRacing-v3")
    picture, state = jax.jit(env.reset)(jax.random.key(0))
    assert picture.shape == env.observation_space(params).shape == (96, 96, 3) and picture.dtype == jnp.uint8
    space = env.action_space(params)
    assert space.shape == (3,) and space.contains(jnp.array([-1.0, 0.0, 0.0])) and params.max_steps_in_episode == 1000
    total = 0.0
    for t in range(20):
        picture, state, reward, terminated, info = STEP[True](jax.random.key(t), state, jnp.array([0, 0.5, 0]), params)
        total += reward
    assert int(state.time) == 20 and not terminated and not info["lap_finished"]
    assert total == pytest.approx(1000 * int(state.visited.sum()) / int(state.track.tiles) - 2, abs=1e-3)


@pytest.mark.slow
def test_choices_are_gymnasiums(theirs, benchmark_named):
    """The discrete variant drives as Gymnasium's does by the same choices."""
    theirs.reset(seed=1)
    track = benchmark_named("car_parity")["track_of"](theirs.unwrapped)
    env, params = envs.make("CarRacingDiscrete-v3")
    assert env.action_space(params).n == env.num_actions == 5
    _, state = env.reset_on(track, params)
    choices = [3] * 40 + [1] * 8 + [2] * 12 + [3] * 10 + [4] * 6 + [0] * 4
    for choice in choices:
        _, wanted, *_ = theirs.step(choice)
        _, state, reward, *_ = STEP[False](jax.random.key(0), state, choice, params)
        assert float(reward) == pytest.approx(wanted, abs=1e-3)
    place = theirs.unwrapped.car.hull.worldCenter
    np.testing.assert_allclose((state.car.x, state.car.y), place, atol=1e-3)


def test_ends(theirs):
    """All tiles visited, or the world left, which costs a hundred."""
    env, params = envs.make("CarRacing-v3")
    _, state = jax.jit(env.reset_on)(car_track.draw(jax.random.key(3)), params)
    nothing = jnp.zeros(3)
    nearly = state.replace(visited=jnp.arange(MAX_TILES) < state.track.tiles, paid=state.track.tiles - 1)
    _, _, reward, terminated, info = STEP[True](jax.random.key(0), nearly, nothing, params)
    assert (
        terminated and info["lap_finished"] and reward == pytest.approx(1000 / int(state.track.tiles) - 0.1, abs=1e-3)
    )
    car = state.car._replace(x=jnp.float32(340.0), wheel_x=state.car.wheel_x - state.car.x + 340)
    _, _, reward, terminated, info = STEP[True](jax.random.key(0), state.replace(car=car), nothing, params)
    assert terminated and not info["lap_finished"] and reward == -100


def test_a_population_shares_its_tracks():
    player = fitness.episodes("CarRacing-v3", networks.cnn(), episodes=3).player
    fixed, life = jax.eval_shape(player.begin, jax.random.key(0))
    assert (
        max(x.size for x in jax.tree.leaves(fixed)) > 10**6
        and max(x.size for x in jax.tree.leaves(life)) == 96 * 96 * 3
    )
