import jax.numpy as jnp
import numpy as np

from neuralmutator.envs.lander.sweeps import Sweeps


def test_many_sweeps_are_sweeps():
    random = np.random.default_rng(1)
    vectors = [tuple(map(jnp.float32, random.normal(size=2))) for _ in range(3)]
    sweeps = Sweeps.of(*vectors, (jnp.float32(0.6), jnp.float32(0.8)), 0.14, jnp.bool_(True), jnp.bool_(True))
    missing = tuple(map(jnp.float32, random.normal(size=3)))
    expected = missing
    for _ in range(21):
        expected = sweeps.sweep(expected)
    np.testing.assert_allclose(sweeps.sweeps(missing, 21), expected, rtol=2e-3, atol=1e-6)
