"""A hall of fame against its story in plain Python, and against the luck that it is there to see through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm

KEY = jax.random.key(0)
N, K = 8, 3
NOISE = 0.5


def true_value(genome):
    return -jnp.sum((genome.policy - 0.5) ** 2, axis=-1)


def noisy(key, genome):
    return true_value(genome) + NOISE * jax.random.normal(key)


def population(fitness, size=N, std=0.1, **options):
    policy = nm.networks.mlp(1, 1, hidden=())
    options = {"elites": 2, "species": nm.speciation.none(), "common_random_numbers": False} | options
    return nm.evolution(policy, nm.mutators.gaussian(std), fitness, population_size=size, **options)


@pytest.fixture(scope="module")
def exact():
    """A hall around a fitness without noise, generation by generation: [(before, after, info)]."""
    fitness = lambda key, genome: true_value(genome)  # noqa: E731
    hall = nm.hall_of_fame(population(fitness), fitness, size=K)
    state, step, story = jax.jit(hall.init)(KEY), jax.jit(hall.step), []
    for t in range(12):
        new, info = step(jax.random.fold_in(KEY, t), state)
        story.append((state, new, info))
        state = new
    return story


def test_the_hall_follows_its_story(exact):
    """Every member once more each generation; then the worst makes room for the best who is not known yet."""
    members = [np.asarray(exact[0][0].population.policy[0])] * K
    total, count = np.zeros(K), np.zeros(K)
    entered = 0
    for before, after, info in exact:
        total += [float(true_value(nm.Genome(m, *[None] * 4))) for m in members]
        count += 1
        mean = total.sum() / count.sum()
        estimates = (total + 4 * mean) / (count + 4)  # 4 evaluations' worth of belief in the mean of the hall
        np.testing.assert_allclose(info.metrics["champion_fitness"], estimates.max(), rtol=1e-4)
        known = [any(np.array_equal(x, m) for m in members) for x in np.asarray(before.population.policy)]
        if not all(known):
            best = int(np.argmax(np.where(known, -np.inf, info.fitness)))
            worst = min(range(K), key=lambda k: (np.round(estimates[k], 5), count[k]))
            members[worst], total[worst], count[worst] = np.asarray(before.population.policy[best]), 0, 0
            entered += 1
        np.testing.assert_array_equal(after.members.policy, np.stack(members))
        np.testing.assert_allclose(after.total, total, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(after.evaluations, count)
        mean = total.sum() / max(count.sum(), 1)
        want = np.where(count > 0, (total + 4 * mean) / (count + 4), -np.inf)
        np.testing.assert_allclose(after.estimates, want, rtol=1e-4)
        assert float(after.champion_fitness) == float(after.estimates.max())
    assert entered > 3


def test_the_evolution_within_goes_its_own_way(exact):
    """A hall changes nothing about what is evolved."""
    evolution = population(lambda key, genome: true_value(genome))
    step, state = jax.jit(evolution.step), exact[0][0].evolution
    state, generation = step(jax.random.split(jax.random.fold_in(KEY, 0))[0], state)
    np.testing.assert_array_equal(state.population.policy, exact[0][1].evolution.population.policy)
    np.testing.assert_array_equal(generation.parents, exact[0][2].parents)
    assert exact[-1][1].population is exact[-1][1].evolution.population


@pytest.fixture(scope="module")
def lives():
    """256 runs on a noisy fitness: what the two champions are worth, and what is said of them."""
    hall = nm.hall_of_fame(population(noisy, 16, std=0.4), noisy)  # children differ by as much as the noise

    def life(key):
        state, _ = nm.run(hall, key, 20)
        lucky, honest = state.evolution.champion, state.champion
        return true_value(lucky), state.evolution.champion_fitness, true_value(honest), state.champion_fitness

    return [np.asarray(x, np.float64) for x in jax.jit(jax.vmap(life))(jax.random.split(KEY, 256))]


def test_the_halls_champion_is_better_than_the_luckiest(lives):
    lucky, _, honest, _ = lives
    difference = honest - lucky
    assert difference.mean() > 3 * difference.std() / 16  # standard error over 256 seeds
    assert np.mean(difference >= 0) > 0.6


def test_the_halls_estimate_boasts_far_less(lives):
    """The best of K estimates still flatters (by 0.22 here, measured), but by a small part of what luck does (1.31)."""
    lucky, said_of_lucky, honest, said_of_honest = lives
    boast = np.mean(said_of_lucky - lucky)
    assert boast > 1.5 * NOISE  # the best of some 300 draws
    assert abs(np.mean(said_of_honest - honest)) < 0.25 * boast


def test_tell_keeps_the_best_it_was_told_of():
    hall = nm.hall_of_fame(population(None), lambda key, genome: true_value(genome), size=K)
    state = jax.jit(hall.init)(KEY)
    values = jnp.arange(N, dtype=jnp.float32).at[7].set(jnp.nan)
    asked = hall.ask(KEY, state)
    after, generation = jax.jit(hall.tell)(KEY, state, values)
    assert np.sum(np.all(np.asarray(after.members.policy) == asked.policy[6], axis=1)) == 1
    assert generation.parents.shape == (N, 2) and int(generation.metrics["non_finite"]) == 1


def test_a_member_that_breaks_is_worth_nothing():
    """A champion whose re-evaluation is not finite loses its place and poisons no estimate."""
    fitness = lambda key, genome: jnp.where(genome.policy[0] > 0, jnp.nan, true_value(genome))  # noqa: E731
    hall = nm.hall_of_fame(population(None), fitness, size=K)
    state, tell = jax.jit(hall.init)(KEY), jax.jit(hall.tell)
    policies = jnp.stack([jnp.linspace(-1, 1, N), jnp.zeros(N)], axis=1)
    for t, best in enumerate((7, 0, 6, 1)):  # 7 and 6 break when they are evaluated again
        inner = state.evolution._replace(population=state.population._replace(policy=policies))
        state, _ = tell(jax.random.key(t), state._replace(evolution=inner), jnp.zeros(N).at[best].set(1.0))
    state, generation = tell(KEY, state, jnp.zeros(N))
    sound = np.isfinite(np.asarray(state.estimates))
    assert np.all(np.asarray(state.members.policy)[sound, 0] <= 0) and sound.any()
    assert float(state.champion.policy[0]) < 0 and np.isfinite(state.champion_fitness)
    assert np.isfinite(generation.metrics["champion_fitness"])


@pytest.mark.parametrize("size", [1, 0, -1])
def test_errors_name_the_field_and_the_value(size):
    with pytest.raises(ValueError, match=f"hall size must.*{size}"):
        nm.hall_of_fame(population(noisy), noisy, size=size)
