import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from neuralmutator.nca import torus

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
KERNELS = {
    "laplacian": np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]]),
    "sobel_x": SOBEL,
    "sobel_y": SOBEL.T,
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_filter_is_a_correlation_on_a_torus(name):
    planes = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    expected = [ndimage.correlate(plane.astype(float), KERNELS[name], mode="wrap") for plane in planes]
    np.testing.assert_allclose(getattr(torus, name)(jnp.asarray(planes)), expected, atol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_its_gradient_is_that_of_the_correlation(name):
    rng = np.random.default_rng(1)
    planes, change = rng.normal(size=(2, 2, 4, 6)).astype(np.float32)
    matrix = np.zeros((24, 24))  # of one plane
    for i in range(24):
        unit = np.zeros((4, 6))
        unit.flat[i] = 1
        matrix[:, i] = ndimage.correlate(unit, KERNELS[name], mode="wrap").ravel()
    _, back = jax.vjp(getattr(torus, name), jnp.asarray(planes))
    expected = (change.reshape(2, 24) @ matrix).reshape(2, 4, 6)
    np.testing.assert_allclose(back(jnp.asarray(change))[0], expected, atol=1e-5)


def test_planes_and_back():
    grid = jnp.arange(24.0).reshape(2, 3, 4)
    assert torus.to_planes(grid).shape == (4, 2, 3)
    np.testing.assert_array_equal(torus.to_grid(torus.to_planes(grid)), grid)
