"""The contract in `population/types.py`, for every wrapper: add a row to the table and it is held to all of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.core import evaluate
from neuralmutator.mutators import Mutator, Rewriting

KEY = jax.random.key(5)
N, LENGTH = 8, 4
WRAP = {  # (evolution, fitness) -> evolution
    "evolution": lambda evolution, fitness: evolution,
    "track_founders": lambda evolution, fitness: nm.track_founders(evolution),
    "hall_of_fame": lambda evolution, fitness: nm.hall_of_fame(evolution, fitness, size=3),
    "hall_of_fame with centre": lambda evolution, fitness: nm.hall_of_fame(evolution, fitness, size=4, centre=True),
    "islands": lambda evolution, fitness: nm.islands(
        evolution, fitness, 2, migrate_every=2, migrants=2, common_random_numbers=False
    ),
    "a stack": lambda evolution, fitness: nm.hall_of_fame(nm.track_founders(evolution), fitness, size=3),
}
POLICY = nm.networks.mlp(2, 1, hidden=())


def noisy(key, genome):
    value = -jnp.sum((genome.policy - 0.5) ** 2) + 0.1 * jax.random.normal(key)
    return value, {"steps": 2, "seen": jnp.array([1.0, 2.0])}


def exact(key, genome):
    return -jnp.sum((genome.policy - 0.5) ** 2)


class Case(NamedTuple):
    size: int  # members of all islands together
    within: set  # metrics of the evolution that is wrapped
    wrap: object
    evolution: nm.Evolution
    init: object  # jitted
    step: object  # jitted
    traces: list  # one entry for each time that `step` was traced
    tell: object  # jitted


# "a stack" holds both; alone they take as long again.
SLOW = ("track_founders", "hall_of_fame", "hall_of_fame with centre")
CASES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in WRAP]


@pytest.fixture(scope="module", params=CASES, ids=list(WRAP))
def case(request):
    wrap = WRAP[request.param]
    inner = nm.evolution(
        POLICY,
        nm.mutators.self_adaptive(0.2),
        noisy,
        population_size=N,
        elites=2,
        crossover_rate=0.5,
        common_random_numbers=False,
    )
    evolution = wrap(inner, noisy)
    traces = []

    def step(key, state):
        traces.append(1)
        return evolution.step(key, state)

    size = jax.eval_shape(lambda key: evolution.init(key).births, KEY).size
    told = jax.eval_shape(lambda key: inner.tell(key, inner.init(key), jnp.zeros(N)), KEY)[1]
    return Case(
        size,
        set(told.metrics),
        wrap,
        evolution,
        jax.jit(evolution.init),
        jax.jit(step),
        traces,
        jax.jit(evolution.tell),
    )


def run(case, key, state, moments):
    """A run by hand; the moments' keys are those of `rollout`."""
    history = []
    for t in moments:
        state, generation = case.step(jax.random.fold_in(key, t), state)
        history.append(generation)
    return state, jax.tree.map(lambda *x: jnp.stack(x), *history)


def test_a_state_has_a_population_and_birth_numbers(case):
    state = case.init(KEY)
    assert isinstance(state.population, nm.Genome) and state.population.policy.shape == (case.size, POLICY.num_params)
    births = np.asarray(state.births)
    assert births.dtype == np.int32
    for t in range(3):
        old, old_births = np.asarray(state.population.policy), births
        state, generation = case.step(jax.random.fold_in(KEY, t), state)
        births = np.asarray(state.births)
        assert len(np.unique(births)) == case.size
        kept = np.isin(births, old_births)
        np.testing.assert_array_equal(kept, np.arange(case.size) % N < 2)  # the elites
        for i in np.flatnonzero(kept):
            row = int(np.flatnonzero(old_births == births[i])[0])
            np.testing.assert_array_equal(state.population.policy[i], old[row])
            np.testing.assert_array_equal(generation.parents[i], row)


def test_ask_gives_the_population_whatever_the_key(case):
    state = case.init(KEY)
    for seed in range(2):
        asked = case.evolution.ask(jax.random.key(seed), state)
        jax.tree.map(np.testing.assert_array_equal, asked, state.population)


def test_tell_takes_what_evolution_takes(case):
    state, fitness = case.init(KEY), jnp.arange(case.size, dtype=jnp.float32)
    plain, told = case.tell(KEY, state, fitness)
    informed, reported = case.tell(KEY, state, fitness, {"env_steps": jnp.int32(7)})
    jax.tree.map(np.testing.assert_array_equal, plain, informed)
    assert reported.metrics.pop("env_steps") == 7
    jax.tree.map(np.testing.assert_array_equal, told, reported)
    assert (
        told.fitness.shape == (case.size,) and told.parents.shape == (case.size, 2) and told.parents.dtype == jnp.int32
    )
    with pytest.raises(ValueError, match=rf"\({case.size},\), got \({case.size - 1},\)"):
        case.evolution.tell(KEY, state, fitness[1:])
    for name in {"fitness_best"} | (told.metrics.keys() - case.within):
        with pytest.raises(ValueError, match=f"named like a metric, got {name}"):
            jax.eval_shape(case.evolution.tell, KEY, state, fitness, {name: jnp.int32(0)})


def test_the_metrics_that_must_be_there(case):
    _, generation = case.step(KEY, case.init(KEY))
    for name in ("fitness_best", "fitness_mean", "fitness_worst", "fitness_std", "non_finite"):
        assert generation.metrics[name].shape == () and np.isfinite(generation.metrics[name])
    assert generation.metrics["steps"] == 2 * case.size
    np.testing.assert_array_equal(generation.metrics["seen"], [case.size, 2 * case.size])


def test_step_is_ask_evaluate_and_tell(case):
    """Where nothing is random, so that it does not matter which keys `step` draws for its parts."""
    silent = Mutator(0, lambda key: jnp.zeros(0), lambda key, genome, *others: Rewriting(genome, genome), lambda _: {})

    def best_two(key, population, fitness):
        order = jnp.argsort(-fitness)
        return jnp.stack([jnp.full(N, order[0]), jnp.full(N, order[1])], axis=1)

    inner = nm.evolution(POLICY, silent, exact, population_size=N, elites=2, select=best_two)
    evolution = case.wrap(inner, exact)
    state = jax.jit(evolution.init)(KEY)
    for t in range(2):
        population = evolution.ask(KEY, state)
        values, info = evaluate(exact, KEY, population)
        told = jax.jit(evolution.tell)(jax.random.key(t + 10), state, values, info)
        stepped = jax.jit(evolution.step)(jax.random.key(t), state)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), told, stepped)
        state = stepped[0]


def test_a_run_that_was_cut_is_the_whole_run(case):
    whole, history = run(case, KEY, case.init(KEY), range(LENGTH))
    state, first = run(case, KEY, case.init(KEY), range(2))
    state = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), state)  # through the host, as a checkpoint goes
    state, second = run(case, KEY, state, range(2, LENGTH))
    jax.tree.map(np.testing.assert_array_equal, state, whole)
    jax.tree.map(lambda x, y, z: np.testing.assert_array_equal(jnp.concatenate([x, y]), z), first, second, history)


def test_vmap_over_keys_is_a_loop_and_rollout_as_well(case):
    keys = jax.random.split(KEY, 2)
    many = jax.jit(jax.vmap(lambda key: nm.rollout(case.evolution.step, key, case.evolution.init(key), LENGTH)))(keys)
    for i, key in enumerate(keys):
        one = run(case, key, case.init(key), range(LENGTH))
        np.testing.assert_array_equal(many[1].parents[i], one[1].parents)
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-4, atol=1e-5), many, one)


def test_fitness_that_is_not_finite_is_counted_and_spoils_nothing(case):
    state = case.init(KEY)
    bad = jnp.arange(case.size, dtype=jnp.float32).at[jnp.array([0, 7])].set(jnp.array([jnp.nan, jnp.inf]))
    new, generation = case.tell(KEY, state, bad)
    assert int(generation.metrics["non_finite"]) == 2
    assert not np.isin(np.asarray(generation.parents), [0, 7]).any()
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(new.population))
    own = {name: value for name, value in generation.metrics.items() if not name.startswith("replication")}
    assert all(np.all(np.isfinite(value)) for value in own.values()), own
    np.testing.assert_allclose(generation.metrics["fitness_mean"], np.delete(np.arange(case.size), [0, 7]).mean())
    _, generation = case.tell(KEY, state, jnp.full(case.size, jnp.nan))
    assert int(generation.metrics["non_finite"]) == case.size
    for name in ("fitness_best", "fitness_mean", "fitness_worst", "fitness_std"):
        assert np.isnan(generation.metrics[name]), name


def test_best_is_a_genome_and_its_estimate_and_a_step_is_traced_once(case):
    state = case.init(KEY)
    assert np.isnan(case.evolution.best(state)[1])
    state, _ = run(case, KEY, state, range(LENGTH))
    assert len(case.traces) == 1
    genome, value = case.evolution.best(state)
    assert genome.policy.shape == (POLICY.num_params,) and value.shape == () and np.isfinite(value)
