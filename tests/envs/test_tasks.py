import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState

from neuralmutator import envs, fitness, networks
from neuralmutator.core.genome import Genome

KEY = jax.random.key(0)
ACTIONS = {
    "multi": envs.MultiDiscrete((2, 3)),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,)))),
    "dict": spaces.Dict({"turn": spaces.Discrete(3), "inner": envs.MultiDiscrete((2, 2))}),
}


@struct.dataclass
class Where(EnvState):
    """A place, and the time."""

    place: jax.Array = None


class Nested(Environment):
    """Observes a dictionary; the reward is the number that its action makes."""

    def __init__(self, space, observe):
        self.space, self.observe_place, self.resets = space, observe, 0

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=4)

    @property
    def name(self):
        return "Nested"

    def reset_env(self, key, params):
        self.resets += 1
        state = Where(time=0, place=jnp.arange(3.0))
        return self.observe_place(state.place), state

    def step_env(self, key, state, action, params):
        state = Where(time=state.time + 1, place=state.place + 1)
        reward = sum(jnp.sum(x) for x in jax.tree.leaves(action))
        return self.observe_place(state.place), state, reward, jnp.bool_(False), {}

    def action_space(self, params):
        return self.space


def nested(space=ACTIONS["multi"], observe=lambda place: {"b": place, "a": jnp.int32(7)}):
    return Nested(space, observe)


@pytest.mark.parametrize(
    ("observe", "shape", "dtype", "want"),
    [
        (lambda place: {"b": place, "a": jnp.int32(7)}, (4,), jnp.float32, [7, 0, 1, 2]),
        (lambda place: (place[None], jnp.ones((2, 1), bool)), (5,), jnp.float32, [0, 1, 2, 1, 1]),
        (lambda place: {"image": jnp.full((4, 5, 1), 9, jnp.uint8)}, (4, 5, 1), jnp.uint8, np.full((4, 5, 1), 9)),
        (lambda place: jnp.int32(3), (1,), jnp.float32, [3]),
        (lambda place: jnp.arange(6).reshape(2, 3), (2, 3), jnp.float32, [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_a_policy_sees_one_array(observe, shape, dtype, want):
    task = envs.task(nested(observe=observe))
    assert (task.observation.shape, task.observation.dtype) == (shape, dtype)
    seen = task.see(observe(jnp.arange(3.0)))
    np.testing.assert_array_equal(seen, want)
    assert seen.dtype == dtype


@pytest.mark.parametrize(
    ("kind", "outputs", "want"),
    [
        ("multi", [0, 1, 5, 9, 7], [1, 1]),
        ("tuple", [3, 1, 0.5, 9], (0, [0.5, 1])),
        ("dict", [0, 0, 1, 2, 1, 1, 2], {"turn": 2, "inner": [0, 1]}),
    ],
)
def test_an_action_of_parts_takes_consecutive_outputs(kind, outputs, want):
    space = ACTIONS[kind]
    task = envs.task(nested(space))
    assert task.num_outputs == len(outputs)
    action = jax.jit(task.to_action)(jnp.array(outputs, jnp.float32))
    sample = dict(space.sample(KEY)) if kind == "dict" else space.sample(KEY)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), action) == jax.tree.map(lambda x: (x.shape, x.dtype), sample)
    wanted = jax.tree.leaves(want, is_leaf=lambda x: isinstance(x, list))
    for x, y in zip(jax.tree.leaves(action), wanted, strict=True):
        np.testing.assert_array_equal(x, y)


def test_samples_of_several_choices_are_all_their_values():
    space = envs.MultiDiscrete((2, 3))
    drawn = np.asarray(jax.vmap(space.sample)(jax.random.split(KEY, 200)))
    assert {tuple(x) for x in drawn} == {(i, j) for i in range(2) for j in range(3)}
    assert jax.vmap(space.contains)(drawn).all() and not space.contains(jnp.array([1, 3]))


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_nested_environment_plays(kind):
    """Four steps; its policy gives its biases, so its action is known."""
    task = envs.task(nested(ACTIONS[kind]))
    n = task.num_outputs
    policy = networks.from_functions(lambda key: jnp.zeros(n), lambda params, x: params + 0 * x.sum())
    params = jnp.arange(n, dtype=jnp.float32)
    genome = Genome(params, jnp.zeros(0), jnp.zeros(0), jnp.zeros(0, jnp.int32), jnp.float32(0))
    value, info = jax.jit(fitness.episodes(task, policy, episodes=2))(KEY, genome)
    assert int(info["env_steps"]) == 8
    assert float(value) == 4 * {"multi": 1 + 2, "tuple": 1 + 1 + 1, "dict": 2 + 1 + 1}[kind]


def test_an_environment_is_resolved_once():
    """Two fitness functions and a walk of the policy's sizes reset it once, while they are built."""
    env = nested()
    task = envs.task(env)
    policy = networks.mlp(task.observation.size, task.num_outputs)
    fitness.episodes(task, policy, episodes=5)
    fitness.episodes(task, policy, episodes=20)
    assert env.resets == 1
    assert envs.task(task) is task


def test_all_ways_to_name_an_environment_are_one():
    made = gymnax.make("CartPole-v1")
    tasks = [envs.task(env) for env in ("CartPole-v1", made[0], made)]
    assert {(x.observation.shape, x.num_outputs) for x in tasks} == {((4,), 2)}
    short = made[1].replace(max_steps_in_episode=7)
    for env in ((made[0], short), tasks[0]):
        assert envs.task(env, short).params.max_steps_in_episode == 7
    assert envs.task((made[0], short)).params.max_steps_in_episode == 7


@pytest.mark.parametrize("env", [3, None, (1, 2), "CartPole-v9", gymnax.make("CartPole-v1")[1]])
def test_what_is_no_environment_is_refused(env):
    with pytest.raises(ValueError, match=r"env must be a name, a gymnax Environment|CartPole-v9"):
        envs.task(env)


def test_actions_of_another_space_are_refused():
    with pytest.raises(ValueError, match=r"actions of Nested must be Discrete, Box.*got Space"):
        envs.task(nested(spaces.Space()))
