import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_joined_borders_perceive_as_three_copies_side_by_side(angle):
    grid = jax.random.normal(jax.random.key(0), (5, 6, 3))
    copies = jnp.tile(grid, (3, 3, 1))
    expected = nca.perceive(copies, angle)[5:10, 6:12]
    np.testing.assert_allclose(nca.perceive(grid, angle, "joined"), expected, atol=1e-6)
    assert not np.allclose(nca.perceive(grid, angle), expected, atol=0.1)


def test_no_such_border():
    with pytest.raises(ValueError, match="border must be one of empty, joined, got 'round'"):
        nca.perceive(jnp.zeros((3, 3, 4)), border="round")
