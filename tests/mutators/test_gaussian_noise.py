import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import mutators


def test_it_has_no_parameters_and_adds_one_gaussian(genome):
    mutator = mutators.gaussian(std=0.07)
    assert mutator.num_params == 0
    assert mutator.genes(jnp.zeros(0)) == {}
    a, b = genome(mutator, 40, 10, 1), genome(mutator, 40, 10, 2)
    children = jax.jit(jax.vmap(mutator.mutate, (0, None, None)))(jax.random.split(jax.random.key(0), 1000), a, b).child
    changes = np.concatenate(
        [children.policy - (a.policy + b.policy) / 2, children.compat - (a.compat + b.compat) / 2], axis=1
    )
    assert abs(changes.mean()) < 5 * 0.07 / np.sqrt(changes.size)
    np.testing.assert_allclose(changes.std(), 0.07, rtol=5 / np.sqrt(2 * changes.size))
    assert np.abs(np.corrcoef(changes.T) - np.eye(50)).max() < 0.2  # every number has noise of its own


@pytest.mark.parametrize("std", [-1.0, np.nan, np.inf])
def test_errors_name_the_field_and_the_value(std):
    with pytest.raises(ValueError, match=f"std.*{std}"):
        mutators.gaussian(std=std)
