import jax
import numpy as np
import pytest

from neuralmutator import mutators


@pytest.fixture(scope="module")
def brood(genome):
    """A parent with step size 0.1 · e^0.5 and 3,000 of its children."""
    mutator = mutators.self_adaptive(std=0.1, learning_rate=0.4)
    parent = genome(mutator, 30, 10, genes=[0.5])
    keys = jax.random.split(jax.random.key(0), 3000)
    return parent, jax.jit(jax.vmap(mutator.mutate, (0, None)))(keys, parent).child


def test_the_gene_drifts_log_normally(brood):
    parent, children = brood
    drift = np.asarray(children.mutator - parent.mutator)[:, 0]
    assert abs(drift.mean()) < 5 * 0.4 / np.sqrt(3000)
    np.testing.assert_allclose(drift.std(), 0.4, rtol=5 / np.sqrt(6000))


def test_a_child_moves_by_its_own_new_step_size(brood):
    parent, children = brood
    moves = np.concatenate([children.policy - parent.policy, children.compat - parent.compat], axis=1)
    unit = moves / (0.1 * np.exp(np.asarray(children.mutator)))  # with the parent's step its std would be 1.17
    np.testing.assert_allclose(unit.std(), 1.0, rtol=5 / np.sqrt(2 * unit.size))
    assert np.abs(np.corrcoef(unit.T) - np.eye(40)).max() < 0.12


def test_a_fresh_genome_has_the_step_size_asked_for():
    mutator = mutators.self_adaptive(std=0.02)
    np.testing.assert_allclose(mutator.genes(mutator.init(jax.random.key(0)))["step_size"], 0.02, rtol=1e-6)


@pytest.mark.parametrize(("field", "value"), [("std", -0.5), ("learning_rate", -1.0), ("learning_rate", np.nan)])
def test_errors_name_the_field_and_the_value(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        mutators.self_adaptive(**{field: value})
