"""One generation against its equations, and what any evolution must keep: pedigree, elites, draws, soundness."""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.core import evaluate
from neuralmutator.core.genome import Genome, flatten, take
from neuralmutator.mutators import Mutator, Rewriting

KEY = jax.random.key(42)


def nothing():
    """A mutator that changes nothing, whoever the partner is."""

    def mutate(key, genome, *others):
        return Rewriting(genome, genome)

    return Mutator(0, lambda key: jnp.zeros(0), mutate, lambda params: {})


def small(mutator=None, fitness=None, flexible=False, **options):
    """An evolution that compiles fast."""
    if flexible:
        first = {"initial_widths": (8, 10)} | options.pop("first", {})
        policy = nm.networks.flexible_mlp(3, 2, max_layers=3, max_width=12, **first)
    else:
        policy = nm.networks.mlp(3, 2, hidden=(4,))
    options = {"population_size": 12, "elites": 2, "crossover_rate": 0.3} | options
    return nm.evolution(policy, mutator or nm.mutators.gaussian(0.05), fitness, **options)


def sphere(key, genome):
    """Three lines of a user: the policy's parameters should all be 0.3."""
    return -jnp.mean((genome.policy - 0.3) ** 2)


def assert_trees_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(_numbers, a), jax.tree.map(_numbers, b))


def assert_trees_close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol), a, b)


def _numbers(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def test_elites_are_not_restructured_either():
    """They are rows of the next population like any other; at this rate all others change their structure."""
    evolution = small(flexible=True, population_size=8, elites=3, structural_rate=1.0, crossover_rate=0.0)
    state = jax.jit(evolution.init)(KEY)
    fitness = jnp.array([1.0, 8.0, 3.0, 2.0, 7.0, 5.0, 6.0, 4.0])
    new, generation = jax.jit(evolution.tell)(jax.random.key(1), state, fitness)
    best = generation.parents[:3, 0]
    assert_trees_equal(take(new.population, jnp.arange(3)), take(state.population, best))
    assert int(generation.metrics["structural_mutations"]) == 5
    np.testing.assert_array_equal(generation.parents[:3, 0], generation.parents[:3, 1])


class TestEquations:
    """`tell` with prescribed parents: two births of one parent, two of two, in the middle of a decaying run."""

    PARENTS = np.array([[5, 5], [3, 1], [0, 0], [2, 5]])  # of the four children; N = 6, two elites
    FITNESS = np.array([0.5, 3.0, -1.0, 2.0, 7.0, 1.0], np.float32)
    GENERATION = 6
    SHARE = 1 - 0.8 * 6 / 10

    @pytest.fixture(scope="class")
    def told(self):
        def select(key, population, fitness):
            return jnp.concatenate([jnp.full((2, 2), 4), jnp.array(self.PARENTS)])

        evolution = small(
            nm.mutators.dual_mixture(positive=False),
            flexible=True,
            population_size=6,
            select=select,
            crossover_rate=1.0,
            limit=5.0,
            species=nm.speciation.learned(threshold=1e6, warm_start_steps=0),
            decay=lambda generation: jnp.maximum(0.2, 1 - 0.8 * generation / 10),
        )
        state = jax.jit(evolution.init)(KEY)
        mutator = 1.0 * state.population.mutator
        mutator = mutator.at[:, -6:].set(jnp.array([0.3, 0.2, 0.02, 0.05, 0.5, 0.1]))
        on = state.population.policy != 0
        population = state.population._replace(
            # All near +5, so that the clip is met; every genome different.
            policy=jnp.where(on, 4.98 + 0.05 * state.population.policy, 0.0),
            mutator=mutator,
            compat=state.population.compat + 0.1 * jax.random.normal(KEY, state.population.compat.shape),
            structural_rate=jnp.array([0.0005, 0.04, 0.001, 0.05, 0.02, 0.06]),
        )
        state = state._replace(population=population, generation=jnp.int32(self.GENERATION))
        key = jax.random.key(3)
        new, generation = jax.jit(evolution.tell)(key, state, jnp.array(self.FITNESS))
        return key, state, new, generation

    def test_children_follow_the_equations(self, told, specified_child):
        key, state, new, generation = told
        old = jax.tree.map(np.asarray, state.population)
        _, _, key_children = jax.random.split(key, 3)
        key_structure, key_rewrite = jax.random.split(key_children)
        rewriting, structure = jax.random.split(key_rewrite, 6)[2:], jax.random.split(key_structure, 6)[2:]
        n = old.policy.shape[1] + old.mutator.shape[1] + old.compat.shape[1]
        assert int(generation.metrics["structural_mutations"]) == 0  # at these rates and with this key
        clipped = 0
        for i, (first, second) in enumerate(self.PARENTS):
            a, b = (tuple(x[j].astype(np.float64) for x in old[:3]) for j in (first, second))
            crossing = first != second
            draw = jax.random.normal(rewriting[i], (n + 1 + 6,))
            policy, mutator, compat = specified_child(draw, a, b if crossing else None, chunk_size=64)
            base = [(x + y) / 2 for x, y in zip(a, b, strict=True)] if crossing else a
            # One parent: policy += share·delta, the rest a tenth (inside `specified_child`). Two: mean + share·noise.
            want = [
                np.where(old.policy[first] != 0, a[0] + self.SHARE * (policy - a[0]), 0.0),
                base[1] + self.SHARE * (mutator - base[1]),
                base[2] + self.SHARE * (compat - base[2]),
            ]
            clipped += sum(np.sum(np.abs(x) > 5) for x in want)
            for name, x in zip(("policy", "mutator", "compat"), want, strict=True):
                got = getattr(new.population, name)[2 + i]
                np.testing.assert_allclose(got, np.clip(x, -5, 5), rtol=0, atol=1e-5, err_msg=f"child {i}, {name}")
            np.testing.assert_array_equal(new.population.topology[2 + i], old.topology[first])
            rates = old.structural_rate[[first, second]].astype(np.float64)
            drift = float(jax.random.normal(jax.random.split(structure[i], 3)[2]))
            rate = rates.mean() if crossing else np.clip(rates[0] * np.exp(0.01 * drift), 0.001, 0.5)
            np.testing.assert_allclose(new.population.structural_rate[2 + i], rate, rtol=1e-5)
        assert clipped > 10

    def test_elites_go_on_bit_for_bit(self, told):
        _, state, new, generation = told
        # Everyone is of one species: the shared ranks are in the order of the fitness.
        assert_trees_equal(take(new.population, jnp.arange(2)), take(state.population, jnp.array([4, 1])))
        np.testing.assert_array_equal(generation.parents[:2], [[4, 4], [1, 1]])
        np.testing.assert_array_equal(generation.parents[2:], self.PARENTS)

    def test_the_books(self, told):
        _, state, new, generation = told
        metrics = {name: float(value) for name, value in generation.metrics.items()}
        assert int(new.generation) == self.GENERATION + 1
        # An elite keeps its birth number; children have new ones.
        first = (self.GENERATION + 1) * 6
        np.testing.assert_array_equal(new.births, [4, 1, first + 2, first + 3, first + 4, first + 5])
        assert_trees_equal(new.luckiest, take(state.population, 4))
        assert float(new.luckiest_fitness) == 7.0
        np.testing.assert_allclose(
            [metrics[f"fitness_{x}"] for x in ("best", "mean", "worst", "std")],
            [7.0, self.FITNESS.mean(), -1.0, self.FITNESS.std()],
            rtol=1e-5,
        )
        sizes = np.sum(np.asarray(state.population.policy) != 0, axis=1)
        np.testing.assert_allclose(metrics["policy_params_mean"], sizes.mean(), rtol=1e-5)
        topology = np.asarray(state.population.topology)
        np.testing.assert_allclose(metrics["neurons_mean"], topology.sum(axis=1).mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics["layers_mean"], (topology > 0).sum(axis=1).mean(), rtol=1e-5)
        assert metrics["crossovers"] == 2 and metrics["compatible_share"] == 1
        assert metrics["species"] == 1 and metrics["species_entropy"] == 0 and metrics["non_finite"] == 0
        np.testing.assert_allclose(metrics["p_gauss"], 0.5, rtol=1e-5)

    def test_replication_error_is_the_mutators_change_of_itself(self, told, specified_child):
        key, state, _, generation = told
        old = jax.tree.map(np.asarray, state.population)
        rewriting = jax.random.split(jax.random.split(jax.random.split(key, 3)[2])[1], 6)[2:]
        n = sum(x.shape[1] for x in old[:3])
        errors = []
        for i in (0, 2):  # the births of one parent
            a = [x[self.PARENTS[i, 0]] for x in old[:3]]
            _, mutator, _ = specified_child(jax.random.normal(rewriting[i], (n + 7,)), a, chunk_size=64)
            errors.append(np.linalg.norm(mutator - a[1]))
        np.testing.assert_allclose(generation.metrics["replication_error_mean"], np.mean(errors), rtol=1e-3)
        np.testing.assert_allclose(generation.metrics["replication_error_best"], np.min(errors), rtol=1e-3)


def test_pedigree_names_the_true_parents():
    """With a mutator that changes nothing, a child is its recorded first parent, bit for bit; so is every elite."""
    evolution = small(nothing(), sphere, crossover_rate=0.5, select=nm.selection.tournament(2))
    step, state, two = jax.jit(evolution.step), jax.jit(evolution.init)(KEY), 0
    for t in range(8):
        # New policies each time, or the population would soon be copies of one.
        fresh = jax.random.normal(jax.random.key(t), state.population.policy.shape)
        state = state._replace(population=state.population._replace(policy=fresh))
        old = state.population
        state, generation = step(jax.random.fold_in(KEY, t), state)
        assert_trees_equal(state.population, take(old, generation.parents[:, 0]))
        two += int(jnp.sum(generation.parents[:, 0] != generation.parents[:, 1]))
        assert int(generation.metrics["crossovers"]) == jnp.sum(generation.parents[:, 0] != generation.parents[:, 1])
        # The winner of a tournament leads a crossing.
        fitness = np.asarray(generation.fitness)[np.asarray(generation.parents)]
        assert np.all(fitness[:, 0] >= fitness[:, 1])
    assert 15 < two < 65  # of 80 births half wish to cross, most of them with someone else


def test_structural_mutations_of_births():
    """At rate 1 every child of one parent is changed by one mutation, a child of two has the first one's topology."""
    evolution = small(nothing(), sphere, flexible=True, crossover_rate=0.5, structural_rate=1.0, population_size=24)
    state = jax.jit(evolution.init)(KEY)
    new, generation = jax.jit(evolution.step)(KEY, state)
    old, young = np.asarray(state.population.topology), np.asarray(new.population.topology)
    parents, changed = np.asarray(generation.parents)[2:], 0
    for child, (a, b) in zip(young[2:], parents, strict=True):
        if a != b:
            np.testing.assert_array_equal(child, old[a])
        else:
            neurons, layers = np.sum(child) - np.sum(old[a]), np.sum(child > 0) - np.sum(old[a] > 0)
            assert (abs(neurons) == 1 and layers == 0) or abs(layers) == 1
            changed += 1
    assert changed == int(generation.metrics["structural_mutations"]) > 0
    assert np.any(parents[:, 0] != parents[:, 1])
    alone = parents[:, 0] == parents[:, 1]
    rates = np.asarray(new.population.structural_rate)[2:]
    np.testing.assert_array_equal(rates[alone], 0.5)  # the bound of what drifts; the mean of two ones is one
    np.testing.assert_array_equal(rates[~alone], 1.0)


@pytest.fixture(scope="module")
def whole():
    """Everything together, but small: learned speciation, the dual mixture, a flexible policy."""
    policy = nm.networks.flexible_mlp(3, 1, max_layers=2, max_width=8, initial_widths=(8,))

    def fitness(key, genome):
        x = jax.random.normal(jax.random.key(0), (16, 3))
        y = jax.vmap(lambda x: policy.apply(genome.policy, x, genome.topology))(x)
        return -jnp.mean((y[:, 0] - jnp.sin(x[:, 0])) ** 2)

    options = {"species": nm.speciation.learned(), "crossover_rate": 0.3, "limit": 5.0}
    evolution = nm.evolution(policy, nm.mutators.dual_mixture(), fitness, population_size=16, elites=2, **options)
    state, history = nm.run(evolution, KEY, 25)
    return evolution.best(state), history


def test_a_users_fitness_improves(whole):
    (_, value), history = whole
    best = np.asarray(history.metrics["fitness_best"])
    assert best[-1] > best[0] + 0.02
    assert np.all(np.diff(best) > -1e-6)  # without noise the elites keep what was reached
    np.testing.assert_allclose(value, best.max(), rtol=1e-6)
    for name, values in history.metrics.items():
        assert values.shape == (25,) and np.all(np.isfinite(values)), name
    assert history.fitness.shape == (25, 16) and history.parents.shape == (25, 16, 2)


LENGTH = 4


def noisy(block_size=None):
    """Flexible, with draws of each member's own, and infos."""
    return small(
        nm.mutators.self_adaptive(),
        lambda key, genome: (sphere(key, genome) + 0.01 * jax.random.normal(key), {"steps": 3, "lived": 0.5}),
        flexible=True,
        population_size=20,
        block_size=block_size,
        common_random_numbers=False,
        structural_rate=0.3,
    )


@pytest.fixture(scope="module")
def ran():
    evolution = noisy()
    return evolution, nm.run(evolution, KEY, LENGTH)


def assert_same_run(a, b):
    np.testing.assert_array_equal(a[1].parents, b[1].parents)
    assert_trees_close(a, b, atol=1e-4)


@pytest.mark.parametrize("block_size", [pytest.param(size, marks=pytest.mark.slow) for size in (1, 7)])
def test_block_size_changes_nothing(ran, block_size):
    assert_same_run(nm.run(noisy(block_size), KEY, LENGTH), ran[1])


@pytest.mark.slow
def test_vmap_of_run_is_run_of_each_key(ran):
    evolution, one = ran
    both = jax.vmap(lambda key: nm.run(evolution, key, LENGTH))(jnp.stack([jax.random.key(1), KEY]))
    assert_same_run(jax.tree.map(lambda x: x[1], both), one)
    first = jax.tree.map(lambda x: x[0], both)
    assert_same_run(first, nm.run(evolution, jax.random.key(1), LENGTH))


def test_steps_of_a_loop_are_the_run_and_trace_once(ran):
    """So a run that is cut anywhere, and continued from the state and the moment, is the same run."""
    evolution, one = ran
    step = jax.jit(chex.assert_max_traces(lambda key, state: evolution.step(key, state), n=1))
    key_init, key_run = jax.random.split(KEY)
    state, history = jax.jit(evolution.init)(key_init), []
    for t in range(LENGTH):
        state, generation = step(jax.random.fold_in(key_run, t), state)
        history.append(generation)
    assert_same_run((state, jax.tree.map(lambda *x: jnp.stack(x), *history)), one)
    assert int(state.generation) == LENGTH


def test_infos_are_reported_as_sums(ran):
    _, (_, history) = ran
    np.testing.assert_array_equal(history.metrics["steps"], 20 * 3)
    np.testing.assert_array_equal(history.metrics["lived"], 20 * 0.5)


def test_ask_and_tell_are_step():
    evolution = small(nm.mutators.self_adaptive(), sphere)
    state = jax.jit(evolution.init)(KEY)
    stepped = jax.jit(evolution.step)(KEY, state)
    population = evolution.ask(KEY, state)
    assert_trees_equal(population, state.population)
    values = jnp.stack([sphere(None, take(population, i)) for i in range(12)])
    told = jax.jit(evolution.tell)(jax.random.split(KEY)[1], state, values)
    assert_same_run(told, stepped)


@pytest.mark.parametrize("block_size", [None, 1, 3, 7, 10, 20])
def test_evaluate_counts_no_member_twice(block_size):
    population = Genome(*[jnp.arange(10.0)[:, None]] * 3, jnp.zeros((10, 0), jnp.int32), jnp.zeros(10))
    values, info = evaluate(
        lambda key, genome: (genome.policy[0], {"sum": genome.policy[0]}), KEY, population, block_size
    )
    np.testing.assert_array_equal(values, np.arange(10))
    assert float(info["sum"]) == 45


@pytest.mark.parametrize("common", [True, False])
def test_common_random_numbers(common):
    evolution = small(nothing(), lambda key, genome: jax.random.normal(key), common_random_numbers=common)
    step, state = jax.jit(evolution.step), jax.jit(evolution.init)(KEY)
    values = [np.asarray(step(jax.random.key(i), state)[1].fitness) for i in range(2)]
    assert len(np.unique(values[0])) == (1 if common else 12)
    assert not np.any(values[0] == values[1])  # each generation meets draws of its own


class TestBadNumbers:
    """A number that is not finite ranks last, is counted, and poisons nothing."""

    BAD = (0, 1, 2, 7)  # NaN, +inf and -inf as fitness; the last a NaN inside the genome, with the best fitness of all

    @pytest.fixture(scope="class", params=["none", "learned"])
    def told(self, request):
        species = None
        if request.param == "learned":
            species = nm.speciation.learned(warm_start_steps=0, target_species=3)
        evolution = small(nm.mutators.self_adaptive(), species=species, complexity_cost=0.01, elites=3)
        state = jax.jit(evolution.init)(KEY)
        population = state.population
        population = population._replace(
            policy=population.policy.at[7, 0].set(jnp.nan), mutator=population.mutator.at[7].set(jnp.inf)
        )
        fitness = jnp.linspace(-3.0, -1.0, 12).at[jnp.array(self.BAD)].set(jnp.array([jnp.nan, jnp.inf, -jnp.inf, 9]))
        tell = jax.jit(evolution.tell)
        hurt = state._replace(population=population)
        return [tell(jax.random.key(i), hurt, fitness) for i in range(5)], tell(KEY, state, jnp.full(12, jnp.nan))

    def test_they_have_no_children(self, told):
        for new, generation in told[0]:
            assert not np.isin(np.asarray(generation.parents), self.BAD).any()
            assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(new.population))

    def test_they_are_counted_and_poison_no_number(self, told):
        (new, generation), *_ = told[0]
        assert int(generation.metrics["non_finite"]) == 4
        good = np.delete(np.linspace(-3.0, -1.0, 12), self.BAD)
        got = [float(generation.metrics[f"fitness_{x}"]) for x in ("best", "mean", "worst", "std")]
        np.testing.assert_allclose(got, [good.max(), good.mean(), good.min(), good.std()], rtol=1e-4)
        for name, value in generation.metrics.items():
            assert np.all(np.isfinite(value)), name
        assert float(new.luckiest_fitness) == -1.0
        assert np.all(np.isfinite(flatten(new.luckiest)))
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(new.speciation))
        np.testing.assert_array_equal(np.isfinite(generation.fitness[:3]), False)  # reported as evaluated

    def test_a_number_of_nothing_is_nan(self, told):
        state, generation = told[1]
        for name in ("fitness_best", "fitness_mean", "fitness_worst", "fitness_std", "policy_params_mean", "step_size"):
            assert np.isnan(generation.metrics[name]), name
        assert np.isnan(small().best(state)[1])

    def test_a_generation_without_one_sound_member_goes_on(self, told):
        state, generation = told[1]
        assert int(generation.metrics["non_finite"]) == 12
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state.population))


@pytest.fixture(scope="module")
def costly():
    largest = {"initial_layers": (3,), "initial_widths": (12,)}
    evolution = small(nothing(), flexible=True, first=largest, structural_rate=0.5, complexity_cost=0.01, elites=3)
    return jax.jit(evolution.init)(KEY), jax.jit(evolution.tell)


def test_a_structural_rate_of_zero_stays(costly):
    state, tell = costly
    still = state.population._replace(structural_rate=jnp.zeros(12))
    new, generation = tell(KEY, state._replace(population=still), jnp.zeros(12))
    np.testing.assert_array_equal(new.population.structural_rate, 0)
    assert int(generation.metrics["structural_mutations"]) == 0


def test_complexity_cost_lowers_the_number_of_policy_parameters(costly):
    (state, tell), means = costly, []
    for t in range(12):
        before = np.sum(np.asarray(state.population.policy) != 0, axis=1)
        state, generation = tell(jax.random.fold_in(KEY, t), state, jnp.zeros(12))
        means.append(float(generation.metrics["policy_params_mean"]))
        # Nothing but the cost tells members apart: the elites are the smallest.
        np.testing.assert_array_equal(np.sum(np.asarray(state.population.policy[:3]) != 0, axis=1), np.sort(before)[:3])
    assert means[0] == 386 and means[-1] < 100  # the smallest network that there can be has 50


POLICY = nm.networks.mlp(2, 1, hidden=(2,))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("population_size", 1),
        ("population_size", 2.0),
        ("elites", -1),
        ("elites", 80),
        ("crossover_rate", 1.5),
        ("crossover_rate", float("nan")),
        ("structural_rate", -0.1),
        ("complexity_cost", -1.0),
        ("complexity_cost", float("inf")),
        ("limit", 0),
        ("limit", float("inf")),
        ("population_size", True),
        ("block_size", 0),
        ("block_size", 1.5),
        ("block_size", "half"),
    ],
)
def test_errors_name_the_field_and_the_value(field, value):
    with pytest.raises(ValueError, match=f"{field} must.*{value!r}"):
        nm.evolution(POLICY, nm.mutators.gaussian(), **{field: value})


def test_a_wrong_fitness_is_refused():
    with pytest.raises(ValueError, match=r"scalar.*\(6,\)"):
        small(fitness=lambda key, genome: genome.policy[:6])
    with pytest.raises(ValueError, match=r"fitness must be a function.*, got 3"):
        small(fitness=3)
    with pytest.raises(ValueError, match=r"info of the fitness must be a dict.*, got float"):
        small(fitness=lambda key, genome: (genome.policy[0], 1.0))
    state = small().init(KEY)
    with pytest.raises(ValueError, match=r"\(12,\), got \(11,\)"):
        small().tell(KEY, state, jnp.zeros(11))
    with pytest.raises(ValueError, match="fitness is None"):
        small().step(KEY, state)


def test_an_info_may_not_take_the_name_of_a_metric():
    policy = nm.networks.mlp(1, 1, hidden=())
    evolution = nm.evolution(
        policy,
        nm.mutators.gaussian(),
        lambda key, genome: (jnp.sum(genome.policy), {"species": 1.0}),
        population_size=6,
    )
    with pytest.raises(ValueError, match="named like a metric, got species"):
        jax.eval_shape(lambda key: evolution.step(key, evolution.init(key)), jax.random.key(0))


class TestDefaults:
    """A bare evolution adds nothing to what it is given."""

    @pytest.fixture(scope="class")
    def told(self):
        # At a std of 4 a third of all parameters would be clipped at 5.
        evolution = nm.evolution(POLICY, nm.mutators.gaussian(4.0), population_size=40)
        state = jax.jit(evolution.init)(KEY)
        return state, *jax.jit(evolution.tell)(KEY, state, jnp.arange(40.0))

    def test_no_compatibility_net_and_no_species(self, told):
        state, _, generation = told
        assert state.population.compat.shape == (40, 0) and state.speciation == ()
        assert not {"tag_distance", "species_threshold", "mutator_drift_mean"} & set(generation.metrics)

    def test_no_crossing(self, told):
        *_, generation = told
        np.testing.assert_array_equal(generation.parents[:, 0], generation.parents[:, 1])
        assert int(generation.metrics["crossovers"]) == 0

    def test_no_bound(self, told):
        _, new, _ = told
        assert np.abs(np.asarray(new.population.policy)).max() > 8


def test_a_limit_bounds_first_genomes_and_children():
    far = POLICY._replace(init=lambda key: jnp.full(POLICY.num_params, 8.0))
    for limit in (0.5, 5.0):
        evolution = nm.evolution(far, nm.mutators.gaussian(4.0), population_size=10, limit=limit)
        state = jax.jit(evolution.init)(KEY)
        np.testing.assert_array_equal(state.population.policy, limit)
        new, _ = jax.jit(evolution.tell)(KEY, state, jnp.arange(10.0))
        assert np.abs(np.asarray(new.population.policy)).max() == limit
        assert len(np.unique(new.population.policy)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crossover_rate", "structural_rate", "complexity_cost", "limit"])
def test_a_number_can_be_vmapped(name):
    """A program over several settings gives what each setting gives alone, and they differ."""
    policy = nm.networks.flexible_mlp(2, 1, max_layers=2, max_width=8, initial_widths=(8,))

    def evolved(value):
        options = {"structural_rate": 0.5, "crossover_rate": 0.5, name: value}
        evolution = nm.evolution(policy, nm.mutators.gaussian(0.5), sphere, population_size=8, elites=1, **options)
        state, history = nm.run(evolution, KEY, 3)
        return state.population, history.parents

    values = [0.01 if name == "limit" else 0.0, 0.9]
    both = jax.jit(jax.vmap(evolved))(jnp.array(values))
    for i, value in enumerate(values):
        alone = evolved(value)
        np.testing.assert_array_equal(both[1][i], alone[1])
        assert_trees_close(take(both[0], i), alone[0])
    assert np.any(both[0].policy[0] != both[0].policy[1]) or np.any(both[1][0] != both[1][1])


@pytest.mark.slow
def test_a_run_can_be_vmapped_over_settings_and_keys():
    def best(std, key):
        evolution = nm.evolution(POLICY, nm.mutators.gaussian(std), sphere, population_size=8, elites=1)
        return nm.run(evolution, key, 3)[1].metrics["fitness_best"][-1]

    keys = jax.random.split(KEY, 2)
    many = jax.jit(jax.vmap(jax.vmap(best, (None, 0)), (0, None)))(jnp.array([0.01, 0.1, 1.0]), keys)
    assert many.shape == (3, 2) and len(np.unique(many)) > 4
    np.testing.assert_allclose(many[1, 1], best(0.1, keys[1]), rtol=1e-5)


@pytest.mark.parametrize(
    "dtype", [pytest.param(dtype, marks=pytest.mark.slow) for dtype in (jnp.bfloat16, jnp.float16)]
)
def test_children_keep_the_dtype_of_the_policy(dtype):
    policy = POLICY._replace(init=lambda key: POLICY.init(key).astype(dtype))
    for mutator in (nm.mutators.dual_mixture(), nm.mutators.self_adaptive()):
        evolution = nm.evolution(policy, mutator, sphere, population_size=6, elites=1, crossover_rate=0.5, limit=5.0)
        state, history = nm.run(evolution, KEY, 3)
        assert state.population.policy.dtype == dtype and state.population.mutator.dtype == jnp.float32
        assert history.fitness.dtype == jnp.float32 and np.all(np.isfinite(history.fitness))


def test_a_policy_of_whole_numbers_is_refused():
    policy = POLICY._replace(init=lambda key: jnp.zeros(POLICY.num_params, jnp.int32))
    with pytest.raises(ValueError, match=r"policy must draw parameters f32\[9\].*got int32"):
        nm.evolution(policy, nm.mutators.gaussian())


@pytest.mark.slow
def test_x64():
    """In a process of its own, since it is a setting of the whole process."""
    program = """
import jax, jax.numpy as jnp, neuralmutator as nm
def sphere(key, genome):
    return -jnp.mean((genome.policy - 0.3) ** 2), {"n": 1}
mlp, flexible = nm.networks.mlp(2, 1, (4,)), nm.networks.flexible_mlp(2, 1, 2, 8, initial_widths=(8,))
for policy, mutator in ((mlp, nm.mutators.dual_mixture()), (flexible, nm.mutators.self_adaptive())):
    species = nm.speciation.learned(target_species=2, warm_start_steps=2)
    options = {"species": species, "crossover_rate": 0.5, "limit": 5.0, "structural_rate": 0.5}
    evolution = nm.evolution(policy, mutator, sphere, population_size=6, elites=1, **options)
    evolution = nm.hall_of_fame(nm.track_founders(evolution), sphere, size=2)
    state, history = nm.run(evolution, jax.random.key(0), 2)
    genome, born = jax.tree.map(lambda x: x.dtype, (state.population, evolution.init(jax.random.key(0)).population))
    assert genome == born and genome.mutator == jnp.float32, (genome, born)
    assert history.fitness.dtype == jnp.float32 and bool(jnp.all(jnp.isfinite(history.fitness)))
"""
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_numpy_numbers_are_numbers():
    evolution = small(population_size=np.int64(8), elites=np.int32(1), block_size=np.int64(4))
    assert jax.eval_shape(evolution.init, KEY).population.policy.shape[0] == 8


def test_infos_are_summed_over_members_alone():
    evolution = small(fitness=lambda key, genome: (genome.policy[0], {"seen": jnp.array([1.0, 2.0, 3.0])}))
    info = jax.eval_shape(lambda key: evolution.step(key, evolution.init(key))[1], KEY)
    assert info.metrics["seen"].shape == (3,)
    _, info = jax.jit(lambda key: evolution.step(key, evolution.init(key)))(KEY)
    np.testing.assert_array_equal(info.metrics["seen"], [12, 24, 36])


def test_a_fitness_on_the_host_is_refused():
    class Host:
        runs_on_host = True

        def __call__(self, key, population):
            raise AssertionError

    for build in (
        lambda: small(fitness=Host()),
        lambda: nm.hall_of_fame(small(), Host()),
        lambda: nm.fitness.combine([sphere, Host()]),
    ):
        with pytest.raises(ValueError, match="fitness Host is evaluated on the host: use ask and tell"):
            build()


@pytest.mark.parametrize(
    "select",
    [
        lambda key, population, fitness: jnp.zeros(10, jnp.int32),
        lambda key, population, fitness: jnp.zeros((12, 2)),
        lambda key, population, fitness: None,
    ],
)
def test_a_wrong_selection_is_refused(select):
    with pytest.raises(ValueError, match=r"select must return parents i32\[12, 2\], got"):
        small(select=select)


def test_a_wrong_mutator_is_refused():
    mutator = nothing()._replace(mutate=lambda key, genome, *others: genome)
    with pytest.raises(ValueError, match=r"mutator must return a Rewriting \(base, child\), got Genome"):
        small(mutator)


def test_a_run_refuses_what_it_cannot_run():
    evolution = small(fitness=sphere)
    for key in (0, jax.random.PRNGKey(0)):
        with pytest.raises(ValueError, match=r"key must come from jax\.random\.key, got"):
            nm.run(evolution, key, 3)
        with pytest.raises(ValueError, match=r"key must come from jax\.random\.key, got"):
            evolution.init(key)
    for generations in (-1, 2.5):
        with pytest.raises(ValueError, match=f"generations must be a whole number of at least 0, got {generations}"):
            nm.run(evolution, KEY, generations)


def test_children_rewrite_the_weighted_mean_of_the_best():
    """The mean by hand, with the weights of CMA-ES; members that are not finite have no part in it."""
    policy, n, mu = nm.networks.mlp(2, 1, hidden=()), 12, 4
    evolution = nm.evolution(
        policy, nm.mutators.momentum(policy.num_params, 1e-4), population_size=n, elites=1, recombine=mu
    )
    state = evolution.init(jax.random.key(0))
    random = np.random.default_rng(0)
    population = state.population._replace(
        policy=jnp.asarray(random.normal(size=(n, policy.num_params)), jnp.float32),
        mutator=jnp.asarray(random.normal(size=(n, policy.num_params)), jnp.float32),
    )
    population = population._replace(policy=population.policy.at[3].set(jnp.nan))
    fitness = random.permutation(n).astype(np.float32)
    new, generation = jax.jit(evolution.tell)(jax.random.key(1), state._replace(population=population), fitness)
    order = np.argsort(-np.where(np.arange(n) == 3, -np.inf, fitness))[:mu]
    weights = np.log(mu + 0.5) - np.log(np.arange(1, mu + 1))
    weights /= weights.sum()
    means = [np.tensordot(weights, np.asarray(x)[order], 1) for x in (population.policy, population.mutator)]
    np.testing.assert_allclose(new.population.policy[1:] - 0.5 * means[1], np.tile(means[0], (n - 1, 1)), atol=2e-3)
    np.testing.assert_array_equal(new.population.policy[0], population.policy[order[0]])  # the elite
    assert np.all(np.asarray(generation.parents) == order[0])


def test_a_centre_finds_the_optimum():
    policy = nm.networks.mlp(2, 1, hidden=())
    evolution = nm.evolution(
        policy,
        nm.mutators.gaussian(0.3),
        lambda key, genome: -jnp.sum((genome.policy - 2.0) ** 2),
        population_size=30,
        elites=0,
        recombine=10,
    )
    state, _ = nm.run(evolution, jax.random.key(0), 60)
    np.testing.assert_allclose(np.mean(state.population.policy, axis=0), 2.0, atol=0.4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recombine": 0}, "recombine must be a whole number of at least 1, got 0"),
        ({"recombine": 9}, "recombine must be at most population_size = 8, got 9"),
        ({"recombine": 2, "crossover_rate": 0.5}, "recombine leaves nothing to select or to cross"),
        ({"recombine": 2, "policy": nm.networks.flexible_mlp(2, 1)}, "policies whose topology evolves"),
    ],
)
def test_recombinations_that_cannot_be_are_refused(arguments, message):
    arguments = {"policy": nm.networks.mlp(2, 1, hidden=()), "population_size": 8} | arguments
    with pytest.raises(ValueError, match=message):
        nm.evolution(mutator=nm.mutators.gaussian(), **arguments)
