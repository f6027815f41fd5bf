import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import envs
from neuralmutator.envs.registry import ROWS

OURS = [name for name, row in ROWS.items() if row.factory]


@pytest.mark.parametrize("name", OURS)
def test_every_environment_has_the_spaces_and_the_limit_of_gymnasiums(name):
    env, params = envs.make(name)
    there, arguments = envs.in_gymnasium(name)
    theirs = gymnasium.make(there, **arguments)
    assert env.name in OURS and name in envs.names()
    assert env.observation_space(params).shape == theirs.observation_space.shape
    ours, actions = env.action_space(params), theirs.action_space
    if isinstance(actions, gymnasium.spaces.Discrete):
        assert ours.n == actions.n
    else:
        np.testing.assert_array_equal(np.broadcast_to(ours.low, actions.shape), actions.low)
        np.testing.assert_array_equal(np.broadcast_to(ours.high, actions.shape), actions.high)
    assert params.max_steps_in_episode == theirs.spec.max_episode_steps
    outputs = envs.task(name).num_outputs
    assert len(envs.action_names(name, outputs)) == outputs and "a0" not in envs.action_names(name, outputs)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Cartpole-v1", "unknown environment 'Cartpole-v1'; did you mean CartPole-v1?"),
        ("CarRacing-v9", "unknown environment 'CarRacing-v9'; did you mean CarRacing-v3?"),
        ("chess", "unknown environment 'chess'; neuralmutator.envs.names() lists what there is"),
        (
            "LunarLander-v3?wind=1",
            "LunarLander-v3 has no option 'wind'; its options are continuous, enable_wind, gravity, "
            "max_steps_in_episode, turbulence_power, wind_power",
        ),
        ("LunarLander-v3?enable_wind=2", "option enable_wind of LunarLander-v3 must be true or false, got '2'"),
        ("LunarLander-v3?wind_power=nan", "option wind_power of LunarLander-v3 must be a finite number, got 'nan'"),
        ("LunarLander-v3?gravity=-12", "gravity must lie in (-12, 0), got -12.0"),
        ("CartPole-v1?gravity=x", "option gravity of CartPole-v1 must be a finite number, got 'x'"),
        (
            "Acrobot-v1?max_steps_in_episode=0",
            "option max_steps_in_episode of Acrobot-v1 must be a whole number of at least 1, got '0'",
        ),
        ("CartPole-v1?gravity", "options must be like 'name=value&name=value', got 'gravity'"),
    ],
)
def test_what_is_refused(name, line):
    with pytest.raises(ValueError) as raised:
        envs.make(name)
    assert str(raised.value) == line


def test_options_are_arguments_and_parameters():
    env, params = envs.make("LunarLander-v3?enable_wind=true&wind_power=10&max_steps_in_episode=70", gravity=-3)
    assert env.enable_wind and (params.wind_power, params.gravity, params.max_steps_in_episode) == (10.0, -3.0, 70)
    assert envs.make("LunarLander-v3?wind_power=10", wind_power=4.0)[1].wind_power == 4.0
    assert envs.make("Breakout-MinAtar", use_minimal_action_set=False)[0].num_actions == 6
    assert envs.make("CartPole-v1?gravity=3")[1].gravity == 3.0
    options = envs.options("LunarLander-v3")
    assert options["enable_wind"] is False and options["turbulence_power"] == 1.5
    for name in ("CarRacing-v3", "CarRacingDiscrete-v3", "LunarLanderContinuous-v3"):
        assert ("continuous" in envs.options(name)) == (name == "CarRacing-v3")


def test_parameters_may_be_traced():
    def pull(gravity):
        env, params = envs.make("CartPole-v1", gravity=gravity)
        _, state = env.reset_env(jax.random.key(0), params)
        return env.step_env(jax.random.key(1), state, 0, params)[1].theta_dot

    speeds = jax.vmap(pull)(jnp.array([1.0, 20.0]))
    assert speeds[0] != speeds[1]


def test_gymnasium_is_asked_for_the_same_environment():
    """What its constructor was given, and the limit that it keeps."""
    name = "LunarLander-v3?enable_wind=true&wind_power=4&max_steps_in_episode=70"
    there, arguments = envs.in_gymnasium(name, gravity=-3)
    real = gymnasium.make(there, **arguments)
    assert real.unwrapped.enable_wind and (real.unwrapped.wind_power, real.unwrapped.gravity) == (4.0, -3.0)
    assert real.spec.max_episode_steps == 70
    there, arguments = envs.in_gymnasium("CarRacingDiscrete-v3?domain_randomize=true")
    real = gymnasium.make(there, **arguments).unwrapped
    assert real.domain_randomize and not real.continuous
    assert envs.in_gymnasium("Walker2d-v5?reset_noise_scale=0.1") == ("Walker2d-v5", {"reset_noise_scale": 0.1})
    with pytest.raises(ValueError, match="CartPole-v1 has no option 'gravity' in Gymnasium; its options there are max"):
        envs.in_gymnasium("CartPole-v1?gravity=3")


def test_labels_do_not_mind_options():
    assert envs.observation_names("CartPole-v1?gravity=3", 4)[0] == "cart position"
    assert envs.action_names("LunarLander-v3?enable_wind=true", 4)[2] == "main engine"
