"""Gradients that are not finite change nothing; all others do what the optimiser does."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from neuralmutator.core.descent import finite_only

ONE = jnp.array([1.0, -2.0])


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_what_is_not_finite_is_as_if_it_had_not_come(bad):
    plain, guarded = optax.adam(0.1), finite_only(optax.adam(0.1))
    wanted, memory = jnp.zeros(2), plain.init(jnp.zeros(2))
    for _ in range(3):
        updates, memory = plain.update(ONE, memory, wanted)
        wanted = optax.apply_updates(wanted, updates)
    found, memory = jnp.zeros(2), guarded.init(jnp.zeros(2))
    finite = []
    for gradient in (ONE, ONE.at[1].set(bad), ONE, ONE.at[0].set(bad), ONE):
        updates, memory = guarded.update(gradient, memory, found)
        found = optax.apply_updates(found, updates)
        finite.append(bool(memory.last_finite))
    np.testing.assert_array_equal(found, wanted)
    assert finite == [True, False, True, False, True]
