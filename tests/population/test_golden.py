"""Runs of the program as it was before the generation was taken apart (commit e35ce62): seeds keep their numbers.

The numbers were written by that commit's own code. Parents are compared exactly, by their checksum; sums of floating
numbers to five digits, since another processor rounds otherwise.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neuralmutator as nm

GOLDEN = {  # checksum of all parents, mean fitness per generation, norms of the last population, what the best is worth
    "cartpole": (
        2177380724,
        [10.2188, 11.25, 15.625, 23.9375, 26.25],
        [17.2978, 27.9648, 32.3456],
        58.5,
    ),
    "gaussian": (
        3874997176,
        [10.5, 17.875, 23.9583, 30.7083, 34.1667],
        [8.54779, 0.0, 0.0],
        60.0,
    ),
    "self_adaptive": (
        2460654857,
        [-0.165998, -0.143715, -0.148762, -0.166261, -0.146877],
        [7.36275, 2.49505, 53.7244],
        -0.100545,
    ),
    "corrector": (
        3850349722,
        [-0.114269, -0.105627, -0.11652, -0.114517],
        [8.90938, 22.1291, 14.8657],
        -0.103392,
    ),
    "hall": (
        3837159012,
        [11.6786, 14.2143, 22.6429, 24.8571, 27.7143, 40.0],
        [13.5196, 18.6401, 32.013],
        44.5952,
    ),
    "bound": (
        1333477088,
        [-0.165201, -3.24407, -4.16617, -4.0653],
        [56.0545, 0.0, 0.0],
        -0.140005,
    ),
}
FLEXIBLE = nm.networks.flexible_mlp(4, 2, max_layers=2, max_width=16, initial_widths=(8, 12, 16))
FIXED = nm.networks.mlp(4, 2, (8,))


def cartpole(policy):
    return nm.fitness.episodes("CartPole-v1", policy, episodes=2, max_steps=60)


def sphere(key, genome):
    return -jnp.mean((genome.policy - 0.3) ** 2) + 0.01 * jax.random.normal(key), {"steps": 3}


def build(name):
    """The settings whose runs were recorded."""
    m, species, options = nm.mutators, nm.speciation, {"crossover_rate": 0.3, "limit": 5.0}
    if name == "cartpole":
        return nm.evolution(
            FLEXIBLE,
            m.dual_mixture(),
            cartpole(FLEXIBLE),
            population_size=16,
            elites=3,
            structural_rate=0.5,
            decay=optax.linear_schedule(1.0, 0.03, 5),
            species=species.learned(),
            **options,
        )
    if name == "gaussian":
        return nm.evolution(FIXED, m.gaussian(0.1), cartpole(FIXED), population_size=12, elites=2, **options)
    if name == "self_adaptive":
        return nm.evolution(
            FIXED,
            m.self_adaptive(0.1),
            sphere,
            population_size=13,
            elites=0,
            common_random_numbers=False,
            block_size=5,
            complexity_cost=0.001,
            species=species.learned(target_species=4, warm_start_steps=20),
            select=nm.selection.truncation(0.4),
            **options,
        )
    if name == "corrector":
        return nm.evolution(
            FLEXIBLE,
            m.dual_corrector(positive=False),
            sphere,
            population_size=10,
            elites=1,
            block_size=None,
            species=species.learned(sharing=species.share_fitness, warm_start_steps=0),
            limit=5.0,
        )
    if name == "hall":
        options |= {"species": species.learned(), "common_random_numbers": False}
        inner = nm.evolution(FIXED, m.dual_mixture(), cartpole(FIXED), population_size=14, elites=2, **options)
        return nm.hall_of_fame(nm.track_founders(inner), cartpole(FIXED), size=4)
    options |= {"crossover_rate": 0.5, "decay": lambda generation: 0.5}
    return nm.evolution(FIXED, m.gaussian(4.0), sphere, population_size=12, elites=2, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_an_old_seed_keeps_its_numbers(name):
    parents, fitness, norms, best = GOLDEN[name]
    evolution = build(name)
    state, history = nm.run(evolution, jax.random.key(7), len(fitness))
    np.testing.assert_allclose(history.fitness.mean(axis=1), fitness, rtol=2e-5)
    assert zlib.crc32(np.asarray(history.parents, "<i4").tobytes()) == parents
    population = state.population
    for field, norm in zip((population.policy, population.mutator, population.compat), norms, strict=True):
        np.testing.assert_allclose(np.linalg.norm(np.asarray(field, np.float64)), norm, rtol=2e-5)
    np.testing.assert_allclose(evolution.best(state)[1], best, rtol=2e-5)
