"""Tasks of brax and MuJoCo Playground beside their own step functions."""

import sys
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, envs, fitness, networks
from neuralmutator.envs import physics


class Rolling(NamedTuple):
    """The state of a simulator: a ball that rolls where it is pushed."""

    obs: Any
    reward: jax.Array
    done: jax.Array
    unread: jax.Array


class Ball:
    """A simulator of brax's interface; an episode ends where the ball is further than 1 from the middle."""

    action_size = 2

    def __init__(self, parts):
        self.parts = parts

    def state(self, place):
        seen = {"state": place, "privileged_state": jnp.zeros(7)} if self.parts else place
        done = (jnp.sum(place**2) > 1).astype(jnp.float32)
        return Rolling(seen, 1 - jnp.sum(place**2), done, jnp.float32(0))

    def reset(self, rng):
        assert not jnp.issubdtype(rng.dtype, jax.dtypes.prng_key)  # brax splits raw keys
        return self.state(jax.random.uniform(rng, (2,), minval=-0.1, maxval=0.1))

    def step(self, state, action):
        place = state.obs["state"] if self.parts else state.obs
        return self.state(place + 0.1 * action)._replace(unread=state.unread + 1)


def genome_of(policy, seed=0):
    params = jnp.asarray(np.random.default_rng(seed).normal(size=policy.num_params), jnp.float32)
    return Genome(params, jnp.zeros(0), jnp.zeros(0), jnp.zeros(0, jnp.int32), jnp.float32(0))


def return_by_hand(simulator, policy, genome, key, steps):
    """Return and length of one episode, step by step."""
    reset, step = jax.jit(simulator.reset), jax.jit(simulator.step)
    state, total, length = reset(jax.random.key_data(jax.random.split(key)[0])), 0.0, 0
    while not state.done and length < steps:
        seen = state.obs["state"] if isinstance(state.obs, dict) else state.obs
        state = step(state, jnp.clip(policy.apply(genome.policy, seen), -1, 1))
        total, length = total + float(state.reward), length + 1
    return total, length


@pytest.mark.parametrize("parts", [False, True])
def test_an_episode_is_the_simulators(parts):
    task = envs.task(envs.Physics(Ball(parts), max_steps=30))
    assert (task.observation.shape, task.num_outputs, task.params.max_steps_in_episode) == ((2,), 2, 30)
    policy = networks.mlp(2, 2, (4,))
    for seed in range(4):
        genome, key = genome_of(policy, seed), jax.random.key(seed)
        total, length = jax.jit(fitness.play(task, policy))(key, genome)
        wanted = return_by_hand(Ball(parts), policy, genome, key, 30)
        np.testing.assert_allclose((total, length), wanted, rtol=1e-5)


@pytest.mark.slow
def test_an_episode_of_brax_is_braxs():
    env, params = envs.make("brax/inverted_pendulum?backend=spring", max_steps_in_episode=40)
    assert env.name == "brax/inverted_pendulum?backend=spring" and env.simulator.backend == "spring"
    policy = networks.mlp(4, 1, (8,))
    one = jax.jit(fitness.play((env, params), policy))
    lengths = []
    for seed in range(3):
        genome, key = genome_of(policy, seed), jax.random.key(seed)
        total, length = one(key, genome)
        wanted = return_by_hand(env.simulator, policy, genome, key, 40)
        np.testing.assert_allclose((total, length), wanted, rtol=1e-4)
        lengths.append(int(length))
    assert min(lengths) < 40 and len(set(lengths)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"brax/{task}" for task in physics.BRAX])
def test_every_task_of_brax_has_the_sizes_that_it_says(name):
    env, params = envs.make(name)
    key = jax.random.key(0)
    seen, state = jax.eval_shape(env.reset_env, key, params)
    action = jax.eval_shape(lambda key: env.action_space(params).sample(key), key)
    after = jax.eval_shape(lambda *now: env.step_env(key, *now, params), state, action)
    assert seen.shape == after[0].shape == env.observation_space(params).shape == (env.simulator.observation_size,)
    assert jax.tree.structure(state) == jax.tree.structure(after[1])
    assert envs.options(name) == {"backend": "spring", "max_steps_in_episode": 1000}


def test_names_say_whose_they_are():
    assert {f"brax/{task}" for task in physics.BRAX} < set(envs.names())
    origins = {
        name: envs.origin(name) for name in ("brax/ant?backend=mjx", "playground/x", "CartPole-v1", "CarRacing-v3")
    }
    assert list(origins.values()) == ["brax", "MuJoCo Playground", "gymnax", "neuralmutator"]
    assert [envs.is_simulation(name) for name in origins] == [True, True, False, False]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: envs.make("brax/Ant"), "unknown environment 'brax/Ant'; did you mean brax/ant?"),
        (lambda: envs.make("brax/ant?backend=bullet"), "backend of brax/ant must be one of spring, .*, got 'bullet'"),
        (lambda: envs.make("brax/ant?gravity=3"), "has no option 'gravity'; its options are backend, max_steps_in_ep"),
        (lambda: physics.brax("chess"), "task of brax must be one of ant, .*, got 'chess'"),
        (lambda: envs.in_gymnasium("brax/ant"), "brax/ant is an environment of brax, which Gymnasium does not have"),
        (lambda: envs.Physics(SimpleNamespace(reset=None)), "simulator must have reset, step and action_size, got Sim"),
    ],
)
def test_what_is_refused(call, line):
    with pytest.raises(ValueError, match=line):
        call()


def test_playground_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(ValueError, match=r"needs MuJoCo Playground: pip install 'neuralmutator\[playground\]'"):
        envs.make("playground/CartpoleBalance")


@pytest.mark.slow
def test_an_episode_of_playground_is_playgrounds():
    pytest.importorskip("mujoco_playground")
    with pytest.raises(ValueError, match=r"task of Playground must be one of .*CartpoleBalance.*, got 'CartPole'"):
        envs.make("playground/CartPole")
    env, params = envs.make("playground/CartpoleBalance?max_steps_in_episode=10")
    policy = networks.mlp(5, 1, (8,))
    genome, key = genome_of(policy), jax.random.key(0)
    total, length = jax.jit(fitness.play((env, params), policy))(key, genome)
    np.testing.assert_allclose((total, length), return_by_hand(env.simulator, policy, genome, key, 10), rtol=1e-4)
