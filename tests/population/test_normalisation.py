import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.core import evaluate, rollout
from neuralmutator.core.genome import take
from neuralmutator.population.normalisation import Moments, merge, moments_of

KEY = jax.random.key(0)
OBS = 3
POLICY = nm.networks.normalised(nm.networks.mlp(OBS, 1, (4,)), OBS)


def seen(key, genome):
    """50 observations far from standard ones, different for every member."""
    x = jnp.array([100.0, -3.0, 0.5]) + jnp.array([2.0, 0.1, 0.0]) * jax.random.normal(key, (50, OBS))
    return x + genome.policy[0]


def fitness(key, genome):
    x = seen(key, genome)
    info = {"observation_count": jnp.float32(50), "observation_sum": x.sum(0), "observation_square": (x**2).sum(0)}
    return jnp.mean(jax.vmap(POLICY.apply, (None, 0))(genome.policy, x)), info


def plain():
    return nm.evolution(
        POLICY,
        nm.mutators.gaussian(0.1),
        fitness,
        population_size=6,
        elites=2,
        species=nm.speciation.none(),
        crossover_rate=0.0,
    )


def normalised():
    return nm.normalise_observations(plain(), POLICY)


def ends(policies):
    return policies[..., -2 * OBS : -OBS], policies[..., -OBS:]


def test_merged_moments_are_those_of_all_observations():
    x = np.random.default_rng(0).normal(5, 2, (70, OBS))
    merged = Moments(jnp.float32(0), jnp.zeros(OBS), jnp.zeros(OBS))
    for part in np.split(x, [0, 1, 30, 30]):
        merged = merge(merged, moments_of(jnp.float32(len(part)), part.sum(0), (part**2).sum(0)))
    assert merged.number == 70
    np.testing.assert_allclose(merged.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(merged.std, x.std(0), rtol=1e-4)


def test_sums_that_are_not_finite_count_as_nothing():
    empty = moments_of(jnp.float32(9), jnp.array([1.0, jnp.nan]), jnp.array([1.0, jnp.inf]))
    assert all(np.all(x == 0) for x in empty)
    np.testing.assert_array_equal(empty.std, 1)


def test_members_carry_the_moments_of_all_that_was_seen():
    evolution = normalised()
    state, everything = evolution.init(KEY), []
    for mean, std in [ends(state.population.policy)]:
        np.testing.assert_array_equal(mean, 0)
        np.testing.assert_array_equal(std, 1)
    step = jax.jit(evolution.step)
    for t in range(3):
        key = jax.random.fold_in(KEY, t)
        key_evaluate, _ = jax.random.split(key)
        everything += [np.asarray(seen(key_evaluate, take(state.population, i)), np.float64) for i in range(6)]
        state, generation = step(key, state)
        assert not [name for name in generation.metrics if name.startswith("observation")]
        x = np.concatenate(everything)
        for mean, std in [ends(state.population.policy)]:
            np.testing.assert_allclose(mean, np.broadcast_to(x.mean(0), (6, OBS)), rtol=1e-4)
            np.testing.assert_allclose(std[:, :2], np.broadcast_to(x.std(0)[:2], (6, 2)), rtol=0.02)
            assert len(np.unique(std, axis=0)) == 1 and np.all(std > 0)


@pytest.mark.parametrize("hall", [False, True])
def test_the_champion_carries_what_it_was_evaluated_with(hall):
    """A later generation has other moments; its own are those of the generation that it was evaluated in."""
    evolution = nm.hall_of_fame(normalised(), fitness, 3) if hall else normalised()
    state, met, step = evolution.init(KEY), [], jax.jit(evolution.step)
    for t in range(4):
        met.append(state.population.policy)
        state, _ = step(jax.random.fold_in(KEY, t), state)
    champion, _ = evolution.best(state)
    assert any(np.any(np.all(champion.policy == policies, axis=1)) for policies in met)


def test_what_is_told_is_what_is_stepped():
    evolution = normalised()
    state = evolution.init(KEY)
    key_evaluate, key_tell = jax.random.split(KEY)
    values, info = evaluate(fitness, key_evaluate, evolution.ask(KEY, state))
    told, _ = jax.jit(evolution.tell)(key_tell, state, values, info)
    stepped, _ = jax.jit(evolution.step)(KEY, state)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5), told, stepped)


@pytest.mark.slow
def test_a_cut_run_goes_on_and_seeds_can_be_vmapped():
    evolution = normalised()
    run = jax.jit(lambda key, state, start: rollout(evolution.step, key, state, 2, start)[0])
    whole = jax.jit(lambda key, state: rollout(evolution.step, key, state, 4)[0])
    first = evolution.init(KEY)
    want, got = whole(KEY, first), run(KEY, run(KEY, first, 0), 2)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    keys = jax.random.split(KEY, 2)
    both = jax.jit(jax.vmap(lambda key: nm.run(evolution, key, 3)[0]))(keys)
    one = nm.run(evolution, keys[1], 3)[0]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1], y, rtol=1e-3, atol=1e-3), both, one)


def test_what_cannot_be_normalised_is_refused():
    with pytest.raises(ValueError, match=r"policy must be made by networks\.normalised"):
        nm.normalise_observations(plain(), nm.networks.mlp(OBS, 1))
    evolution = normalised()
    with pytest.raises(ValueError, match="fitness must report observation_count, observation_sum, observation_square"):
        evolution.tell(KEY, evolution.init(KEY), jnp.zeros(6))


def test_episodes_of_a_normalised_policy_evolve():
    policy = nm.networks.normalised(nm.networks.mlp(4, 2, (4,)), 4)
    score = nm.fitness.episodes("CartPole-v1", policy, episodes=2, max_steps=50)
    evolution = nm.evolution(policy, nm.mutators.gaussian(0.1), score, population_size=8, species=nm.speciation.none())
    state, history = nm.run(nm.normalise_observations(evolution, policy), KEY, 3)
    assert state.moments.number == history.metrics["env_steps"].sum()
    assert np.all(state.moments.std > 0) and "observation_sum" not in history.metrics
