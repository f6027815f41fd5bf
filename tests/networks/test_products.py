"""Products of an input and a layer's weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.networks.products import FEW, product


@pytest.mark.parametrize("inputs", [1, 2, FEW, FEW + 1, 40])
def test_is_the_product_of_numpy(inputs):
    x, weights = jax.random.normal(jax.random.key(inputs), (3, inputs)), jnp.arange(inputs * 5.0).reshape(inputs, 5)
    found = jax.vmap(product, (0, None))(x, weights)
    np.testing.assert_allclose(found, np.asarray(x, np.float64) @ np.asarray(weights, np.float64), rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("inputs", [3, 20])
def test_keeps_the_dtype_and_has_gradients(inputs):
    x, weights = jnp.linspace(-1.0, 1.0, inputs, dtype=jnp.bfloat16), jnp.ones((inputs, 2), jnp.bfloat16)
    assert product(x, weights).dtype == jnp.bfloat16
    slopes = jax.jacrev(product, argnums=1)(x.astype(jnp.float32), weights.astype(jnp.float32))
    np.testing.assert_allclose(slopes[0, :, 0], x.astype(jnp.float32), rtol=1e-6)
    np.testing.assert_array_equal(slopes[0, :, 1], 0.0)


def test_few_inputs_need_no_product_of_matrices():
    assert "dot_general" not in str(jax.make_jaxpr(product)(jnp.ones(FEW), jnp.ones((FEW, 2))))
    assert "dot_general" in str(jax.make_jaxpr(product)(jnp.ones(FEW + 1), jnp.ones((FEW + 1, 2))))


@pytest.mark.parametrize(("inputs", "rows"), [(1, 4), (4, 1), (3, 4), (9, 4)])
def test_what_does_not_fit_is_refused(inputs, rows):
    with pytest.raises(TypeError, match="same shape"):
        product(jnp.ones(inputs), jnp.ones((rows, 2)))
