import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.runs.builders import build_policy
from neuralmutator.runs.config import Config, PolicyConfig
from neuralmutator.runs.errors import RunError
from neuralmutator.runs.folder import RunFolder


def champion_of(path, env, kind, hidden):
    """A run folder with a random champion, and its parameters."""
    config = Config(env=env, policy=PolicyConfig(kind=kind, hidden=hidden))
    folder = RunFolder.create(path, "evolution", config)
    policy = build_policy(config)
    params = policy.init(jax.random.key(3))
    nothing = jnp.zeros(0)
    folder.save_champion(nm.Genome(params, nothing, nothing, jnp.zeros(0, jnp.int32), jnp.float32(0)))
    folder.close()
    return policy, params


def test_a_champion_acts_as_its_policy_says(tmp_path):
    policy, params = champion_of(tmp_path / "run", "CartPole-v1", "mlp", (5,))
    champion = nm.load_champion(tmp_path / "run")
    for seed in range(20):
        observation = np.random.default_rng(seed).normal(size=4)
        action, memory = champion.act(observation)
        assert memory is None and int(action) == int(np.argmax(policy.apply(params, jnp.float32(observation))))


def test_continuous_actions_keep_their_bounds_and_memory_is_handed_on(tmp_path):
    policy, params = champion_of(tmp_path / "run", "Pendulum-v1", "recurrent", (4,))
    champion = nm.load_champion(tmp_path / "run")
    memory, carry = None, policy.initial_state
    for t in range(4):
        observation = np.float32([np.cos(t), np.sin(t), 8 * t])
        action, memory = champion.act(observation, memory)
        carry, output = policy.apply(params, (carry, jnp.asarray(observation)))
        np.testing.assert_allclose(action, np.clip(output, -2, 2), rtol=1e-6)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), memory, carry)


def test_a_champion_of_another_policy_is_refused(tmp_path):
    champion_of(tmp_path / "run", "CartPole-v1", "mlp", (5,))
    with pytest.raises(RunError, match="must hold the 16 parameters of the policy"):
        nm.load_champion(tmp_path / "run", nm.networks.mlp(4, 2, (2,)))
