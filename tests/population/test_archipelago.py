"""Islands: what each does alone it does beside others, and what migrates is the best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.population import archipelago

KEY = jax.random.key(9)
POLICY = nm.networks.mlp(2, 1, hidden=())
ISLANDS, MEMBERS = 3, 6


def exact(key, genome):
    return -jnp.sum((genome.policy - 0.5) ** 2)


def island(std=0.1):
    return nm.evolution(POLICY, nm.mutators.gaussian(std), exact, population_size=MEMBERS, elites=1)


def build(**options):
    return nm.islands(island(), exact, ISLANDS, **{"migrate_every": 1, "migrants": 2} | options)


def policies(state):
    return np.asarray(state.population.policy).reshape(ISLANDS, MEMBERS, -1)


def test_without_migration_islands_are_evolutions_of_their_own():
    many, one = build(migrate_every=0), island()
    state = jax.jit(many.init)(KEY)
    alone = [jax.jit(one.init)(key) for key in jax.random.split(KEY, ISLANDS)]
    step, tell = jax.jit(many.step), jax.jit(one.tell)
    for t in range(2):
        key = jax.random.key(t)
        keys = jax.random.split(jax.random.split(jax.random.split(key)[1])[0], ISLANDS)
        fitness = [jax.vmap(lambda genome: exact(None, genome))(x.population) for x in alone]
        told = [tell(k, x, f) for k, x, f in zip(keys, alone, fitness, strict=True)]
        alone = [x for x, _ in told]
        state, seen = step(key, state)
        np.testing.assert_allclose(policies(state), np.stack([x.population.policy for x in alone]), rtol=1e-5)
        rows = [np.asarray(g.parents) + i * MEMBERS for i, (_, g) in enumerate(told)]
        np.testing.assert_array_equal(seen.parents, np.concatenate(rows))
        np.testing.assert_allclose(
            seen.metrics["island_fitness_best"], [g.metrics["fitness_best"] for _, g in told], rtol=1e-5
        )
    assert seen.metrics["fitness_best"] == seen.metrics["island_fitness_best"].max()


@pytest.mark.parametrize("topology", [pytest.param("ring", marks=pytest.mark.slow), "random"])
def test_migrants_are_the_best_and_arrive_in_the_place_of_children(topology):
    evolution, alone = build(topology=topology), build(migrate_every=0)
    state = jax.jit(evolution.init)(KEY)
    step = jax.jit(evolution.step)
    shifts = set()
    for t in range(6):
        old = policies(state)
        fitness = -np.sum((old - 0.5) ** 2, axis=2)
        stayed = policies(jax.jit(alone.step)(jax.random.key(t), state)[0])
        state, seen = step(jax.random.key(t), state)
        new, parents = policies(state), np.asarray(seen.parents).reshape(ISLANDS, MEMBERS, 2)
        np.testing.assert_array_equal(new[:, :4], stayed[:, :4])
        best = np.argsort(-fitness, axis=1)[:, :2]
        sent = {(parents[i, 4, 0] // MEMBERS - i) % ISLANDS for i in range(ISLANDS)}
        assert len(sent) == 1
        (distance,) = sent
        shifts.add(int(distance))
        for i in range(ISLANDS):
            source = (i + distance) % ISLANDS
            np.testing.assert_array_equal(new[i, 4:], old[source, best[source]])
            np.testing.assert_array_equal(parents[i, 4:], np.repeat(best[source][:, None], 2, 1) + source * MEMBERS)
    assert shifts == ({2} if topology == "ring" else {1, 2})  # from the island before, or from any other


def test_a_migration_comes_when_it_is_due():
    evolution = build(migrate_every=3)
    _, history = nm.rollout(evolution.step, KEY, evolution.init(KEY), 7)
    own = np.arange(ISLANDS * MEMBERS) // MEMBERS
    foreign = (np.asarray(history.parents[..., 0]) // MEMBERS != own).any(axis=1)
    np.testing.assert_array_equal(foreign, [False, False, True, False, False, True, False])


def test_elites_make_no_room_and_what_is_not_finite_does_not_travel():
    greedy = nm.islands(
        nm.evolution(POLICY, nm.mutators.gaussian(0.1), population_size=4, elites=3),
        None,
        2,
        migrate_every=1,
        migrants=3,
    )
    state = greedy.init(KEY)
    fitness = jnp.array([jnp.nan] * 4 + [0.0, 1.0, 2.0, 3.0])
    new, seen = jax.jit(greedy.tell)(KEY, state, fitness)
    births, before = np.asarray(new.births), np.asarray(state.births)
    assert np.isin(births, before).tolist() == [True, True, True, False] * 2
    parents = np.asarray(seen.parents)[:, 0] // 4
    # Of the first island nothing is finite: nothing leaves it. The second's third best goes where a child was.
    assert parents.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(new.population.policy[3], state.population.policy[5])


def test_settings_differ_between_islands():
    stds = jnp.array([0.0, 0.1, 10.0])
    evolution = nm.islands(island, exact, settings=stds, migrate_every=0)
    state = evolution.init(KEY)
    before = policies(state)
    state, seen = jax.jit(evolution.step)(KEY, state)
    parents = np.asarray(seen.parents).reshape(ISLANDS, MEMBERS, 2)[:, 1:] % MEMBERS
    start = np.stack([before[i][parents[i]].mean(axis=1) for i in range(ISLANDS)])
    moved = np.sqrt(np.mean((policies(state)[:, 1:] - start) ** 2, axis=(1, 2)))
    assert moved[0] < 1e-6 and 0.02 < moved[1] < 0.3 and 2 < moved[2] < 30


def test_the_champion_is_the_best_of_all_islands_and_migration_spreads_it():
    stds = jnp.array([0.0, 0.0, 0.3])  # two islands that find nothing by themselves
    together = nm.islands(island, exact, settings=stds, migrate_every=2)
    state, history = nm.run(together, KEY, 25)
    champion, value = together.best(state)
    np.testing.assert_allclose(value, exact(None, champion), rtol=1e-5)
    np.testing.assert_allclose(value, history.metrics["fitness_best"].max(), rtol=1e-5)
    means = history.metrics["island_fitness_mean"]
    assert means[-1, :2].min() > means[0].max() + 0.1


def test_observations_of_all_islands_are_normalised_together():
    policy = nm.networks.normalised(POLICY, 2)

    def fitness(key, genome):
        seen = genome.policy[:2]
        return 0.0, {"observation_count": 1.0, "observation_sum": seen, "observation_square": seen**2}

    inner = nm.evolution(policy, nm.mutators.gaussian(0.1), population_size=MEMBERS)
    evolution = nm.population.normalise_observations(nm.islands(inner, fitness, 2), policy)
    first = evolution.init(KEY)
    state, _ = jax.jit(evolution.step)(KEY, first)
    seen = np.asarray(first.population.policy[:, :2])
    ends = np.concatenate([seen.mean(0), seen.std(0)])
    np.testing.assert_allclose(state.population.policy[:, -4:], np.tile(ends, (2 * MEMBERS, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nm.islands(island(), exact), "number must be given, or settings"),
        (lambda: nm.islands(island(), exact, 1), "number must be a whole number of at least 2, got 1"),
        (lambda: nm.islands(island, exact, 3), "evolution must be an Evolution, or settings be given"),
        (lambda: nm.islands(island(), exact, settings=jnp.ones(2)), "evolution must be a function of a setting"),
        (lambda: nm.islands(island, exact, settings=jnp.ones(1)), "settings must be arrays with a leading axis"),
        (lambda: nm.islands(island, exact, settings=0.1), "settings must be arrays with a leading axis"),
        (lambda: nm.islands(island, exact, 3, settings=jnp.ones(2)), "number must be the length of the settings, 2"),
        (lambda: build(migrants=6), "migrants must be fewer than the 6 members of an island, got 6"),
        (lambda: build(migrants=0), "migrants must be a whole number of at least 1, got 0"),
        (lambda: build(migrate_every=-1), "migrate_every must be a whole number of at least 0, got -1"),
        (lambda: build(topology="star"), "topology must be 'ring' or 'random', got 'star'"),
        (lambda: build(block_size=0), "block_size must be"),
        (lambda: nm.islands(nm.track_founders(island()), exact, 2), "evolution must not be wrapped: wrap the islands"),
        (
            lambda: nm.islands(island(), None, 2).step(KEY, nm.islands(island(), None, 2).init(KEY)),
            "fitness is None: use ask and tell, or give islands a fitness",
        ),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_state_says_where_its_populations_are():
    state = build().init(KEY)
    assert isinstance(state, archipelago.Islands) and state.population.policy.shape == (ISLANDS * MEMBERS, 3)
    moved = state.with_population(jax.tree.map(lambda x: x + 1, state.population))
    np.testing.assert_array_equal(moved.population.policy, np.asarray(state.population.policy) + 1)
    assert len(np.unique(state.births)) == ISLANDS * MEMBERS and int(state.generation) == 0
