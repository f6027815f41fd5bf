import gymnasium
import jax
import numpy as np

from neuralmutator.envs import LunarLander


def test_impacts_turn_legs_as_box2d_does(benchmark_named):
    """Legs after the step in which they first strike the ground; observations do not show them."""
    env, parity = LunarLander(), benchmark_named("env_parity")
    params, step = env.default_params.replace(gravity=-4.0), jax.jit(env.step_env)
    reset = jax.jit(env.reset_from)
    errors, turns = [], []
    for seed in range(30):
        heights, push, *_ = parity["draws_of"](seed)
        real = gymnasium.make("LunarLander-v3", gravity=-4.0).unwrapped
        real.reset(seed=seed)
        _, state = reset(heights, push, params)
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
