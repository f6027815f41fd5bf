"""What a policy sees of an environment, and how it acts: every kind of space that there is."""

import sys
from copy import deepcopy

import cloudpickle
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from neuralmutator import fitness, networks
from neuralmutator.core import Genome
from neuralmutator.fitness.host import interface_of, sizes

# What is made here must reach a worker without this module, which imports JAX.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

MEMBERS, STEPS = 4, 6


class Dummy(gymnasium.Env):
    """Random observations; the reward tells which action it was."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = deepcopy(observations), actions  # a space has a state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.left = STEPS
        return self.observation_space.sample(), {}

    def step(self, action):
        if action not in self.action_space:
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self.left -= 1
        weights = np.arange(1, np.size(action) + 1) * self.left
        return self.observation_space.sample(), float(np.sum(np.ravel(action) * weights)), self.left == 0, False, {}


BOX = spaces.Box(-1, 1, (2,), np.float64)
NESTED = spaces.Dict(z=spaces.Tuple([spaces.Discrete(3, start=2), BOX]), a=spaces.MultiBinary(2))


def one_hot(n, i):
    return np.eye(n)[i]


OBSERVATIONS = {  # space, shape, and how an observation becomes numbers
    "box": (BOX, (2,), np.asarray),
    "scalar": (spaces.Box(-1, 1, ()), (1,), lambda x: np.reshape(x, 1)),
    "grid": (spaces.Box(-1, 1, (2, 3)), (2, 3), np.asarray),
    "discrete": (spaces.Discrete(4, start=-1), (4,), lambda x: one_hot(4, x + 1)),
    "choices": (spaces.MultiDiscrete([2, 3]), (5,), lambda x: np.concatenate([one_hot(2, x[0]), one_hot(3, x[1])])),
    "bits": (spaces.MultiBinary(3), (3,), np.asarray),
    "nested": (NESTED, (7,), lambda x: np.concatenate([one_hot(3, x["z"][0] - 2), x["z"][1], x["a"]])),
}
ACTIONS = {  # space, outputs, and how they become an action
    "discrete": (spaces.Discrete(3, start=4), 3, lambda y: 4 + np.argmax(y)),
    "box": (spaces.Box(-0.5, 0.5, (2, 2)), 4, lambda y: np.clip(y.reshape(2, 2), -0.5, 0.5)),
    "whole numbers": (spaces.Box(-2, 3, (3,), np.int64), 3, lambda y: np.rint(np.clip(y, -2, 3)).astype(np.int64)),
    "choices": (
        spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[0, 5], [1, 0]]),
        11,
        lambda y: np.array([[np.argmax(y[:2]), 5 + np.argmax(y[2:5])], [1 + np.argmax(y[5:9]), np.argmax(y[9:])]]),
    ),
    "bits": (spaces.MultiBinary((2, 2)), 4, lambda y: (y > 0).reshape(2, 2).astype(np.int8)),
}
CASES = [
    *[(name, "discrete", 0) for name in OBSERVATIONS],
    *[("box", name, 0) for name in ACTIONS if name != "discrete"],
    ("nested", "choices", 1),
]


def linear(shape, outputs):
    """A policy whose output is a matrix times the observation."""
    size = int(np.prod(shape))

    def apply(params, x):
        assert x.shape == shape and x.dtype == jnp.float32
        return params.reshape(outputs, size) @ x.reshape(-1)

    return networks.Network(outputs * size, lambda key: jnp.zeros(outputs * size), apply, lambda *_: ())


def by_hand(env, params, to_numbers, to_action, seed):
    observation, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        x = np.ravel(to_numbers(observation)).astype(np.float32)
        observation, reward, ended, _, _ = env.step(to_action(params @ x))
        total += reward
    return total


@pytest.mark.parametrize(("observation", "action", "workers"), CASES)
def test_returns_equal_a_loop_by_hand(observation, action, workers):
    space, shape, to_numbers = OBSERVATIONS[observation]
    action_space, outputs, to_action = ACTIONS[action]
    policy = linear(shape, outputs)
    params = np.random.default_rng(3).normal(size=(MEMBERS, outputs, int(np.prod(shape)))).astype(np.float32)
    nothing = jnp.zeros((MEMBERS, 0))
    population = Genome(
        jnp.asarray(params).reshape(MEMBERS, -1),
        nothing,
        nothing,
        nothing.astype(jnp.int32),
        jnp.zeros(MEMBERS),
    )

    def make_env():
        return Dummy(space, action_space)

    assert sizes(make_env) == (shape, outputs)
    seeds = np.array([[5, 6]] * MEMBERS)
    with fitness.gymnasium(make_env, policy, num_envs=3, workers=workers, max_steps=STEPS) as evaluate:
        results = evaluate.evaluate_seeds(population, seeds)
    env = make_env()
    want = [[by_hand(env, member, to_numbers, to_action, seed) for seed in (5, 6)] for member in params]
    np.testing.assert_allclose(results.returns, want, rtol=1e-5)
    assert len(np.unique(want)) > 3 and (results.lengths == STEPS).all()


def test_the_time_limit_is_the_shortest_that_is_known():
    env = gymnasium.make("CartPole-v1")
    assert interface_of(env).max_steps == 500
    assert interface_of(gymnasium.wrappers.TimeLimit(env, 7)).max_steps == 7
    assert interface_of(gymnasium.wrappers.TimeLimit(env, 900)).max_steps == 500
    assert interface_of(Dummy(BOX, spaces.Discrete(2))).max_steps is None


def test_bytes_stay_bytes():
    found = interface_of(Dummy(spaces.Box(0, 255, (4, 4, 1), np.uint8), spaces.Discrete(2)))
    assert found.dtype == np.uint8 and found.shape == (4, 4, 1)
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 1), np.uint8)
    assert found.observe([image, image]).dtype == np.uint8 and jax.eval_shape(found.to_action, jnp.zeros(2)).shape == ()
