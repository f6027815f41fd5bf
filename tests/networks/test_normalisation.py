import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks

KEY = jax.random.key(0)
X = jnp.array([2.0, -30.0, 0.5])


def test_a_fresh_policy_acts_as_without(start):
    plain = networks.mlp(3, 2, (5,))
    policy = networks.normalised(plain, 3)
    assert (policy.num_params, policy.moments) == (plain.num_params + 6, 3)
    params = start(policy)
    np.testing.assert_array_equal(params[-6:], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(params[:-6], start(plain))
    np.testing.assert_array_equal(policy.apply(params, X.at[1].set(-3)), plain.apply(params[:-6], X.at[1].set(-3)))


@pytest.mark.parametrize("kind", ["mlp", "recurrent", "flexible"])
def test_it_sees_standardised_and_clipped_observations(kind, start, genome_of):
    plain, topology = {
        "mlp": (networks.mlp(3, 2, (5,)), ()),
        "recurrent": (networks.recurrent(3, 2, 4), ()),
        "flexible": (networks.flexible_mlp(3, 2), (8, 9)),
    }[kind]
    policy = networks.normalised(plain, 3)
    params = start(policy).at[-6:].set(jnp.array([1.0, 2.0, 0.5, 4.0, 0.1, 0.0]))
    seen = jnp.array([(2 - 1) / 4, -10.0, 0.0])  # clipped; and a std of 0 divides nothing
    want = networks.policy_step(plain, genome_of(params[:-6], topology))(plain.initial_state, seen)
    got = networks.policy_step(policy, genome_of(params, topology))(policy.initial_state, X)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


def test_structural_mutations_leave_the_moments_alone(start):
    policy = networks.normalised(networks.flexible_mlp(3, 2, 2, 12, initial_widths=(8, 9)), 3)
    keys = jax.random.split(KEY, 20)
    topologies = jax.vmap(policy.topology.init)(keys)
    masks = jax.vmap(policy.topology.mask)(topologies)
    assert masks.shape == (20, policy.num_params) and masks[:, -6:].all()
    params = jnp.where(masks, jax.vmap(policy.init)(keys), 0)
    changed, grown = jax.jit(jax.vmap(policy.topology.mutate))(keys, params, topologies)
    assert np.any(grown != topologies, axis=1).all()
    np.testing.assert_array_equal(changed[:, -6:], params[:, -6:])


def test_the_dtype_of_the_policy_is_kept():
    plain = networks.from_functions(lambda key: jnp.zeros((3, 2), jnp.bfloat16), lambda params, x: x @ params)
    assert networks.normalised(plain, 3).init(KEY).dtype == jnp.bfloat16


def test_errors():
    policy = networks.mlp(3, 2)
    with pytest.raises(ValueError, match=r"observation_size must .* at least 1, got 0"):
        networks.normalised(policy, 0)
    with pytest.raises(ValueError, match="not be normalised already"):
        networks.normalised(networks.normalised(policy, 3), 3)
