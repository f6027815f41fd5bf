"""How a run is judged, against the same run by hand."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.backend import clear_backends

import neuralmutator as nm
from neuralmutator.study import Protocol, check_moments, judge, judge_seeds

KEY = jax.random.key(8)
POLICY = nm.networks.mlp(2, 1, hidden=())
GENERATIONS, SIZE = 9, 10
PROTOCOL = Protocol(checks=4, of_named=50, first=3, finalists=4, second=20, test=400)


def noisy(key, genome):
    return -jnp.sum((genome.policy - 1) ** 2) + jax.random.normal(key)


def worth(policy):
    return -np.sum((np.asarray(policy) - 1) ** 2, axis=-1)


@pytest.fixture(scope="module")
def evolution():
    return nm.evolution(POLICY, nm.mutators.gaussian(0.3), noisy, population_size=SIZE)


@pytest.fixture(scope="module")
def judged(evolution):
    return jax.jit(lambda key: judge(evolution, noisy, key, GENERATIONS, PROTOCOL))(KEY)


def test_the_run_is_nm_runs(evolution, judged):
    _, history = nm.run(evolution, KEY, GENERATIONS)
    np.testing.assert_allclose(judged.population, history.metrics["fitness_mean"], rtol=1e-5)
    np.testing.assert_allclose(judged.best, history.metrics["fitness_best"], rtol=1e-5)


def test_named_and_champion_are_worth_what_fresh_evaluations_say(evolution, judged):
    """The noise has std 1: of the best of ten evaluations it makes 1.5, of 50 fresh ones nothing."""
    moments = check_moments(GENERATIONS, PROTOCOL.checks)
    assert moments.tolist() == [0, 3, 5, 8] and judged.named.shape == (4,)
    key_init, key_run = jax.random.split(KEY)
    state, step = jax.jit(evolution.init)(key_init), jax.jit(evolution.step)
    named = []
    for t in range(GENERATIONS):
        population = state.population
        state, seen = step(jax.random.fold_in(key_run, t), state)
        named.append(worth(population.policy[int(jnp.argmax(seen.fitness))]))
    np.testing.assert_allclose(judged.named, np.array(named)[moments], atol=0.5)
    last = worth(population.policy)
    assert abs(judged.champion - last[np.argmin(abs(last - judged.champion))]) < 0.2
    assert judged.champion > np.median(last)
    np.testing.assert_allclose(judged.centre, worth(np.mean(population.policy, axis=0)), atol=0.2)


def test_several_seeds_are_several_runs(evolution, judged):
    keys = jnp.stack([jax.random.key(1), KEY])
    many = judge_seeds(evolution, noisy, keys, GENERATIONS, PROTOCOL)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1], y, rtol=1e-4), many, judged)


def test_methods_share_the_program_of_what_their_fitness_sees(evolution, judged):
    traced = []

    def counted(key, genome):
        traced.append(genome)
        return noisy(key, genome)

    def policies(genome):
        return genome._replace(mutator=genome.mutator[..., :0])

    keys = jnp.stack([KEY, jax.random.key(1), jax.random.key(2)])
    other = nm.evolution(POLICY, nm.mutators.self_adaptive(0.3), noisy, population_size=SIZE)
    many, traces = [], []
    for method in (evolution, other):
        for n in (1, 3):
            many.append(judge_seeds(method, counted, keys[:n], GENERATIONS, PROTOCOL, policies))
            traces.append(len(traced))
    assert traces[0] > 0 and set(traces) == {traces[0]}
    for found in many[:2]:
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y, rtol=1e-4), found, judged)
    assert many[3].champion.shape == (3,) and not np.allclose(many[3].population, many[1].population)


def compare_devices():
    clear_backends()
    jax.config.update("jax_num_cpu_devices", 3)
    evolution = nm.evolution(POLICY, nm.mutators.gaussian(0.3), noisy, population_size=SIZE)
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    many = judge_seeds(evolution, noisy, keys, GENERATIONS, PROTOCOL)
    one = jax.jit(lambda key: judge(evolution, noisy, key, GENERATIONS, PROTOCOL))
    for i, key in enumerate(keys):
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-4), many, one(key))
    assert len(jax.devices()) == 3 and len(np.unique(many.champion)) == 4


@pytest.mark.slow
def test_seeds_are_spread_over_devices():
    """In a process of its own: that of the tests has a single device."""
    subprocess.run([sys.executable, __file__], check=True, timeout=300)


def test_a_changing_fitness_is_judged_by_its_generation():
    fitness = nm.fitness.changing(
        lambda target: lambda key, genome: -jnp.sum((genome.policy - target) ** 2), nm.fitness.steps([0.0, 9.0], at=[5])
    )
    evolution = nm.evolution(POLICY, nm.mutators.gaussian(0.1), fitness, population_size=SIZE)
    found = jax.jit(lambda key: judge(evolution, fitness, key, 7, PROTOCOL._replace(checks=7, test=1)))(KEY)
    np.testing.assert_allclose(found.named, found.best, rtol=1e-5)  # no noise, so the same
    assert found.named[4] > -10 and found.named[5] < -100 and found.champion < -100


def test_members_of_no_finite_fitness_name_nothing():
    broken = nm.evolution(
        POLICY, nm.mutators.gaussian(0.3), lambda key, genome: jnp.where(genome.policy[0] > 0, jnp.nan, 0.0)
    )
    found = jax.jit(lambda key: judge(broken, lambda key, genome: jnp.float32(0), key, 3, PROTOCOL._replace(test=1)))(
        KEY
    )
    assert np.all(np.isfinite(found.named)) and found.champion == 0


def test_bad_numbers_are_refused(evolution):
    with pytest.raises(ValueError, match="finalists must be a whole number of at least 1, got 0"):
        judge(evolution, noisy, KEY, GENERATIONS, PROTOCOL._replace(finalists=0))
    with pytest.raises(ValueError, match="generations must be a whole number of at least 1, got 0"):
        judge(evolution, noisy, KEY, 0, PROTOCOL)


if __name__ == "__main__":
    compare_devices()
