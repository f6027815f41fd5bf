import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import envs
from neuralmutator.envs import LunarLander
from neuralmutator.envs.lander import bodies as physics, environment as lander
from neuralmutator.envs.lander.ground import ground_near
from neuralmutator.envs.lander.sweeps import Sweeps

ENV = LunarLander()
RESET = jax.jit(ENV.reset_from)


@pytest.fixture(scope="module")
def parity(benchmark_named):
    """The parity report: comparisons with the real Gymnasium under the same draws."""
    return benchmark_named("env_parity")


def test_free_flight_is_gymnasiums(parity):
    numbers, rows, _ = parity["compare"](range(40), parity["RANDOM"])
    assert numbers["flight_error_max"] <= 1e-2 and numbers["flight_error_median"] <= 1e-4
    assert numbers["random_median_difference"] <= 3 and rows[0][3] > 60  # steps that they last


def test_landings_are_gymnasiums(parity):
    numbers, rows, _ = parity["compare"](range(200), parity["HEURISTIC"])
    assert numbers["heuristic_outcomes_agree"] >= 0.93
    assert numbers["heuristic_median_difference"] <= 3 and numbers["heuristic_mean_difference"] <= 10
    assert rows[0][4] > 0.8  # what landed there


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
        distance, normal = ground_near(jnp.asarray(terrain), jnp.float32(x)).distance(px, py)
        assert float(distance) == pytest.approx((py - height) / np.hypot(1, slope), abs=1e-4)
        np.testing.assert_allclose(normal, np.array([-slope, 1]) / np.hypot(1, slope), atol=1e-5)


def test_many_sweeps_are_sweeps():
    random = np.random.default_rng(1)
    vectors = [tuple(map(jnp.float32, random.normal(size=2))) for _ in range(3)]
    sweeps = Sweeps.of(*vectors, (jnp.float32(0.6), jnp.float32(0.8)), 0.14, jnp.bool_(True), jnp.bool_(True))
    missing = tuple(map(jnp.float32, random.normal(size=3)))
    expected = missing
    for _ in range(21):
        expected = sweeps.sweep(expected)
    np.testing.assert_allclose(sweeps.sweeps(missing, 21), expected, rtol=2e-3, atol=1e-6)


def test_wind_is_gymnasiums(parity):
    numbers, rows, _ = parity["compare"](range(100), parity["HEURISTIC"], wind=True)
    assert numbers["wind_error_max"] <= 1e-2 and numbers["wind_error_median"] <= 1e-4
    assert numbers["heuristic_in_wind_outcomes_agree"] >= 0.93
    assert numbers["heuristic_in_wind_median_difference"] <= 3
    calm = parity["compare"](range(100), parity["HEURISTIC"])[1]
    assert rows[0][1] < calm[0][1] - 20  # wind makes a difference there


def test_wind_is_drawn_at_each_reset_and_its_power_may_be_traced():
    env = LunarLander(enable_wind=True)

    def drift(key, power):
        params = env.default_params.replace(wind_power=power)
        _, state = env.reset_env(key, params)
        return state.wind[0], env.step_env(key, state, 0, params)[1].bodies.vx[0]

    keys = jax.random.split(jax.random.key(0), 200)
    index, calm = jax.jit(jax.vmap(drift, (0, None)))(keys, 0.0)
    _, stormy = jax.jit(jax.vmap(drift, (0, None)))(keys, 20.0)
    assert index.min() < -8000 and index.max() > 8000 and len(np.unique(index)) > 150
    pushed = np.abs(stormy - calm)  # two steps of at most 20 N
    assert 0.05 < pushed.max() < 2 * 20 / 4.8 / 50 + 1e-3


@pytest.mark.parametrize("throttle", [(np.nan, 0.0), (0.0, np.nan), (np.nan, np.nan)])
def test_an_engine_told_nan_does_not_fire(throttle):
    real = gymnasium.make("LunarLanderContinuous-v3").unwrapped
    power = LunarLander(continuous=True)._throttle(jnp.array(throttle))
    _, state = jax.jit(ENV.reset)(jax.random.key(0))
    after = lander._fire(state.bodies, *power, jnp.array([0.01, -0.02]))
    jax.tree.map(np.testing.assert_array_equal, after, state.bodies)
    seen = []
    for action in ([0.0, 0.0], throttle):
        real.reset(seed=0)
        seen.append(real.step(np.float32(action))[0])
    np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("gravity", [0.0, -12.0, 1.0, np.nan])
def test_gravities_that_gymnasium_refuses_are_refused(gravity):
    with pytest.raises(AssertionError):
        gymnasium.make("LunarLander-v3", gravity=gravity)
    with pytest.raises(ValueError, match=r"gravity must lie in \(-12, 0\), got"):
        LunarLander(gravity=gravity)
    with pytest.raises(ValueError, match=r"gravity must lie in \(-12, 0\), got"):
        ENV.reset(jax.random.key(0), ENV.default_params.replace(gravity=gravity))


def test_impacts_turn_legs_as_box2d_does(parity):
    """Legs after the step in which they first strike the ground; observations do not show them."""
    params, step = ENV.default_params.replace(gravity=-4.0), jax.jit(ENV.step_env)
    errors, turns = [], []
    for seed in range(30):
        heights, push, *_ = parity["draws_of"](seed)
        real = gymnasium.make("LunarLander-v3", gravity=-4.0).unwrapped
        real.reset(seed=seed)
        _, state = RESET(heights, push, params)
        for _ in range(400):
            before = [leg.angle for leg in real.legs]
            observation, _, terminated, _, _ = real.step(0)
            state = step(jax.random.key(0), state, 0, params)[1]
            if terminated or observation[6:].any():
                break
        if not terminated:
            k = int(np.argmax(observation[6:]))
            leg, ours = real.legs[k], state.bodies
            theirs = (*leg.worldCenter, leg.angle, *leg.linearVelocity, leg.angularVelocity)
            errors.append(np.abs(np.subtract(theirs, [numbers[1 + k] for numbers in ours])).max())
            turns.append(abs(leg.angle - before[k]))
    assert len(errors) > 20 and np.median(turns) > 0.03
    assert np.median(errors) < 3e-3 and np.quantile(errors, 0.8) < 2e-2
