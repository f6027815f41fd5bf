"""Evolutions whose fitness is computed on the host, against those whose fitness is traced."""

import os
import signal

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.core import rollout, take
from neuralmutator.fitness import on_host, rollout_on_host

KEY = jax.random.key(8)
POLICY = nm.networks.mlp(4, 2, (6,))
SIZE = 12


def evolution_of(fitness=None):
    return nm.evolution(
        POLICY, nm.mutators.gaussian(0.2), fitness, population_size=SIZE, elites=2, species=nm.speciation.none()
    )


def traced(key, genome):
    """Noisy, and the same number on host and device: one weight, or another."""
    return genome.policy[jax.random.randint(key, (), 0, 5)], {"visits": 1}


class OnTheHost:
    """`traced` in NumPy."""

    def __call__(self, key, population):
        assert isinstance(np.asarray(population.policy), np.ndarray)
        place = int(jax.random.randint(key, (), 0, 5))
        return np.asarray(population.policy)[:, place], {"visits": len(population.policy)}

    def many(self, keys, population, block_size):
        values = [self(key, take(population, slice(i, i + 1)))[0][0] for i, key in enumerate(keys)]
        return jnp.array(values), {}


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_generation_equals_that_of_a_traced_fitness():
    ours, theirs = on_host(evolution_of(), OnTheHost()), evolution_of(traced)
    want, want_history = jax.jit(lambda key: rollout(theirs.step, key, theirs.init(key), 6))(KEY)
    got, history = rollout_on_host(ours.step, KEY, ours.init(KEY), 6)
    assert_equal(got.population, want.population)
    assert_equal(ours.best(got), theirs.best(want))
    np.testing.assert_array_equal(history.parents, want_history.parents)
    np.testing.assert_array_equal(history.fitness, want_history.fitness)
    assert history.metrics.keys() == want_history.metrics.keys()
    assert history.metrics["visits"].tolist() == [SIZE] * 6
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(history))


@pytest.mark.slow
def test_a_hall_of_fame_equals_that_of_a_traced_fitness():
    ours = nm.hall_of_fame(on_host(evolution_of(), OnTheHost()), OnTheHost(), 3)
    theirs = nm.hall_of_fame(evolution_of(traced), traced, 3)
    want, want_history = jax.jit(lambda key: rollout(theirs.step, key, theirs.init(key), 8))(KEY)
    got, history = rollout_on_host(ours.step, KEY, ours.init(KEY), 8)
    assert_equal(ours.ask(KEY, got), theirs.ask(KEY, want))
    assert_equal(ours.best(got)[0], theirs.best(want)[0])
    np.testing.assert_allclose(ours.best(got)[1], theirs.best(want)[1], rtol=1e-5)
    np.testing.assert_allclose(history.metrics["champion_fitness"], want_history.metrics["champion_fitness"], rtol=1e-5)
    assert len(set(history.metrics["champion_fitness"].tolist())) > 3


def test_a_step_of_the_host_cannot_be_traced():
    with nm.fitness.gymnasium("CartPole-v1", POLICY, episodes=1) as evaluate:
        evolution = on_host(evolution_of(), evaluate)
        for wrapped in (evolution, nm.hall_of_fame(evolution, evaluate.of_members(2), 2)):
            with pytest.raises(ValueError, match=r"^fitness\.gymnasium is evaluated on the host and cannot be traced"):
                jax.jit(wrapped.step)(KEY, wrapped.init(KEY))


def evolution_in_gymnasium(evaluate):
    return nm.hall_of_fame(on_host(evolution_of(), evaluate), evaluate.of_members(episodes=3), 3)


@pytest.fixture(scope="module")
def whole():
    """State and history of a run that nothing happens to."""
    with nm.fitness.gymnasium("CartPole-v1", POLICY, episodes=2, num_envs=8) as evaluate:
        evolution = evolution_in_gymnasium(evaluate)
        return rollout_on_host(evolution.step, KEY, evolution.init(KEY), 5)


def test_a_run_that_was_cut_and_saved_ends_with_the_same_bits(whole, tmp_path):
    def run(state, length, start, num_envs):
        with nm.fitness.gymnasium("CartPole-v1", POLICY, episodes=2, num_envs=num_envs) as evaluate:
            evolution = evolution_in_gymnasium(evaluate)
            return rollout_on_host(evolution.step, KEY, evolution.init(KEY) if state is None else state, length, start)

    state, first = run(None, 2, 0, 8)
    np.savez(tmp_path / "state.npz", *jax.tree.leaves(state))
    with np.load(tmp_path / "state.npz") as saved:
        state = jax.tree.unflatten(jax.tree.structure(state), [jnp.asarray(x) for x in saved.values()])
    state, second = run(state, 3, 2, 5)
    assert_equal(state, whole[0])
    assert_equal(jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second), whole[1])


def test_a_worker_that_is_killed_changes_nothing(whole):
    with nm.fitness.gymnasium("CartPole-v1", POLICY, episodes=2, num_envs=8, workers=2) as evaluate:
        evolution = evolution_in_gymnasium(evaluate)
        state, _ = rollout_on_host(evolution.step, KEY, evolution.init(KEY), 2)
        os.kill(evaluate.player.pool.workers[1].process.pid, signal.SIGKILL)
        state, history = rollout_on_host(evolution.step, KEY, state, 3, 2)
    assert_equal(state, whole[0])
    assert history.metrics["worker_deaths"].tolist() == [1, 0, 0]


class Echo(gymnasium.Env):
    """Four questions of two bits; every bit that comes back is worth a reward."""

    observation_space = gymnasium.spaces.MultiDiscrete([2, 2])
    action_space = gymnasium.spaces.MultiBinary(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.questions = self.np_random.permutation([(0, 1), (1, 1), (0, 0), (1, 0)]).tolist()
        return np.array(self.questions[-1]), {}

    def step(self, action):
        reward = float(np.sum(action == self.questions.pop()))
        return np.array((self.questions or [(0, 0)])[-1]), reward, not self.questions, False, {}


def test_a_population_learns_in_an_environment_that_only_gymnasium_has():
    policy = nm.networks.mlp(4, 2, (8,))
    inner = nm.evolution(policy, nm.mutators.gaussian(0.5), population_size=48, species=nm.speciation.none())
    with nm.fitness.gymnasium(Echo, policy, episodes=1, max_steps=4) as evaluate:
        evolution = nm.hall_of_fame(on_host(inner, evaluate), evaluate.of_members(1), 2)
        state, history = rollout_on_host(evolution.step, KEY, evolution.init(KEY), 40)
        champion, value = evolution.best(state)
        results = evaluate.evaluate_seeds(jax.tree.map(lambda x: x[None], champion), np.array([[0]]))
    assert history.metrics["fitness_best"][0] < 8 == results.returns[0, 0]
    assert value > 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": 3}, r"key must come from jax\.random\.key, got 3"),
        ({"length": 0}, "length must be a whole number of at least 1, got 0"),
        ({"start": -1}, "start must be a whole number of at least 0, got -1"),
    ],
)
def test_a_loop_that_cannot_be_run_is_refused(change, message):
    arguments = {"key": KEY, "state": 0, "length": 1} | change
    with pytest.raises(ValueError, match=message):
        rollout_on_host(lambda key, state: (state, state), **arguments)
