import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator import Genome, speciation
from neuralmutator.population.speciation import Species

N = 12
KEY = jax.random.key(0)


def population_of(policy, compat=None):
    """A population of given policies f32[N, P], with two mutator parameters each."""
    n = len(policy)
    return Genome(
        policy=jnp.asarray(policy, jnp.float32),
        mutator=jnp.asarray(np.random.default_rng(5).normal(size=(n, 2)), jnp.float32),
        compat=jnp.zeros((n, speciation.NUM_PARAMS)) if compat is None else jnp.asarray(compat, jnp.float32),
        topology=jnp.zeros((n, 0), jnp.int32),
        structural_rate=jnp.full(n, 0.05),
    )


def random_population(n=N, seed=0, scale=0.3):
    random = np.random.default_rng(seed)
    return population_of(random.normal(size=(n, 20)), scale * random.normal(size=(n, speciation.NUM_PARAMS)))


def tag_of(compat, summary):
    """Encoder 64→32 (tanh)→16 in float64."""
    compat = np.asarray(compat, np.float64)
    w1, b1, w2, b2, scorer = np.split(compat, [64 * 32, 64 * 32 + 32, 64 * 32 + 32 + 32 * 16, 65 * 32 + 33 * 16])
    assert scorer.size == (32 * 16 + 16) + (16 + 1)  # carried, unread
    return np.tanh(np.asarray(summary) @ w1.reshape(64, 32) + b1) @ w2.reshape(32, 16) + b2


def summaries_of(projection, population):
    flat = np.concatenate([np.asarray(x, np.float64) for x in population[:3]], axis=1)
    return flat @ np.asarray(projection, np.float64) / np.sqrt(flat.shape[1])


def leaders(tags, order, radius):
    """Greedy leader clustering, one member after another."""
    led, member_of = [], np.full(len(tags), -1)
    for i in order:
        near = [s for s, leader in enumerate(led) if np.linalg.norm(tags[i] - tags[leader]) < radius]
        if not near:
            led.append(i)
            near = [len(led) - 1]
        member_of[i] = near[0]
    return member_of, len(led)


@pytest.fixture(scope="module")
def grouped():
    """A random population and its species: (species, population, state, fitness, next state, metrics)."""
    population = random_population()
    projection = jax.random.normal(KEY, (20 + 2 + speciation.NUM_PARAMS, 64))
    state = speciation.SpeciationState(projection, jnp.float32(1.1))
    fitness = np.random.default_rng(3).normal(size=N).astype(np.float32)
    kinds = speciation.learned()
    species, after, metrics = jax.jit(kinds.classify)(state, population, fitness)
    return species, population, state, fitness, after, metrics


@pytest.fixture(scope="module")
def cluster():
    return jax.jit(speciation.cluster)


def test_the_compatibility_net_has_3153_parameters():
    assert speciation.learned().num_params == 3_153
    net = np.asarray(speciation.init_compat(KEY))
    assert net.size == 3_153
    for size, fan_in in ((65 * 32, 64), (33 * 16, 32), (33 * 16, 32), (17, 16)):
        part, net = np.abs(net[:size]) * fan_in**0.5, net[size:]
        assert 1 - 10 / size < part.max() <= 1
        assert abs(part.mean() - 0.5) < 5 / np.sqrt(12 * size)


def test_summaries_and_tags_equal_numpy(grouped):
    species, population, state, *_ = grouped
    expected = summaries_of(state.projection, population)
    np.testing.assert_allclose(species.summaries, expected, atol=1e-5)
    tags = jax.jit(jax.vmap(speciation.tag))(population.compat, species.summaries)
    for i in range(N):
        np.testing.assert_allclose(tags[i], tag_of(population.compat[i], expected[i]), atol=1e-5)


def test_classify_equals_brute_force_in_order_of_rank(grouped):
    species, population, state, fitness, after, metrics = grouped
    summaries = summaries_of(state.projection, population)
    tags = np.array([tag_of(net, summary) for net, summary in zip(population.compat, summaries, strict=True)])
    member_of, count = leaders(tags, np.argsort(-fitness), 1.1 * 4)
    assert 2 < count < N  # or the test says nothing
    np.testing.assert_array_equal(species.member_of, member_of)
    assert species.number == count
    np.testing.assert_array_equal(species.size, [np.sum(member_of == m) for m in member_of])
    assert species.member_of[np.argmax(fitness)] == 0
    neighbours = [np.linalg.norm(tags[i] - tags[i - 1]) for i in range(N)]
    np.testing.assert_allclose(metrics["tag_distance"], np.mean(neighbours), rtol=1e-4)
    assert after.threshold == state.threshold


@given(
    tags=st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=N, max_size=N),
    order=st.permutations(range(N)),
    square=st.integers(0, 30),
)
def test_cluster_equals_brute_force(cluster, tags, order, square):
    # Whole coordinates and a radius between two possible distances: no rounding decides.
    tags, radius = np.array(tags, np.float32), np.sqrt(square + 0.5).astype(np.float32)
    member_of, count = cluster(tags, np.array(order, np.int32), radius)
    expected, expected_count = leaders(tags, order, radius)
    np.testing.assert_array_equal(member_of, expected)
    assert count == expected_count


def test_a_radius_is_exclusive(cluster):
    tags = np.zeros((N, 3), np.float32)
    tags[1, 0] = 2.0
    assert cluster(tags, np.arange(N, dtype=np.int32), np.float32(2.0))[1] == 2
    assert cluster(tags, np.arange(N, dtype=np.int32), np.float32(2.0001))[1] == 1


def test_both_must_agree(grouped):
    species, population, state, *_ = grouped
    pairs = np.array([(i, j) for i in range(N) for j in range(N)])
    got = jax.jit(speciation.learned().compatible)(state, population, species, pairs)
    summaries = summaries_of(state.projection, population)

    def accepts(judge, i, j):
        net = population.compat[judge]
        return np.linalg.norm(tag_of(net, summaries[i]) - tag_of(net, summaries[j])) < 1.1 * 4

    verdicts = np.array([(accepts(i, i, j), accepts(j, i, j)) for i, j in pairs])
    assert np.any(verdicts[:, 0] & ~verdicts[:, 1])  # love unrequited is among the pairs
    assert 0 < np.sum(verdicts.all(axis=1) & (pairs[:, 0] != pairs[:, 1])) < 100
    np.testing.assert_array_equal(got, verdicts.all(axis=1))


def pair_loss(net, population, summaries):
    """The warm start's loss over all pairs of a population."""
    flat = np.concatenate([np.asarray(x, np.float64) for x in population[:3]], axis=1)
    n = len(flat)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    apart = np.array([np.linalg.norm(flat[i] - flat[j]) for i, j in pairs])
    tags = np.array([tag_of(net, s) for s in summaries])
    d = np.array([np.linalg.norm(tags[i] - tags[j]) for i, j in pairs])
    close = apart < np.median(apart)
    return np.mean(np.where(close, d**2, np.maximum(0, 2 - d) ** 2)), d[close].mean(), d[~close].mean()


def test_warm_start_teaches_kin_from_strangers():
    random = np.random.default_rng(1)
    clans = random.normal(size=(3, 20))[np.arange(24) % 3]  # three clans of eight
    population = population_of(clans + 0.1 * random.normal(size=(24, 20)))
    started, state = jax.jit(speciation.learned(warm_start_steps=100).init)(KEY, population)
    nets = np.asarray(started.compat)
    assert np.all(nets == nets[0])  # copied to all
    assert state.projection.shape == (22 + 3_153, 64)
    assert abs(np.std(state.projection) - 1) < 0.01
    untrained, same = jax.jit(speciation.learned(warm_start_steps=0).init)(KEY, population)
    np.testing.assert_allclose(same.projection, state.projection, rtol=1e-5, atol=1e-6)
    # Distances and summaries are those of the first population, with the net it began with.
    summaries = summaries_of(state.projection, untrained)
    before, *_ = pair_loss(untrained.compat[0], untrained, summaries)
    after, kin, strangers = pair_loss(nets[0], untrained, summaries)
    assert after < 0.6 * before
    assert kin < 0.5 * strangers


def groups(sizes):
    """Species of given sizes, members in order."""
    member_of = np.repeat(np.arange(len(sizes)), sizes)
    return Species(member_of, np.repeat(sizes, sizes), len(sizes), None)


def test_fitness_sharing_is_the_originals():
    shared = speciation.share_fitness(jnp.array([8.0, -8.0, 3.0, -jnp.inf, 5.0]), groups([4, 1]))
    np.testing.assert_allclose(shared, [4, -4, 1.5, -np.inf, 5])


@given(st.permutations(range(-5, 5)), st.sampled_from([[1, 9], [5, 5], [8, 1, 1], [1] * 10]))
def test_shared_ranks_are_ranks_over_the_root_of_crowding(fitness, sizes):
    species = groups(sizes)
    shared = np.asarray(speciation.share_ranks(jnp.array(fitness, jnp.float32), species))
    for i, f in enumerate(fitness):
        rank = sum(g <= f for g in fitness)  # worst 1, best N
        np.testing.assert_allclose(shared[i], rank / species.size[i] ** 0.5, rtol=1e-6)


def test_shared_ranks_punish_crowding_where_shared_fitness_rewards_it():
    fitness = jnp.array([-100.0, -101.0, -103.0, -104.0, -102.0])  # the last one is alone of its kind, third of five
    crowd = groups([4, 1])
    np.testing.assert_allclose(speciation.share_ranks(fitness, crowd), [5 / 2, 4 / 2, 2 / 2, 1 / 2, 3])
    assert np.argmin(speciation.share_fitness(fitness, crowd)) == 4  # the original puts it last


def test_shared_ranks_do_not_depend_on_scale():
    fitness = np.random.default_rng(0).normal(size=10).astype(np.float32)
    for scaled in (1e6 * fitness - 5e7, 1e-6 * fitness):
        np.testing.assert_array_equal(
            speciation.share_ranks(scaled, groups([7, 3])), speciation.share_ranks(fitness, groups([7, 3]))
        )


def test_equal_members_share_equally():
    """Where fitness is tied, as it is wherever a task can be solved, no place in the population is favoured."""
    fitness = jnp.array([500.0, 500.0, 20.0, 500.0, 20.0])
    shared = np.asarray(speciation.share_ranks(fitness, groups([5])))
    assert len(set(shared[[0, 1, 3]])) == 1
    assert len(set(shared[[2, 4]])) == 1
    assert shared[0] > shared[2]


def test_a_broken_member_ranks_last_and_no_one_is_shifted():
    fitness = np.array([3.0, -np.inf, 1.0, 2.0, -np.inf], np.float32)
    shared = np.asarray(speciation.share_ranks(fitness, groups([1] * 5)))
    np.testing.assert_array_equal(shared[[1, 4]], -np.inf)
    assert shared[0] > shared[3] > shared[2]


def test_a_broken_genome_does_not_move_its_neighbours(grouped):
    species, population, state, fitness, *_ = grouped
    worst = int(np.argmin(fitness))  # last in rank: it leads no one
    classify = jax.jit(speciation.learned().classify)
    for part in ("policy", "mutator", "compat"):
        poisoned = np.array(getattr(population, part))
        poisoned[worst, 0] = np.nan
        broken, _, metrics = classify(state, population._replace(**{part: poisoned}), fitness)
        others = np.arange(N) != worst
        np.testing.assert_array_equal(broken.member_of[others], species.member_of[others])
        np.testing.assert_array_equal(broken.summaries[others], species.summaries[others])
        assert np.isfinite(metrics["tag_distance"])


@pytest.mark.parametrize("threshold", [0.02, 3.0])
def test_a_target_steers_the_number_of_species(threshold):
    population, fitness = random_population(40), np.arange(40, dtype=np.float32)
    projection = jax.random.normal(KEY, (20 + 2 + speciation.NUM_PARAMS, 64))
    start = speciation.SpeciationState(projection, jnp.float32(threshold))

    def counts(target):
        kinds = speciation.learned(target_species=target)

        def generation(state, _):
            species, after, _ = kinds.classify(state, population, fitness)
            return after, (species.number, after.threshold / state.threshold)

        return map(np.asarray, jax.jit(lambda: jax.lax.scan(generation, start, None, 60)[1])())

    free, change = counts(None)
    steered, steps = counts(6)
    assert np.all(free == free[0])
    assert np.all(change == 1)
    assert free[0] == (40 if threshold < 1 else 1)
    assert np.all(np.abs(steered[-10:] - 6) <= 2)
    assert np.all(np.abs(np.log(steps)) <= 0.1 + 1e-5)  # at most 10 % a generation


def test_without_speciation_all_are_of_one_kind():
    kinds = speciation.none()
    population, fitness = random_population(), jnp.arange(float(N))
    same, state = kinds.init(KEY, population)
    assert same is population
    species, _, metrics = kinds.classify(state, population, fitness)
    assert metrics == {}
    np.testing.assert_array_equal(species.member_of, np.zeros(N))
    np.testing.assert_array_equal(species.size, np.full(N, N))
    assert species.number == 1
    assert kinds.num_params == 0
    assert np.all(kinds.compatible(state, population, species, jnp.array([[0, 1], [3, 3]])))
    np.testing.assert_array_equal(kinds.share(fitness, species), fitness)


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 0), ("threshold", -1.0), ("threshold", np.nan), ("target_species", 0), ("warm_start_steps", -1)],
)
def test_errors_name_the_field_and_the_value(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        speciation.learned(**{field: value})
