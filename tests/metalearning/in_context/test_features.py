import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks
from neuralmutator.metalearning import in_context


def test_features_come_first_and_leave_y_alone():
    features = networks.mlp(obs=1, act=6, hidden=(4,))
    network = in_context.linear_attention(dim=6, features=features)
    bare = in_context.linear_attention(dim=6)
    params = 0.2 * jnp.ones(network.num_params) + 5 * jax.jit(network.init)(jax.random.key(0))
    tokens = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
    made = jax.vmap(features.apply, (None, 0))(params[: features.num_params], tokens[:, :1])
    expected = bare.apply(params[features.num_params :], jnp.concatenate([made, tokens[:, 1:]], axis=1))
    np.testing.assert_allclose(network.apply(params, tokens), expected, rtol=1e-6)
    assert sum(network.sizes) == network.num_params == features.num_params + bare.num_params


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: in_context.gradient_descent(3, features=networks.mlp(obs=1, act=2)).apply(
                jnp.zeros(10_000), jnp.zeros((5, 2))
            ),
            "features must give 3 numbers, got shape (2,)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
