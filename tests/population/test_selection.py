import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import selection

N = 10


def many(select, fitness, keys=4000):
    """Parents [keys, N, 2] of many generations."""
    return np.asarray(
        jax.jit(jax.vmap(lambda k: select(k, None, jnp.asarray(fitness))))(jax.random.split(jax.random.key(0), keys))
    )


@pytest.mark.parametrize("size", [1, 3])
def test_tournament_equals_brute_force(size):
    fitness = np.random.default_rng(0).integers(0, 6, N).astype(np.float32)  # with ties
    for seed in range(5):
        key = jax.random.key(seed)
        entrants = np.asarray(jax.random.randint(key, (N, 2, size), 0, N))
        parents = np.asarray(selection.tournament(size)(key, None, jnp.asarray(fitness)))
        for child in range(N):
            winners = [max(who, key=lambda i: fitness[i]) for who in entrants[child]]
            winners.sort(key=lambda i: -fitness[i])  # the better one leads
            assert parents[child].tolist() == winners


def test_tournament_winners_are_distributed_as_theory_says():
    fitness = np.random.default_rng(1).permutation(N).astype(np.float32)
    parents = many(selection.tournament(3), fitness)
    rank = fitness[parents].astype(int)  # 0 is the worst

    def best_of(k):  # P(the best of k draws with replacement has this rank)
        r = np.arange(N)
        return ((r + 1) ** k - r**k) / N**k

    for drawn, expected in ((rank, best_of(3)), (rank[..., 0], best_of(6))):
        share = np.bincount(drawn.ravel(), minlength=N) / drawn.size
        assert np.all(np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / drawn.size) + 1e-9)


def test_tournament_of_one_is_a_uniform_draw():
    parents = many(selection.tournament(1), np.arange(N, dtype=np.float32), 1000)
    share = np.bincount(parents.ravel(), minlength=N) / parents.size
    assert np.all(np.abs(share - 1 / N) < 5 * np.sqrt(0.1 * 0.9 / parents.size))


def test_a_member_that_must_not_reproduce_wins_only_among_its_like():
    fitness = np.full(N, -np.inf, np.float32)
    fitness[:4] = [-3, -1, -2, -5]
    select = selection.tournament(3)
    for seed in range(20):
        key = jax.random.key(seed)
        entrants = np.asarray(jax.random.randint(key, (N, 2, 3), 0, N))
        all_lost = np.sort(np.isinf(fitness[entrants]).all(axis=2), axis=1)  # the better parent leads
        parents = np.asarray(select(key, None, jnp.asarray(fitness)))
        np.testing.assert_array_equal(np.isinf(fitness[parents]), all_lost)


@pytest.mark.parametrize(("share", "best"), [(0.2, 2), (0.5, 5), (1.0, 10), (0.01, 1)])
def test_truncation_draws_uniformly_from_the_best_share(share, best):
    fitness = np.random.default_rng(2).permutation(N).astype(np.float32)
    parents = many(selection.truncation(share), fitness, 500)
    counts = np.bincount(N - 1 - fitness[parents].astype(int).ravel(), minlength=N) / parents.size
    np.testing.assert_array_equal(counts[best:], 0)
    assert np.all(np.abs(counts[:best] - 1 / best) < 5 * np.sqrt(1 / best / parents.size))
    assert np.all(fitness[parents[..., 0]] >= fitness[parents[..., 1]])


def test_truncation_never_takes_one_that_must_not_reproduce():
    fitness = np.full(N, -np.inf, np.float32)
    fitness[[2, 7]] = [-1, -2]
    assert set(many(selection.truncation(0.5), fitness, 50).ravel()) == {2, 7}


@pytest.mark.parametrize(
    ("factory", "value"),
    [
        (selection.tournament, 0),
        (selection.tournament, 1.5),
        (selection.truncation, 0),
        (selection.truncation, 1.1),
        (selection.truncation, -0.5),
        (selection.truncation, np.nan),
    ],
)
def test_errors_name_the_field_and_the_value(factory, value):
    field = {selection.tournament: "size", selection.truncation: "share"}[factory]
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        factory(value)
