"""What must hold for every mutator: add a row to the table and it is held to all of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, mutators, networks

K = 8
POLICY = networks.mlp(2, 1, hidden=(3,))  # 13 parameters, as many as the genomes here have
SEEN = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
GROUPS = networks.groups_of(POLICY)
MAKE = {  # as it comes, and one whose every noise and correction is off (with the genes that make it so)
    "dual_mixture": (
        lambda: mutators.dual_mixture(chunk_size=K),
        lambda: (mutators.dual_mixture(chunk_size=K, positive=False), [0.0] * 6),
    ),
    "dual_corrector": (
        lambda: mutators.dual_corrector(chunk_size=K),
        lambda: (mutators.dual_corrector(chunk_size=K, positive=False), [0.0] * 4),
    ),
    "gaussian": (mutators.gaussian, lambda: (mutators.gaussian(std=0), [])),
    "self_adaptive": (mutators.self_adaptive, lambda: (mutators.self_adaptive(std=0, learning_rate=0), [0.0])),
    "heavy_tailed": (lambda: mutators.heavy_tailed(0.03), lambda: (mutators.heavy_tailed(0), [])),
    "remembering": (
        lambda: mutators.remembering(POLICY, 0.03, keep=0.0, leap=0.0, back=0.0),
        lambda: (mutators.remembering(POLICY, 0, keep=0.0, leap=0.0, back=0.0), []),
    ),
    "safe": (
        lambda: mutators.safe(POLICY, SEEN, 0.05, inertia=0.5),
        lambda: (mutators.safe(POLICY, SEEN, 0, inertia=0.5), []),
    ),
    "perceptive": (
        lambda: mutators.perceptive(POLICY, SEEN, 0.05, inertia=0.5),
        lambda: (mutators.perceptive(POLICY, SEEN, 0, rate=0, inertia=0.5), []),
    ),
    "momentum": (lambda: mutators.momentum(13, 0.05), lambda: (mutators.momentum(13, 0), [])),
    "layerwise": (lambda: mutators.layerwise(GROUPS, 0.05, 0.1), lambda: (mutators.layerwise(GROUPS, 0, 0), [])),
    "derandomised": (lambda: mutators.derandomised(13, 0.05, 0.1), lambda: (mutators.derandomised(13, 0, 0), [])),
    "differential": (lambda: mutators.differential(0.05), lambda: (mutators.differential(0), [])),
}


class Case(NamedTuple):
    mutator: mutators.Mutator
    mutate: object  # jitted, with a partner
    silent: tuple  # a mutator that changes nothing, and its genes
    a: Genome
    b: Genome


@pytest.fixture(scope="module", params=MAKE, ids=list(MAKE))
def case(request, genome):
    make, silent = MAKE[request.param]
    mutator = make()
    mutate = jax.jit(lambda *args: mutator.mutate(*args).child)
    return Case(mutator, mutate, silent(), genome(mutator, seed=1), genome(mutator, seed=2))


def numbers(genome):
    return np.concatenate([np.asarray(x) for x in genome[:3]])


def test_a_child_is_built_like_its_parent(case):
    child = case.mutate(jax.random.key(0), case.a, case.b, True)
    for new, old in zip(child, case.a, strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    assert case.a.mutator.shape == (case.mutator.num_params,)
    assert np.isfinite(numbers(child)).all()


def test_topology_and_structural_rate_are_the_first_parents(case):
    child = case.mutate(jax.random.key(0), case.a, case.b, True)
    np.testing.assert_array_equal(child.topology, case.a.topology)
    np.testing.assert_array_equal(child.structural_rate, case.a.structural_rate)


def test_a_partner_that_does_not_cross_is_ignored(case):
    key = jax.random.key(1)
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan) if x.dtype == jnp.float32 else x, case.b)
    child = case.mutate(key, case.a, broken, False)
    np.testing.assert_array_equal(numbers(child), numbers(case.mutate(key, case.a, case.b, False)))
    np.testing.assert_allclose(numbers(child), numbers(jax.jit(case.mutator.mutate)(key, case.a).child), atol=1e-6)


def test_two_parents_meet_in_the_middle(case, request):
    """Averaged over many children, a child of two lies closer to the mean than to either parent."""
    keys = jax.random.split(jax.random.key(2), 20)
    children = [case.mutate(key, case.a, case.b, True) for key in keys]
    first_ones = request.node.callspec.params["case"] == "remembering"  # memories are of one parent
    other = case.b._replace(mutator=case.a.mutator) if first_ones else case.b
    mean = np.mean([numbers(child) for child in children], axis=0)
    a, b = numbers(case.a), numbers(other)
    to_middle = np.linalg.norm(mean - (a + b) / 2)
    assert to_middle < 0.2 * min(np.linalg.norm(mean - a), np.linalg.norm(mean - b))


def test_same_key_same_child_and_another_key_another(case):
    one, again, other = (case.mutate(jax.random.key(k), case.a, case.b, True) for k in (3, 3, 4))
    np.testing.assert_array_equal(numbers(one), numbers(again))
    for a, b in ((one.policy, other.policy), (one.compat, other.compat)):
        assert np.mean(np.asarray(a) != np.asarray(b)) > 0.99


def test_a_silent_mutator_copies_bit_for_bit(case, genome):
    mutator, genes = case.silent
    parent = genome(mutator, genes=genes)
    np.testing.assert_array_equal(numbers(jax.jit(mutator.mutate)(jax.random.key(5), parent).child), numbers(parent))


def test_vmap_equals_a_loop(case):
    keys = jax.random.split(jax.random.key(6), 3)
    both = jax.jit(jax.vmap(case.mutate, (0, None, None, None)))(keys, case.a, case.b, True)
    for i, key in enumerate(keys):
        single = case.mutate(key, case.a, case.b, True)
        np.testing.assert_allclose(numbers(jax.tree.map(lambda x, i=i: x[i], both)), numbers(single), atol=1e-6)


def test_a_child_depends_on_each_parent(case):
    """A child moves with the mean of its parents: by about half of what either moves, averaged over many children."""
    size = case.a.policy.size
    keys = jax.random.split(jax.random.key(7), 64)

    def policies_of_children(a, b):
        a, b = case.a._replace(policy=a), case.b._replace(policy=b)
        return jax.vmap(lambda key: case.mutate(key, a, b, True).policy)(keys)

    tangent = jnp.ones(size)
    for tangents in ((tangent, 0 * tangent), (0 * tangent, tangent)):
        _, change = jax.jvp(policies_of_children, (case.a.policy, case.b.policy), tangents)
        np.testing.assert_allclose(jnp.mean(change, axis=0), 0.5, atol=0.1)


def test_genes_are_finite_scalars_by_name(case):
    for name, value in case.mutator.genes(case.a.mutator).items():
        assert name.isidentifier()
        assert jnp.shape(value) == ()
        assert np.isfinite(value)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_policy_of_low_precision_keeps_it_and_is_rewritten_in_f32(case, dtype):
    low = case.a._replace(policy=case.a.policy.astype(dtype))
    child = case.mutate(jax.random.key(8), low, low, True)
    assert jax.tree.map(lambda x: x.dtype, child) == jax.tree.map(lambda x: x.dtype, low)
    exact = low._replace(policy=low.policy.astype(jnp.float32))
    want = case.mutate(jax.random.key(8), exact, exact, True)
    np.testing.assert_array_equal(child.policy, want.policy.astype(dtype))
    np.testing.assert_array_equal(child.mutator, want.mutator)


def test_the_base_is_where_the_rewriting_starts(case):
    alone = jax.jit(case.mutator.mutate)(jax.random.key(9), case.a).base
    jax.tree.map(np.testing.assert_array_equal, alone, case.a)
    both = jax.jit(case.mutator.mutate)(jax.random.key(9), case.a, case.b, True).base
    np.testing.assert_allclose(numbers(both), (numbers(case.a) + numbers(case.b)) / 2, rtol=1e-6)


TRACED = {  # factories of one traced number
    "gaussian std": lambda x: mutators.gaussian(x),
    "self_adaptive std": lambda x: mutators.self_adaptive(x),
    "self_adaptive learning_rate": lambda x: mutators.self_adaptive(learning_rate=x),
    "heavy_tailed spread": lambda x: mutators.heavy_tailed(spread=x),
    "remembering leap": lambda x: mutators.remembering(POLICY, leap=x, back=0.0),
    "safe exponent": lambda x: mutators.safe(POLICY, SEEN, exponent=x),
    "safe inertia": lambda x: mutators.safe(POLICY, SEEN, inertia=x),
    "momentum inertia": lambda x: mutators.momentum(13, inertia=x),
    "perceptive rate": lambda x: mutators.perceptive(POLICY, SEEN, rate=x),
    "layerwise rate": lambda x: mutators.layerwise(GROUPS, rate=x),
    "derandomised rate": lambda x: mutators.derandomised(13, rate=x),
    "differential std": lambda x: mutators.differential(std=x),
    "dual gauss_scale": lambda x: mutators.dual_mixture(K, gauss_scale=x),
    "dual p_gauss": lambda x: mutators.dual_mixture(K, p_gauss=x),
    "dual scale": lambda x: mutators.dual_mixture(K, scale=x),
    "dual meta_rate": lambda x: mutators.dual_mixture(K, meta_rate=x),
    "dual scale_rate": lambda x: mutators.dual_mixture(K, scale_rate=x),
}


QUICK = {
    "gaussian std",
    "safe exponent",
    "heavy_tailed spread",
    "self_adaptive std",
    "self_adaptive learning_rate",
    "dual p_gauss",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in TRACED]
)
def test_a_number_can_be_vmapped(name, genome):
    """A program over several settings gives what each setting gives alone, and they differ."""
    make, values = TRACED[name], [0.1, 0.4]
    # Some children, for what happens to few of them; a parent that remembers something.
    parent, keys = genome(make(0.2)), jax.random.split(jax.random.key(0), 16)
    parent = parent._replace(mutator=parent.mutator + 0.1)

    def children(x):
        mutator = make(x)
        genes = mutator.genes(mutator.init(keys[0]))
        return numbers_of(jax.vmap(mutator.mutate, (0, None))(keys, parent).child), genes

    both = jax.jit(jax.vmap(children))(jnp.array(values))
    for i, value in enumerate(values):
        alone = jax.jit(lambda value=value: children(value))()
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-5, atol=1e-6), both, alone)
    assert np.any(both[0][0] != both[0][1])


def numbers_of(population):
    return jnp.concatenate([population.policy, population.mutator, population.compat], axis=1)
