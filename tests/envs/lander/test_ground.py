import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.envs.lander.ground import ground_near


def test_the_ground_near_a_body():
    """Against the whole ground, looked up by NumPy."""
    random = np.random.default_rng(0)
    terrain = random.uniform(0, 5, 11)
    for _ in range(100):
        x = random.uniform(0.5, 19.5)
        px, py = x + random.uniform(-0.7, 0.7), random.uniform(0, 6)
        piece = int(np.clip(px // 2, 0, 9))
        slope = (terrain[piece + 1] - terrain[piece]) / 2
        height = terrain[piece] + slope * (px - 2 * piece)
        distance, normal = ground_near(jnp.asarray(terrain), jnp.float32(x)).distance(px, py)
        assert float(distance) == pytest.approx((py - height) / np.hypot(1, slope), abs=1e-4)
        np.testing.assert_allclose(normal, np.array([-slope, 1]) / np.hypot(1, slope), atol=1e-5)
