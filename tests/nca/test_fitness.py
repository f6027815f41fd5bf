import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import nca
from neuralmutator.nca import patterns, textures

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


@pytest.mark.slow
def test_what_a_texture_is_worth():
    target, automaton = jnp.asarray(patterns.stripes(56)), nca.micro(4)
    fitness = jax.jit(nca.texture_fitness(automaton, target, (40, 40), 3, shock=2.5, calms=4))
    params = 0.02 * jax.random.normal(jax.random.key(0), (68,))
    genome = nm.Genome(params, *(jnp.zeros(0) for _ in range(2)), jnp.zeros(0, jnp.int32), jnp.float32(0))
    key_paint, key_loss = jax.random.split(jax.random.key(1))
    key_start, key_run = jax.random.split(key_paint)
    cells, update, total = automaton.start(key_start, (40, 40)), jax.jit(automaton.update), 0.0
    loss = textures.loss(target)
    for t in range(7):
        cells = update(jax.random.fold_in(key_run, t), params, cells if t != 3 else 2.5 * cells)
        beyond = np.abs(np.asarray(cells) - np.clip(cells, -1, 1))
        if t in (2, 6):
            total += float(loss(key_loss, cells[..., :3] + 0.5)) / 2
        if t == 2:
            total += np.mean(beyond**2)
    assert np.max(beyond) > 0.1  # it has not calmed down, which counts
    assert float(fitness(jax.random.key(1), genome)) == pytest.approx(-total - np.max(beyond) ** 2, rel=1e-3)


@pytest.mark.slow
def test_a_population_of_painters_is_worth_what_its_members_are():
    automaton = nca.micro(4)
    target = jnp.asarray(patterns.dots(56))
    fitness = nca.texture_fitness(automaton, target, (40, 40), 3, calms=4, projections=4, samples=64)
    policies = 0.01 * jax.random.normal(jax.random.key(0), (3, 68))
    nothing = jnp.zeros((3, 0))
    population = nm.Genome(policies, nothing, nothing, nothing.astype(jnp.int32), jnp.zeros(3))
    keys, one = jax.random.split(jax.random.key(1), 3), jax.jit(fitness)
    values, info = jax.jit(fitness.many, static_argnums=2)(keys, population, 2)
    expected = [one(key, jax.tree.map(lambda x, i=i: x[i], population)) for i, key in enumerate(keys)]
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    assert len(set(map(float, values))) == 3 and info == {}
    same, _ = jax.jit(fitness.many, static_argnums=2)(keys[0], population, None)
    assert float(same[0]) == pytest.approx(float(values[0]), rel=1e-4) and not np.isclose(same[1], values[1])


def test_what_explodes_has_a_finite_fitness():
    automaton = nca.micro(4)
    fitness = jax.jit(nca.texture_fitness(automaton, jnp.asarray(patterns.dots(56)), (40, 40), 30, calms=5))
    genome = nm.Genome(jnp.full(68, 0.5), *(jnp.zeros(0) for _ in range(2)), jnp.zeros(0, jnp.int32), jnp.float32(0))
    assert -1e5 < float(fitness(jax.random.key(0), genome)) < -100
    with pytest.raises(ValueError, match=r"calms must be .* at least 1, got 0"):
        nca.texture_fitness(automaton, jnp.zeros((56, 56, 3)), calms=0)
