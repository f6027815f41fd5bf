import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import envs
from neuralmutator.envs import LunarLander, lander_physics as physics, lunar_lander as lander

ENV = LunarLander()


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
