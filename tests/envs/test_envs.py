import gymnasium
import numpy as np
import pytest

from neuralmutator import envs
from neuralmutator.envs.names import action_names


@pytest.mark.parametrize("name", envs.ENVS)
def test_every_environment_has_the_spaces_and_the_limit_of_gymnasiums(name):
    env, params = envs.make(name)
    there, arguments = envs.IN_GYMNASIUM.get(name, (name, {}))
    theirs = gymnasium.make(there, **arguments)
    assert env.name in envs.ENVS
    assert env.observation_space(params).shape == theirs.observation_space.shape
    ours, actions = env.action_space(params), theirs.action_space
    if isinstance(actions, gymnasium.spaces.Discrete):
        assert ours.n == actions.n
    else:
        np.testing.assert_array_equal(np.broadcast_to(ours.low, actions.shape), actions.low)
        np.testing.assert_array_equal(np.broadcast_to(ours.high, actions.shape), actions.high)
    assert params.max_steps_in_episode == theirs.spec.max_episode_steps
    outputs = envs.task(name).num_outputs
    assert len(action_names(name, outputs)) == outputs and "a0" not in action_names(name, outputs)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"unknown environment 'CarRacing-v9'; known are .*CarRacing-v3.*CartPole-v1"):
        envs.make("CarRacing-v9")
