import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.classic_control.continuous_mountain_car import EnvState

from neuralmutator import envs


@pytest.mark.parametrize("where", ["anywhere", "left wall", "goal"])
def test_one_step_is_gymnasiums(where):
    ours, params = envs.make("MountainCarContinuous-v0")
    real = gymnasium.make("MountainCarContinuous-v0").unwrapped
    real.reset(seed=0)
    draws = np.random.default_rng(0)
    low, high = {"anywhere": (-1.2, 0.6), "left wall": (-1.2, -1.15), "goal": (0.4, 0.46)}[where]
    step, stopped, arrived = jax.jit(ours.step_env), 0, 0
    for _ in range(200):
        state = np.array([draws.uniform(low, high), draws.uniform(-0.07, 0.07)], np.float32)
        action = draws.uniform(-1.5, 1.5, 1).astype(np.float32)
        real.state = state.copy()
        expected, reward, terminated, _, _ = real.step(action)
        start = EnvState(position=jnp.float32(state[0]), velocity=jnp.float32(state[1]), time=0)
        seen, _, given, ended, _ = step(jax.random.key(0), start, action, params)
        np.testing.assert_allclose(seen, expected, atol=1e-5)
        assert float(given) == pytest.approx(reward, abs=1e-5) and bool(ended) == terminated
        stopped += expected[0] == np.float32(-1.2) and expected[1] == 0
        arrived += terminated
    assert (stopped > 20) == (where == "left wall") and (arrived > 20) == (where == "goal")
