"""Stages and what is chained of them, against NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.mutators import Mutator, stages

KEY = jax.random.key(4)
POLICY = nm.networks.mlp(3, 2, hidden=(4,))
P = POLICY.num_params
SEEN = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def genome_of(mutator, seed=0, policy=None):
    random = np.random.default_rng(seed)
    policy = random.normal(size=P) if policy is None else policy
    return nm.Genome(
        jnp.asarray(policy, jnp.float32),
        mutator.init(KEY),
        jnp.zeros(0),
        jnp.zeros(0, jnp.int32),
        jnp.float32(0),
    )


def constant(value):
    """A stage that proposes one change, whatever the key."""
    return stages._fixed(lambda key, change, parents: change + jnp.asarray(value, jnp.float32))


def lineage(mutator, length, genome=None):
    """A parent, its child, the child's child …; each with a key of its own."""
    mutate, line = jax.jit(mutator.mutate), [genome_of(mutator) if genome is None else genome]
    for t in range(length):
        line.append(mutate(jax.random.fold_in(KEY, t), line[-1]).child)
    return line


def test_stages_act_in_their_order():
    doubled_after = stages.chain(constant(1.0), stages.scaled(2.0), constant(1.0))
    a, b = lineage(doubled_after, 1)
    np.testing.assert_allclose(b.policy - a.policy, 3.0, rtol=1e-5)


def test_noise_is_gaussian_of_the_given_size():
    mutator, parent = stages.chain(stages.noise(), stages.scaled(0.3)), None
    parent = genome_of(mutator)
    children = jax.jit(jax.vmap(mutator.mutate, (0, None)))(jax.random.split(KEY, 2000), parent).child.policy
    np.testing.assert_allclose(np.std(children - parent.policy), 0.3, rtol=0.02)


def test_inertia_is_a_running_sum_of_changes():
    """v' = change + 0.5 v, by hand over a lineage of four."""
    mutator = stages.chain(constant(np.arange(P)), stages.inertia(P, 0.5))
    line, v = lineage(mutator, 4), np.zeros(P)
    for a, b in itertools.pairwise(line):
        v = np.arange(P) + 0.5 * v
        np.testing.assert_allclose(b.policy - a.policy, v, rtol=1e-4)
        np.testing.assert_allclose(b.mutator, v, rtol=1e-5)
    assert float(mutator.genes(line[-1].mutator)["last_change"]) == pytest.approx(np.sqrt(np.mean(v**2)), rel=1e-5)


def test_heavy_tails_are_log_normal():
    mutator = stages.chain(constant(1.0), stages.log_normal(1.5))
    parent = genome_of(mutator, policy=np.zeros(P))
    children = jax.jit(jax.vmap(mutator.mutate, (0, None)))(jax.random.split(KEY, 4000), parent).child.policy
    logs = np.log(np.asarray(children[:, 0]))
    np.testing.assert_array_equal(children.min(axis=1), children.max(axis=1))  # one draw for each birth
    np.testing.assert_allclose([logs.mean(), logs.std()], [0.0, 1.5], atol=0.08)


def test_a_heritable_size_is_mutated_first_and_then_used():
    mutator = stages.chain(constant(1.0), stages.heritable(0.4))
    line = lineage(mutator, 300, genome_of(mutator, policy=np.zeros(P)))
    genes = np.array([float(genome.mutator[0]) for genome in line])
    moved = np.diff([float(genome.policy[0]) for genome in line])
    np.testing.assert_allclose(moved[:20], np.exp(genes[1:21]), rtol=1e-3)
    np.testing.assert_allclose(np.diff(genes).std(), 0.4, rtol=0.15)


def test_sensitivity_is_that_of_finite_differences():
    mutator = stages.chain(constant(1.0), stages.sensitivity(POLICY, SEEN, 0.5))
    parent, child = lineage(mutator, 1)
    apply = jax.jit(jax.vmap(POLICY.apply, (None, 0)))

    def slope(j):
        up, down = (np.array(parent.policy, np.float32) for _ in range(2))
        up[j], down[j] = up[j] + 0.01, down[j] - 0.01
        return (np.asarray(apply(up, SEEN), np.float64) - np.asarray(apply(down, SEEN))) / 0.02

    strength = np.array([np.sqrt(np.mean(np.sum(slope(j) ** 2, axis=1))) for j in range(P)]) + 1e-3
    factor = strength**-0.5 / np.sqrt(np.mean(strength**-1.0))
    np.testing.assert_allclose(child.policy - parent.policy, factor, rtol=2e-2)
    assert np.sqrt(np.mean(factor**2)) == pytest.approx(1) and factor.max() > 2 * factor.min()


def test_the_shape_by_group_is_heritable_and_of_rms_one():
    groups = nm.networks.groups_of(POLICY)
    assert groups.tolist() == [0] * 4 + [1] * 12 + [2] * 2 + [3] * 8
    mutator = stages.chain(constant(1.0), stages.by_group(groups, 0.5))
    line = lineage(mutator, 5)
    for a, b in itertools.pairwise(line):
        factor = np.asarray(b.policy - a.policy)
        assert np.sqrt(np.mean(factor**2)) == pytest.approx(1, rel=1e-4)
        wanted = np.exp(np.asarray(b.mutator, np.float64))[groups]
        np.testing.assert_allclose(factor, wanted / np.sqrt(np.mean(wanted**2)), rtol=1e-3)
    assert np.std(line[-1].mutator) > 0.3


@pytest.mark.parametrize(("crosses", "fixed"), [(False, "weights"), (True, "weights"), (True, "outputs")])
def test_the_shape_by_network_is_what_its_perceptron_says(crosses, fixed):
    """Beside NumPy, on the parameters that the child inherits; the strength of each weight is `sensitivity`'s own."""
    own = np.random.default_rng(1).normal(size=6 * 5).astype(np.float32)
    mutator = stages.chain(constant(1.0), stages.by_network(POLICY, SEEN, hidden=5, rate=0.2, fixed=fixed))
    parent = genome_of(mutator)._replace(mutator=own)
    partner = parent._replace(policy=parent.policy[::-1])
    base, child = jax.jit(mutator.mutate)(KEY, parent, partner, crosses)
    factor = np.asarray(child.policy - base.policy, np.float64)
    inverse = stages.chain(constant(1.0), stages.sensitivity(POLICY, SEEN, 1.0))
    spared = jax.jit(inverse.mutate)(KEY, base._replace(mutator=np.zeros(0, np.float32))).child.policy - base.policy
    apart = np.abs(partner.policy - parent.policy) if crosses else np.zeros(P)
    looks = [-np.log(spared), np.abs(base.policy), apart, np.repeat(range(4), (4, 12, 2, 8))]
    looks = np.array([(x - np.mean(x)) / (np.std(x) + 1e-6) for x in looks], np.float64).T
    w1, b1, w2 = np.split(np.asarray(child.mutator, np.float64), (20, 25))
    wanted = np.exp(4 * np.tanh(np.tanh(looks @ w1.reshape(4, 5) + b1) @ w2 / 4))
    measured = 1 / spared if fixed == "outputs" else np.ones(P)
    np.testing.assert_allclose(factor, wanted * np.linalg.norm(measured) / np.linalg.norm(measured * wanted), rtol=1e-3)
    assert factor.max() > 2 * factor.min()
    assert np.std(child.mutator - own) == pytest.approx(0.2, rel=0.4)


def test_a_new_perceptron_says_that_all_weights_are_alike():
    mutator = stages.chain(constant(1.0), stages.by_network(POLICY, SEEN, rate=0.0))
    parent, child = lineage(mutator, 1, genome_of(mutator)._replace(mutator=mutator.init(KEY)))
    np.testing.assert_allclose(child.policy - parent.policy, 1.0, rtol=1e-5)
    np.testing.assert_array_equal(child.mutator, parent.mutator)


def test_the_shape_by_weight_remembers_what_made_its_bearer():
    z = np.linspace(-2, 2, P)
    mutator = stages.chain(constant(z), stages.by_weight(P, 0.4))
    line, own = lineage(mutator, 3), np.zeros(P)
    for a, b in itertools.pairwise(line):
        factor = np.exp(own) / np.sqrt(np.mean(np.exp(2 * own)))
        np.testing.assert_allclose(b.policy - a.policy, factor * z, atol=1e-4)
        own = np.clip(own + 0.2 * (z**2 - 1), -4, 4)
        own -= own.mean()
        np.testing.assert_allclose(b.mutator, own, atol=1e-5)


def test_ancestors_are_remembered_and_can_be_gone_back_to():
    """The four kinds of children, each told by what it is and what it remembers; and how often they come."""
    mutator = stages.chain(constant(0.5), stages.memory(POLICY, slots=3, keep=0.1, leap=0.2, back=0.3))
    parent = genome_of(mutator)
    children = jax.jit(jax.vmap(mutator.mutate, (0, None)))(jax.random.split(KEY, 3000), parent).child
    policies, memories = np.asarray(children.policy), np.asarray(children.mutator).reshape(-1, 3, P)
    old, remembered = np.asarray(parent.policy), np.asarray(parent.mutator).reshape(3, P)
    written = np.all(memories == old, axis=2)  # [children, slots]
    np.testing.assert_array_equal(memories[~written], np.broadcast_to(remembered, memories.shape)[~written])
    changed = np.all(np.isclose(policies, old + 0.5, atol=1e-5), axis=1)
    recalled = np.all(np.isclose(policies[:, None], remembered, atol=1e-5), axis=2)
    returned = recalled.any(axis=1)
    fresh = ~changed & ~returned
    keeping = written.any(axis=1)
    np.testing.assert_array_equal(keeping[fresh], True)
    np.testing.assert_array_equal(keeping[returned], False)
    kinds = [(changed & ~keeping).mean(), (changed & keeping).mean(), fresh.mean(), returned.mean()]
    np.testing.assert_allclose(kinds, [0.4, 0.1, 0.2, 0.3], atol=0.03)
    np.testing.assert_allclose(recalled[returned].mean(axis=0), 1 / 3, atol=0.06)
    np.testing.assert_allclose(written[keeping].mean(axis=0), 1 / 3, atol=0.06)
    bound = np.abs(np.asarray(jax.vmap(POLICY.init)(jax.random.split(KEY, 500)))).max(0)
    assert np.all(np.abs(policies[fresh]) <= bound * 1.05) and len(np.unique(policies[fresh], axis=0)) == fresh.sum()


def test_where_two_cross_the_memories_are_the_first_parents():
    """Of both parents' means, the memories would be neither's; beside them another stage's part is still the mean."""
    mutator = stages.chain(constant(0.5), stages.inertia(P), stages.memory(POLICY, 3, keep=1.0, leap=0.0, back=0.0))
    a, b = genome_of(mutator, 1), genome_of(mutator, 2)
    a, b = a._replace(mutator=a.mutator + 1.0), b._replace(mutator=b.mutator - 2.0)
    child = mutator.mutate(KEY, a, b, True).child
    momentum, memories = np.split(np.asarray(child.mutator), [P])
    np.testing.assert_allclose(momentum, 0.5 + 0.5 * (a.mutator[:P] + b.mutator[:P]) / 2, rtol=1e-5)
    memories, expected = memories.reshape(3, P), np.asarray(a.mutator[P:]).reshape(3, P)
    kept = np.all(memories == np.asarray(a.policy), axis=1)
    assert kept.sum() == 1
    np.testing.assert_array_equal(memories[~kept], expected[~kept])


def test_a_lineage_goes_back_to_a_policy_of_generations_ago():
    """A lineage that keeps every parent and then only returns: what comes back are its last ancestors."""
    keeping = stages.chain(constant(0.5), stages.memory(POLICY, 2, keep=1.0, leap=0.0, back=0.0))
    returning = stages.chain(constant(0.5), stages.memory(POLICY, 2, keep=0.0, leap=0.0, back=1.0))
    line = lineage(keeping, 12)
    children = jax.vmap(returning.mutate, (0, None))(jax.random.split(KEY, 50), line[-1]).child.policy
    ages = np.round(np.mean(np.asarray(line[-1].policy) - np.asarray(children), axis=1) / 0.5)
    assert len(set(ages)) == 2 and min(ages) == 1 and max(ages) < 12


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5])
def test_a_difference_leads_from_the_first_parent_to_the_second(factor):
    mutator = stages.chain(stages.difference(factor))
    a, b = genome_of(mutator, 1), genome_of(mutator, 2)
    child = mutator.mutate(KEY, a, b, True).child
    np.testing.assert_allclose(child.policy, a.policy + factor * (b.policy - a.policy), atol=1e-5)
    np.testing.assert_array_equal(mutator.mutate(KEY, a, b, False).child.policy, a.policy)
    np.testing.assert_array_equal(mutator.mutate(KEY, a).child.policy, a.policy)


def test_a_compatibility_net_gets_noise_of_the_changes_size():
    mutator = stages.chain(stages.noise(), stages.scaled(0.2))
    parent = genome_of(mutator)._replace(compat=jnp.zeros(5000))
    compat = mutator.mutate(KEY, parent).child.compat
    np.testing.assert_allclose(np.std(compat), 0.2, rtol=0.4)


def test_the_decay_leaves_what_a_genome_remembers_alone():
    """Of the change a child takes a tenth, of the memory of it all; of a dual mutator a tenth of both."""

    def children(mutator):
        evolution = nm.evolution(
            POLICY, mutator, lambda key, genome: 0.0, population_size=4, elites=0, decay=lambda generation: 0.1
        )
        state = evolution.init(KEY)
        new, generation = jax.jit(evolution.step)(KEY, state)
        parents = jax.tree.map(lambda x: x[generation.parents[:, 0]], state.population)
        return parents, new.population

    parents, made = children(stages.chain(constant(1.0), stages.inertia(P, 0.5)))
    np.testing.assert_allclose(made.policy - parents.policy, 0.1, rtol=1e-3)
    np.testing.assert_allclose(made.mutator, 1.0)
    decaying = Mutator(1, lambda key: jnp.zeros(1), lambda key, genome: nm.mutators.Rewriting(
        genome, genome._replace(mutator=genome.mutator + 1)), lambda params: {})  # fmt: skip
    np.testing.assert_allclose(children(decaying)[1].mutator, 0.1, rtol=1e-6)


def test_observations_are_of_fresh_policies_at_any_moment():
    policy = nm.networks.mlp(4, 2, hidden=())
    seen = jax.jit(lambda key: nm.fitness.observe("CartPole-v1", policy, key, 200, max_steps=30))(KEY)
    assert seen.shape == (200, 4) and np.all(np.isfinite(seen))
    angles = np.abs(np.asarray(seen[:, 2]))
    assert angles.max() > 0.1 and np.median(angles) < 0.1  # some are about to fall, most have just begun


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: stages.chain(), "stages must be at least one Stage"),
        (lambda: stages.chain(nm.mutators.gaussian()), "stages must be at least one Stage"),
        (lambda: stages.scaled(-1.0), "std must be a finite number of at least 0, got -1.0"),
        (lambda: stages.inertia(3, 1.0), r"share must lie in \[0, 1\), got 1.0"),
        (lambda: stages.inertia(0, 0.5), "size must be a whole number of at least 1, got 0"),
        (lambda: stages.by_group([0.5]), "groups must be whole numbers of at least 0"),
        (lambda: stages.by_group([]), "groups must be whole numbers of at least 0"),
        (lambda: stages.log_normal(float("nan")), "spread must be a finite number"),
        (
            lambda: stages.memory(POLICY, 2, 0.1, 0.6, 0.5),
            "keep, leap and back must not be more than 1 together, got 1.2",
        ),
        (lambda: stages.memory(nm.networks.flexible_mlp(2, 1)), "policy must have a fixed topology for memory"),
        (lambda: stages.sensitivity(nm.networks.recurrent(3, 2), SEEN), "policy must have no memory"),
        (lambda: stages.by_network(nm.networks.flexible_mlp(2, 1), SEEN), "policy must have no memory and a fixed"),
        (lambda: stages.by_network(POLICY, SEEN, fixed="size"), "fixed must be one of"),
        (lambda: stages.by_network(POLICY, SEEN, hidden=0), "hidden must be a whole number of at least 1, got 0"),
        (lambda: nm.networks.groups_of(POLICY._replace(sizes=())), "network must say the sizes of its 26 parameters"),
        (lambda: nm.fitness.observe("CartPole-v1", POLICY, KEY, 0), "count must be a whole number"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
