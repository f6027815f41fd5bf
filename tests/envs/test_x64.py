import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import jax
from neuralmutator import envs

env, params = envs.make(sys.argv[1])
key = jax.random.key(0)
seen, state = jax.eval_shape(env.reset_env, key, params)
action = jax.eval_shape(lambda key: env.action_space(params).sample(key), key)
after = jax.eval_shape(lambda *now: env.step_env(key, *now, params), state, action)
kinds = [[x.dtype for x in jax.tree.leaves(tree)] for tree in (state, after[1], seen, after[0])]
assert jax.config.jax_enable_x64 and kinds[0] == kinds[1] and kinds[2] == kinds[3], kinds
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("CarRacing-v3?domain_randomize=true", marks=pytest.mark.slow),
        pytest.param("LunarLander-v3?enable_wind=true", marks=pytest.mark.slow),
        "MountainCarContinuous-v0",
        pytest.param("LunarLanderContinuous-v3", marks=pytest.mark.slow),
    ],
)
def test_environments_can_be_stepped_in_float64(name):
    """A step returns the state that it was given, type for type, so that it can be scanned."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        env=os.environ | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
