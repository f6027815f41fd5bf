"""Algorithms of evosax through our harness, beside evosax's own loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from evosax.algorithms import algorithms, population_based_algorithms

import neuralmutator as nm
from neuralmutator.population import baselines

KEY = jax.random.key(3)
N, LENGTH = 12, 4
POLICY = nm.networks.mlp(2, 1, hidden=(3,))
SETTINGS = {
    "SNES": {"std_init": 0.3},
    "Open_ES": {"optimizer": 0.02, "std_schedule": 0.1},
    "GESMR_GA": {"num_groups": 11},
}
QUICK = ("SNES", "SAMR_GA", "Open_ES")
ALL = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in baselines.names()]


def score(key, genome):
    return -jnp.sum((genome.policy - 0.5) ** 2) + 0.1 * jax.random.normal(key)


def own_loop(name, settings, key_init, key_run):
    """What a user of evosax writes; fitness f32[LENGTH, N], higher is better, and the last population."""
    settings = dict(settings)
    arguments = {}
    if name == "Open_ES":
        arguments = {"optimizer": optax.adam(0.02), "std_schedule": optax.constant_schedule(0.1)}
        settings = {}
    if name == "GESMR_GA":
        arguments = {"num_groups": settings.pop("num_groups")}
    if name == "RandomSearch":
        arguments = {"sampling_fn": POLICY.init}
    groups = 2 if name.startswith("SV_") else 0
    if groups:
        arguments = {"num_populations": groups}
    algorithm = algorithms[name](
        population_size=N // max(1, groups), solution=jnp.zeros(POLICY.num_params), **arguments
    )
    params = algorithm.default_params.replace(**settings)
    key_birth, key_start, key_ask = jax.random.split(key_init, 3)
    if name in population_based_algorithms:
        population, state = jax.vmap(POLICY.init)(jax.random.split(key_birth, N)), None
    else:
        mean = jax.vmap(POLICY.init)(jax.random.split(key_birth, groups)) if groups else POLICY.init(key_birth)
        population, state = algorithm.ask(key_ask, algorithm.init(key_start, mean, params), params)
    history = []
    for t in range(LENGTH):
        key_evaluate, key_tell = jax.random.split(jax.random.fold_in(key_run, t))
        key_tell, key_ask = jax.random.split(key_tell)
        fitness = jax.jit(jax.vmap(lambda x, key=key_evaluate: score(key, nm.Genome(x, None, None, None, None))))(
            population
        )
        history.append(fitness)
        told = population.reshape(groups, -1, POLICY.num_params) if groups else population
        if state is None:
            state = algorithm.init(key_tell, told, -fitness, params)
        else:
            state, _ = algorithm.tell(key_tell, told, -fitness, state, params)
        population, state = algorithm.ask(key_ask, state, params)
    return np.stack(history), np.asarray(population)


@pytest.mark.parametrize("name", ALL)
def test_the_numbers_are_those_of_its_own_loop(name):
    settings = SETTINGS.get(name, {})
    evolution = nm.evosax(name, POLICY, score, N, **settings)
    key_init, key_run = jax.random.split(KEY)
    state, history = nm.run(evolution, KEY, LENGTH)
    fitness, population = own_loop(name, settings, key_init, key_run)
    np.testing.assert_allclose(history.fitness, fitness, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(state.population.policy, population, rtol=2e-4, atol=2e-4)
    assert np.all(np.asarray(history.parents) == baselines.UNKNOWN)


def test_every_algorithm_of_evosax_has_a_name():
    assert set(baselines.names()) == set(algorithms)


@pytest.fixture(scope="module")
def snes():
    evolution = nm.evosax("SNES", POLICY, score, N, std_init=0.3)
    return evolution, jax.jit(evolution.init), jax.jit(evolution.step), jax.jit(evolution.tell)


def test_it_is_an_evolution_like_any_other(snes):
    """Wrapped, cut and resumed, over several keys."""
    evolution, init, step, _ = snes
    state = init(KEY)
    seen = set(np.asarray(state.births).tolist())
    for t in range(3):
        state, generation = step(jax.random.fold_in(KEY, t), state)
        new = set(np.asarray(state.births).tolist())
        assert len(new) == N and not new & seen
        seen |= new
        assert generation.fitness.shape == (N,) and generation.parents.shape == (N, 2)
    hall = nm.hall_of_fame(evolution, score, size=4, centre=True)
    _, history = nm.run(hall, KEY, 60)
    assert history.metrics["champion_fitness"][-1] > -0.2  # from about -3
    keys = jax.random.split(KEY, 2)
    many = jax.jit(jax.vmap(lambda key: nm.rollout(evolution.step, key, evolution.init(key), 3)[1].fitness))(keys)
    state = init(keys[1])
    for t in range(3):
        state, generation = step(jax.random.fold_in(keys[1], t), state)
        np.testing.assert_allclose(many[1, t], generation.fitness, rtol=1e-4)


def test_the_best_is_the_luckiest_single_evaluation(snes):
    _, init, step, _ = snes
    state, seen = init(KEY), []
    assert np.isnan(snes[0].best(state)[1])
    for t in range(4):
        population = state.population.policy
        state, generation = step(jax.random.fold_in(KEY, t), state)
        seen += list(zip(np.asarray(generation.fitness), np.asarray(population), strict=True))
    best, policy = max(seen, key=lambda pair: pair[0])
    genome, value = snes[0].best(state)
    assert value == best
    np.testing.assert_array_equal(genome.policy, policy)


def test_fitness_that_is_not_finite_counts_as_the_worst(snes):
    _, init, _, tell = snes
    state = init(KEY)
    fitness = jnp.arange(N, dtype=jnp.float32)
    bad, generation = tell(KEY, state, fitness.at[jnp.array([0, 5])].set(jnp.array([-jnp.inf, jnp.nan])))
    like, _ = tell(KEY, state, fitness.at[jnp.array([0, 5])].set(1.0))
    np.testing.assert_array_equal(bad.population.policy, like.population.policy)
    assert int(generation.metrics["non_finite"]) == 2
    nothing, generation = tell(KEY, state, jnp.full(N, jnp.nan))
    assert np.all(np.isfinite(nothing.population.policy)) and np.isnan(generation.metrics["fitness_best"])


def test_an_elite_that_goes_on_keeps_its_birth_number():
    evolution = nm.evosax("GESMR_GA", POLICY, lambda key, genome: score(KEY, genome), N, num_groups=11)
    state = jax.jit(evolution.init)(KEY)
    step = jax.jit(evolution.step)
    state, generation = step(KEY, state)
    best = int(np.argmax(generation.fitness))
    assert int(state.births[0]) == best and len(set(np.asarray(state.births).tolist())) == N


def test_settings_may_be_traced():
    """A sweep over step sizes in one program; with steps of 0 all members are the same."""

    def spread(std):
        evolution = nm.evosax("SNES", POLICY, score, N, std_init=std)
        return nm.run(evolution, KEY, 1)[1].metrics["fitness_std"]

    found = jax.jit(jax.vmap(spread))(jnp.array([1e-6, 0.1, 1.0]))
    assert found[0] < 1e-4 < found[1] < found[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "CMAES"}, "algorithm must be one of .*, got 'CMAES'; did you mean CMA_ES"),
        ({"algorithm": "SNES", "std": 0.1}, "SNES of evosax has no setting 'std': it has .*std_init"),
        (
            {"algorithm": "Open_ES", "population_size": 7},
            "Open_ES of evosax refuses its settings .population_size 7.*even",
        ),
        ({"algorithm": "GESMR_GA", "num_groups": 4}, "GESMR_GA of evosax refuses"),
        (
            {"algorithm": "SV_Open_ES", "population_size": 9},
            "population_size must be a multiple of num_populations = 2",
        ),
        ({"algorithm": "SNES", "population_size": 1}, "population_size must be a whole number of at least 2, got 1"),
        ({"algorithm": "SNES", "elite_ratio": 0.0}, r"elite_ratio must lie in \(0, 1\], got 0.0"),
        ({"algorithm": "Open_ES", "optimizer": -1.0}, "optimizer must be a finite number of at least 0, got -1.0"),
        ({"algorithm": "SNES", "policy": nm.networks.flexible_mlp(2, 1)}, "policy must have a fixed topology"),
        ({"algorithm": "SNES", "block_size": "some"}, "block_size must be 'auto', None or a whole number"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, message):
    arguments = {"policy": POLICY, "fitness": score} | arguments
    with pytest.raises(ValueError, match=message):
        nm.evosax(**arguments)


def test_an_evolution_behind_the_interface_of_evosax():
    evolution = nm.evolution(POLICY, nm.mutators.gaussian(0.2), population_size=N)
    algorithm = nm.population.AsEvosax(evolution)
    assert (algorithm.population_size, algorithm.num_dims) == (N, POLICY.num_params)
    state, plain = algorithm.init(KEY, jnp.zeros(POLICY.num_params), algorithm.default_params), evolution.init(KEY)
    evaluate = jax.jit(jax.vmap(lambda x: jnp.sum((x - 0.5) ** 2)))
    tell, best = jax.jit(algorithm.tell), []
    for t in range(30):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(KEY, t))
        population, state = algorithm.ask(key_ask, state, algorithm.default_params)
        state, metrics = tell(key_tell, population, evaluate(population), state)
        best.append(metrics["fitness_best"])
        if t == 0:
            plain, _ = jax.jit(evolution.tell)(key_tell, plain, -evaluate(plain.population.policy))
            np.testing.assert_array_equal(plain.population.policy, state.population.policy)
    assert best[-1] > best[0] / 2


def test_evosax_wants_a_fitness_to_step():
    evolution = nm.evosax("SNES", POLICY)
    with pytest.raises(ValueError, match="fitness is None: use ask and tell"):
        jax.eval_shape(evolution.step, KEY, jax.eval_shape(partial(evolution.init, KEY)))
