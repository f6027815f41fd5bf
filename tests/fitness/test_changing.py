"""Fitness functions that change, against loops by hand over the generations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.core import evaluate, fitness_at

KEY = jax.random.key(2)
POLICY = nm.networks.mlp(2, 1, hidden=())


def near(target):
    return lambda key, genome: (-jnp.sum((genome.policy - target) ** 2), {"calls": 1})


def population(n=6):
    evolution = nm.evolution(POLICY, nm.mutators.gaussian(0.3), near(0.0), population_size=n)
    return evolution.init(KEY).population


@pytest.mark.parametrize(("generation", "which"), [(0, 0), (2, 0), (3, 1), (6, 1), (7, 2), (8, 2), (9, 0), (100, 0)])
def test_switching_goes_round_from_one_fitness_to_the_next(generation, which):
    fitness = nm.fitness.switching([near(0.0), near(1.0), near(2.0)], at=[3, 7, 9])
    members = population()
    found, info = jax.jit(lambda g: evaluate(fitness_at(fitness, g), KEY, members))(jnp.int32(generation))
    np.testing.assert_allclose(found, -jnp.sum((members.policy - which) ** 2, axis=1), rtol=1e-6)
    assert info["calls"] == 6


def test_only_the_fitness_whose_turn_it_is_is_computed():
    calls = []

    def slow(key, genome):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.float32(0), {"calls": 1}

    fitness = nm.fitness.switching([near(0.0), slow], at=[2])
    score = jax.jit(lambda g: evaluate(fitness_at(fitness, g), KEY, population()))
    score(jnp.int32(1))[0].block_until_ready()
    jax.effects_barrier()
    assert not calls
    score(jnp.int32(2))[0].block_until_ready()
    jax.effects_barrier()
    assert calls


WRAPPERS = {
    "itself": lambda fitness: fitness,
    "combined": lambda fitness: nm.fitness.combine([fitness, near(0.0)], [1.0, 0.0]),
    "in a hall": lambda fitness: fitness,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_run_sees_the_fitness_of_its_generation(wrapper):
    """The best fitness falls at each change, and comes back."""
    schedule = nm.fitness.steps([0.0, 3.0], at=[15])
    fitness = WRAPPERS[wrapper](nm.fitness.changing(near, schedule))
    evolution = nm.evolution(POLICY, nm.mutators.gaussian(0.5), fitness, population_size=20)
    if wrapper == "in a hall":
        evolution = nm.hall_of_fame(evolution, fitness, size=3, forgetting=0.3)
    _, history = nm.run(evolution, KEY, 45)
    best = history.metrics["fitness_best"]
    assert best[14] > -1 and best[15] < -10 and best[44] > -1
    if wrapper == "in a hall":
        champion = history.metrics["champion_fitness"]
        assert champion[14] > -2 and champion[15] < -3 and champion[44] > -2


def test_the_seeds_of_a_vmap_may_stand_in_different_generations():
    fitness = nm.fitness.switching([near(0.0), near(1.0)], at=[4])
    members = population()
    both = jax.vmap(lambda g: evaluate(fitness_at(fitness, g), KEY, members)[0])(jnp.array([0, 4]))
    for i, target in enumerate((0.0, 1.0)):
        np.testing.assert_allclose(both[i], -jnp.sum((members.policy - target) ** 2, axis=1), rtol=1e-6)


def test_functions_of_other_infos_are_refused():
    fitness = nm.fitness.switching([near(0.0), lambda key, genome: jnp.float32(0)], at=[4])
    with pytest.raises(ValueError, match=r"infos of the same names, got .*calls"):
        evaluate(fitness_at(fitness, jnp.int32(4)), KEY, population())


def test_steps_is_a_table():
    schedule = nm.fitness.steps([[0, 1], [1, 0], [0, 1]], at=[2, 5])
    assert [schedule(t).tolist() for t in (0, 1, 2, 4, 5, 9)] == [[0, 1], [0, 1], [1, 0], [1, 0], [0, 1], [0, 1]]


def test_swapped_actions_make_the_balancer_fall():
    """CartPole-Switch: the same policies, whose two outputs mean the other action."""
    policy = nm.networks.mlp(4, 2, hidden=())
    plain = nm.fitness.episodes("CartPole-v1", policy, episodes=3, max_steps=100)

    def task(order):
        return nm.fitness.episodes("CartPole-v1", nm.networks.permuted(policy, order), episodes=3, max_steps=100)

    fitness = nm.fitness.changing(task, nm.fitness.steps([[0, 1], [1, 0]], at=[1]))
    # Bias of two, then kernel 4 x 2: pushes to where the pole leans.
    balancer = jnp.zeros(policy.num_params).at[2:].set(jnp.array([0, 0, 0, 1, 0, 5, 0, 2], jnp.float32))
    genomes = jax.tree.map(lambda x: x[:1], population())._replace(policy=balancer[None])
    values = [
        evaluate(f, KEY, genomes)[0][0]
        for f in (plain, fitness_at(fitness, jnp.int32(0)), fitness_at(fitness, jnp.int32(1)))
    ]
    assert values[0] == values[1] == 100 and values[2] < 30


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nm.fitness.switching([near(0.0)], at=[1]), "functions must be at least two, got 1"),
        (lambda: nm.fitness.switching([near(0.0)] * 2, at=[]), "at must name at least one generation"),
        (lambda: nm.fitness.switching([near(0.0)] * 2, at=[5, 5]), "at must be a whole number of at least 6, got 5"),
        (lambda: nm.fitness.steps([1, 2], at=[3, 4]), "values must be one more than changes, got 2 values and 2"),
        (lambda: nm.fitness.changing(near, 3), "schedule must be a function, got 3"),
        (lambda: nm.networks.permuted(POLICY, [1, 1]), r"order must be a permutation of 0 to 1, got \[1, 1\]"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
