import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import nca

AUTOMATON = nca.growing(channels=5, hidden=6)
TARGET = jnp.zeros((8, 8, 4)).at[2:6, 2:6].set(jnp.array([0.8, 0.2, 0.0, 1.0]))


def test_it_is_minus_the_loss_of_what_grows():
    params, key = AUTOMATON.init(jax.random.key(0)) + 0.05, jax.random.key(3)
    genome = nm.Genome(params, *(jnp.zeros(0) for _ in range(2)), jnp.zeros(0, jnp.int32), jnp.float32(0))
    update, losses = jax.jit(AUTOMATON.update), []
    for trial in jax.random.split(key, 2):
        grid = nca.seed_grid((8, 8), 5)
        for t in range(9):
            grid = update(jax.random.fold_in(trial, t), params, grid)
        losses.append(np.mean((np.asarray(grid[..., :4]) - np.asarray(TARGET)) ** 2))
    assert losses[0] != losses[1]
    fitness = jax.jit(nca.growth_fitness(AUTOMATON, TARGET, 9, trials=2))(key, genome)
    assert float(fitness) == pytest.approx(-float(np.mean(losses)), rel=1e-4)
    with pytest.raises(ValueError, match=r"steps must be .* got 0"):
        nca.growth_fitness(AUTOMATON, TARGET, 0)


def test_the_neural_mutator_evolves_automata_as_they_are():
    evolution = nm.evolution(
        nca.automaton_network(AUTOMATON),
        nm.mutators.gaussian(0.05),
        nca.growth_fitness(AUTOMATON, TARGET, 8),
        population_size=32,
    )
    _, history = nm.run(evolution, jax.random.key(0), 15)
    best = np.asarray(history.fitness).max(axis=1)
    assert best[-1] > best[0] + 0.005
