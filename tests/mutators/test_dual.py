from functools import partial
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import mutators, networks, speciation

K = 8  # chunk size of the small mutators
FRESH = {
    "correction_scale_policy": 0.03,
    "correction_scale_meta": 0.01,
    "explore_scale_policy": 0.01,
    "explore_scale_meta": 0.002,
    "p_gauss": 0.5,
    "gauss_scale": 0.3,
}


def raw(**genes):
    """Raw strategy genes by name; those not named are 0."""
    return [genes.get(name, 0.0) for name in FRESH]


def draws_of(key, genome, genes=6):
    return jax.random.normal(key, (sum(x.size for x in genome[:3]) + 1 + genes,))


def assert_child(child, expected):
    for got, wanted in zip(child[:3], expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("what", "size"),
    [
        (mutators.dual_mixture, 8_374),
        (mutators.dual_corrector, 8_372),
        (lambda: networks.cnn(), 17_971),
        (lambda: mutators.dual_mixture(chunk_size=K), 32 + 9 * 16 + 49 * 64 + 65 * 8 + 6),
    ],
    ids=["dual_mixture", "dual_corrector", "cnn", "small chunks"],
)
def test_sizes_of_the_original(what, size):
    made = what()
    assert made.num_params == size
    assert jax.eval_shape(made.init, jax.random.key(0)).shape == (size,)


def test_the_car_racing_genome_has_29498_parameters():
    assert networks.cnn().num_params + mutators.dual_mixture().num_params + speciation.learned().num_params == 29_498


@pytest.mark.parametrize("positive", [False, True])
def test_a_fresh_mutator_starts_as_the_original(positive):
    mutator = mutators.dual_mixture(positive=positive)
    params = np.asarray(jax.jit(mutator.init)(jax.random.key(0)))
    references, layers = params[:32], params[32:-6]
    assert 0.05 < references.std() < 0.15
    for size, fan_in in ((65 * 16, 64), (49 * 64, 48), (65 * 64, 64)):
        part, layers = np.abs(layers[:size]) * fan_in**0.5, layers[size:]
        assert 0.99 < part.max() <= 1
        assert abs(part.mean() - 0.5) < 0.05
    assert layers.size == 0
    genes = mutator.genes(jnp.asarray(params))
    assert list(genes) == list(FRESH)
    for name, value in FRESH.items():
        np.testing.assert_allclose(genes[name], value, rtol=1e-5)
    np.testing.assert_allclose(params[-6:], np.zeros(6) if positive else list(FRESH.values()), rtol=1e-5)


# Policies that straddle a chunk, fill it, and are smaller than one; with and without a compatibility net.
@pytest.mark.parametrize(
    ("positive", "policy", "compat"), [(False, 13, 9), (False, 16, 0), (False, 5, 3), (True, 13, 9)]
)
def test_mutate_equals_the_specification(positive, policy, compat, genome, specified_child):
    mutator = mutators.dual_mixture(chunk_size=K, positive=positive)
    genes = [2.0, -1.0, 1.0, 0.5, 1.0, 0.7] if positive else [0.05, -0.2, 0.03, 0.01, 0.4, 0.1]
    a, b = genome(mutator, policy, compat, 1, genes), genome(mutator, policy, compat, 2)
    mutate = jax.jit(lambda *args: mutator.mutate(*args).child)
    spec = partial(specified_child, chunk_size=K, positive=positive)
    for seed in range(6):  # some escape, some do not
        key = jax.random.key(seed)
        draws = draws_of(key, a)
        assert_child(mutate(key, a, b, True), spec(draws, a[:3], b[:3]))
        assert_child(mutate(key, a, b, False), spec(draws, a[:3]))


def test_both_fates_of_the_escape_were_among_the_draws(genome):
    a = genome(mutators.dual_mixture(chunk_size=K), 13, 9)
    cdf = [NormalDist().cdf(float(draws_of(jax.random.key(seed), a)[-7])) for seed in range(6)]
    assert min(cdf) < 0.4 < max(cdf)


def test_the_original_size_equals_the_specification(genome, specified_child):
    mutator = mutators.dual_mixture(positive=False)
    a, b = (genome(mutator, 100, speciation.learned().num_params, seed) for seed in (1, 2))
    key = jax.random.key(5)
    expected = specified_child(draws_of(key, a), a[:3], b[:3], chunk_size=64)
    assert_child(jax.jit(mutator.mutate)(key, a, b).child, expected)


@pytest.mark.parametrize("positive", [False, True])
def test_the_corrector_is_the_mixture_without_the_escape(positive, genome, specified_child):
    mutator = mutators.dual_corrector(chunk_size=K, positive=positive, meta_rate=0.7, scale_rate=0.2)
    a = genome(mutator)
    key = jax.random.key(1)
    expected = specified_child(
        draws_of(key, a, 4), a[:3], chunk_size=K, mixture=False, positive=positive, meta_rate=0.7, scale_rate=0.2
    )
    assert_child(jax.jit(mutator.mutate)(key, a).child, expected)
    assert list(mutator.genes(a.mutator)) == list(FRESH)[:4]


def test_a_correction_never_exceeds_a_tenth(genome):
    mutator = mutators.dual_corrector(chunk_size=K, positive=False, meta_rate=1.0)
    a = genome(mutator, genes=[50.0, -50.0, 0.0, 0.0])  # raw scales may turn negative
    child = jax.jit(mutator.mutate)(jax.random.key(0), a).child
    for old, new in zip(a[:3], child[:3], strict=True):
        change = np.abs(new - old)
        np.testing.assert_allclose(change.max(), 0.1, atol=1e-6)
        assert np.mean(change > 0.099) > 0.9


@pytest.fixture(scope="module")
def brood(genome):
    """Changes of 4,000 children by noise alone: (policy, meta), and the genes that made them."""
    mutator = mutators.dual_mixture(chunk_size=K, positive=False)
    genes = {"explore_scale_policy": 0.02, "explore_scale_meta": 0.007, "p_gauss": 0.3, "gauss_scale": 0.05}
    parent = genome(mutator, genes=raw(**genes))
    children = jax.jit(jax.vmap(mutator.mutate, (0, None)))(jax.random.split(jax.random.key(9), 4000), parent).child
    policy, *meta = (np.asarray(x - y, np.float64) for x, y in zip(children[:3], parent[:3], strict=True))
    return policy, np.concatenate(meta, axis=1), genes


def test_noise_of_the_policy_is_a_mixture_of_two_gaussians(brood):
    policy, _, genes = brood
    explore, p, escape = genes["explore_scale_policy"] ** 2, genes["p_gauss"], genes["gauss_scale"] ** 2
    variance = p * (explore + escape) + (1 - p) * explore
    n = policy.size
    # One draw per child: the mean square of a child scatters by p, and within a child by chi².
    spread = np.sqrt((p * (1 - p) * escape**2 + 2 * (p * (explore + escape) ** 2 + (1 - p) * explore**2) / 13) / 4000)
    assert abs(np.mean(policy**2) - variance) < 5 * spread
    assert abs(policy.mean()) < 5 * np.sqrt(variance / n)


def test_a_child_escapes_as_a_whole_or_not_at_all(brood):
    policy, _, genes = brood
    rms = np.sqrt(np.mean(policy**2, axis=1))
    escaped = rms > 0.035  # between 0.02 and sqrt(0.02² + 0.05²) = 0.054, 13 numbers each
    assert abs(escaped.mean() - genes["p_gauss"]) < 0.04
    np.testing.assert_allclose(policy[~escaped].std(), 0.02, rtol=0.03)
    np.testing.assert_allclose(policy[escaped].std(), np.hypot(0.02, 0.05), rtol=0.05)


def test_noise_of_the_meta_part_is_a_tenth_of_exploration(brood):
    _policy, meta, genes = brood
    # The chunk that straddles counts as policy: its last 3 of 16 numbers, of the mutator, explore as the policy does.
    straddle, rest = meta[:, :3], meta[:, 3:]
    np.testing.assert_allclose(straddle.std(), 0.1 * genes["explore_scale_policy"], rtol=0.05)
    np.testing.assert_allclose(rest.std(), 0.1 * genes["explore_scale_meta"], rtol=0.01)


def test_positive_genes_stay_positive_at_the_limits_of_the_genome(genome):
    mutator = mutators.dual_mixture(chunk_size=K)
    for value in (-5.0, 5.0):
        genes = mutator.genes(genome(mutator, genes=[value] * 6).mutator)
        assert all(0 < g < np.inf for g in genes.values())
        assert genes["p_gauss"] < 1


def test_positive_genes_drift_by_the_scale_rate(genome):
    mutator = mutators.dual_mixture(chunk_size=K, scale_rate=0.4)
    parent = genome(mutator)
    children = jax.jit(jax.vmap(mutator.mutate, (0, None)))(jax.random.split(jax.random.key(2), 2000), parent).child
    drift = np.asarray(children.mutator - parent.mutator)[:, -6:]
    np.testing.assert_allclose(drift.std(axis=0), 0.4, rtol=0.1)
    assert np.abs(np.corrcoef(drift.T) - np.eye(6)).max() < 0.12


@pytest.mark.parametrize("positive", [True, False])
def test_scale_makes_the_first_corrections_and_explorations_smaller(positive):
    plain, small = (mutators.dual_mixture(positive=positive, **kwargs) for kwargs in ({}, {"scale": 0.4}))
    before, after = (m.genes(m.init(jax.random.key(0))) for m in (plain, small))
    factors = {name: float(after[name] / before[name]) for name in before}
    assert factors == pytest.approx(dict.fromkeys(factors, 0.4) | {"p_gauss": 1.0, "gauss_scale": 1.0})


@pytest.mark.parametrize("factory", [mutators.dual_mixture, mutators.dual_corrector])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chunk_size", 0),
        ("chunk_size", 2.5),
        ("meta_rate", -0.1),
        ("meta_rate", np.nan),
        ("scale_rate", np.inf),
        ("scale", -1.0),
    ],
)
def test_errors_name_the_field_and_the_value(factory, field, value):
    with pytest.raises(ValueError, match=f"(?s){field}.*{value}"):
        factory(**{field: value})
