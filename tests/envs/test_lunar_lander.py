"""Against what Gymnasium's LunarLander-v3 did, recorded by `benchmarks/env_parity.py`; seeds tell the draws."""

from pathlib import Path

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils import seeding

from neuralmutator import envs
from neuralmutator.envs import LunarLander, lander_physics as physics, lunar_lander as lander

REAL = np.load(Path(__file__).parent / "lunar_lander.npz")
LIMIT = 1000
ENV = LunarLander()
PARAMS = ENV.default_params


def draws(seed):
    """As Gymnasium draws them: heights, push, and the dispersion of every step; and the recorder's random actions."""
    random, _ = seeding.np_random(seed)
    heights, push = random.uniform(0, 400 / 30 / 2, 12), random.uniform(-1000, 1000, 2)
    random.uniform(-1, 1, 2)
    dispersion = random.uniform(-1, 1, (LIMIT, 2))
    actions = np.random.default_rng(10**6 + seed).integers(4, size=LIMIT)
    return *(np.float32(x) for x in (heights, push, dispersion)), np.int32(actions)


def heuristic(o):
    """Gymnasium's pilot."""
    angle = (jnp.clip(0.5 * o[0] + o[2], -0.4, 0.4) - o[4]) * 0.5 - o[5]
    hover = (0.55 * jnp.abs(o[0]) - o[1]) * 0.5 - o[3] * 0.5
    down = (o[6] > 0) | (o[7] > 0)
    angle, hover = jnp.where(down, 0.0, angle), jnp.where(down, -0.5 * o[3], hover)
    sideways = jnp.where(angle < -0.05, 3, jnp.where(angle > 0.05, 1, 0))
    return jnp.where((hover > jnp.abs(angle)) & (hover > 0.05), 2, sideways)


@pytest.fixture(scope="module")
def played():
    """Episodes of both pilots: observations, returns, last rewards."""

    def episode(heights, push, dispersion, actions, is_heuristic):
        def step(carry, now):
            state, observation, alive, total, last = carry
            action = jnp.where(is_heuristic, heuristic(observation), now[1])
            observation, state, reward, terminated, _ = ENV.step_from(now[0], state, action, PARAMS)
            total, last = total + jnp.where(alive, reward, 0.0), jnp.where(alive, reward, last)
            return (state, observation, alive & ~terminated, total, last), observation

        first, state = ENV.reset_from(heights, push, PARAMS)
        start = (state.replace(time=jnp.int32(0)), first, jnp.bool_(True), 0.0, 0.0)
        (*_, total, last), observations = jax.lax.scan(step, start, (dispersion, actions))
        return jnp.concatenate([first[None], observations]), total, last

    flights, landings = len(REAL["flights"]), len(REAL["returns"])
    seeds = [*range(flights), *range(landings)]
    inputs = map(np.stack, zip(*map(draws, seeds), strict=True))
    found = jax.jit(jax.vmap(episode))(*inputs, jnp.arange(len(seeds)) >= flights)
    return jax.tree.map(lambda x: np.split(np.asarray(x), [flights]), found)


def test_free_flight(played):
    ours, real = played[0][0][:, :101:4], REAL["flights"]
    aloft = ~np.maximum.accumulate(np.isnan(real[..., 0]) | (real[..., 6:] > 0).any(axis=-1), axis=1)
    errors = np.abs(ours - real)[aloft][:, :6]
    assert len(errors) > 150 and errors.max() <= 1e-2 and np.median(errors) <= 1e-4


def test_whole_episodes_of_random_actions(played):
    assert np.median(np.abs(played[1][0] - REAL["flight_returns"])) < 3


def test_landings(played):
    returns, last = played[1][1], played[2][1]
    assert np.mean((last == 100) == (REAL["last"] == 100)) >= 0.93
    assert np.median(np.abs(returns - REAL["returns"])) <= 3
    assert abs(np.mean(returns) - np.mean(REAL["returns"])) <= 10
    assert np.mean(last == 100) > 0.8


def test_it_is_a_gymnax_environment():
    env, params = envs.make("LunarLander-v3")
    observation, state = env.reset(jax.random.key(0))
    assert env.observation_space(params).shape == observation.shape == (8,) and env.action_space(params).n == 4
    for t in range(3):
        observation, state, reward, terminated, truncated, info = env.step(jax.random.key(t), state, 2)
    assert int(state.time) == 3 and not terminated and not truncated and np.isfinite(reward)
    assert isinstance(env, gymnax.environments.environment.Environment) and not info["landed"]
    state = state.replace(time=999)
    assert env.step(jax.random.key(5), state, 0)[4]


def test_throttles():
    """Pairs of a continuous and a discrete action do the same; half throttle has three quarters of the power."""
    env, _ = envs.make("LunarLanderContinuous-v3")
    pairs = [([1.0, 0.0], 2), ([-1.0, -1.0], 1), ([0.0, 1.0], 3), ([-0.1, 0.4], 0), ([0.5, 0.0], 2)]

    @jax.jit
    @jax.vmap
    def both(throttle, discrete):
        throttles = env._throttle(throttle), ENV._throttle(discrete)
        return [lander._fire(state.bodies, *t, jnp.array([0.01, -0.02])) for t in throttles], throttles

    _, state = jax.jit(ENV.reset)(jax.random.key(0))
    (ours, theirs), (throttle, _) = both(*map(jnp.array, zip(*pairs, strict=True)))
    for a, b, before in zip(*map(jax.tree.leaves, (ours, theirs, state.bodies)), strict=True):
        np.testing.assert_allclose(a[:4], b[:4], atol=1e-6)
        np.testing.assert_allclose(a[4] - before, 0.75 * (b[4] - before), atol=1e-5)
    assert throttle[0][4] == 0.75 and np.abs(ours.vy[0] - state.bodies.vy[0]).max() > 0.1


def test_masses_are_box2ds():
    assert pytest.approx(4.816667, abs=1e-6) == physics.HULL_MASS
    assert pytest.approx(0.101307, abs=1e-6) == physics.HULL_CENTRE[1]
    assert pytest.approx(0.833315 - physics.HULL_MASS * physics.HULL_CENTRE[1] ** 2, abs=1e-5) == physics.HULL_INERTIA
    assert pytest.approx((0.0711111, 0.00179095), abs=1e-7) == (physics.LEG_MASS, physics.LEG_INERTIA)


def test_the_ground_near_a_body():
    """Against the whole ground, looked up by NumPy."""
    random = np.random.default_rng(0)
    terrain = random.uniform(0, 5, 11)
    for _ in range(100):
        x = random.uniform(0.5, 19.5)
        px, py = x + random.uniform(-0.7, 0.7), random.uniform(0, 6)
        piece = int(np.clip(px // 2, 0, 9))
        slope = (terrain[piece + 1] - terrain[piece]) / 2
        height = terrain[piece] + slope * (px - 2 * piece)
        distance, normal = physics.ground_near(jnp.asarray(terrain), jnp.float32(x)).distance(px, py)
        assert float(distance) == pytest.approx((py - height) / np.hypot(1, slope), abs=1e-4)
        np.testing.assert_allclose(normal, np.array([-slope, 1]) / np.hypot(1, slope), atol=1e-5)


def test_many_sweeps_are_sweeps():
    random = np.random.default_rng(1)
    vectors = [tuple(map(jnp.float32, random.normal(size=2))) for _ in range(3)]
    sweeps = physics._Sweeps.of(*vectors, (jnp.float32(0.6), jnp.float32(0.8)), 0.14, jnp.bool_(True), jnp.bool_(True))
    missing = tuple(map(jnp.float32, random.normal(size=3)))
    expected = missing
    for _ in range(21):
        expected = sweeps.sweep(expected)
    np.testing.assert_allclose(sweeps.sweeps(missing, 21), expected, rtol=2e-3, atol=1e-6)
