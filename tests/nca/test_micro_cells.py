import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca, rollout

PUBLISHED = np.array(
    [
        *((-67, 1, 2, 44), (-13, -59, 4, 30), (-1, 16, -57, 9), (-10, -4, -2, -41)),
        *((19, -18, -1, 8), (-4, 35, 8, 0), (-4, -4, -1, 0), (34, 31, 21, -25)),
        *((4, 13, 18, -57), (-79, -22, -25, 71), (-12, -11, 24, 27), (-17, -8, -7, 6)),
        *((11, 10, 4, 0), (4, 1, 2, 7), (-26, -33, -15, -3), (22, 27, 20, -34)),
    ]
)
"""A texture of 68 numbers that was published with a demonstration in GLSL, in thousandths. Its filter in y looks up
where ours looks down, so the sign of that row differs."""
BIAS = np.array([2, -5, -13.5, 9])


def published():
    w = PUBLISHED.copy()
    w[7] = -w[7]
    return jnp.asarray(np.concatenate([w.ravel(), BIAS]) / 1000, jnp.float32)


@pytest.mark.parametrize(("channels", "count"), [(4, 68), (6, 150), (8, 264), (12, 588)])
def test_how_many_numbers(channels, count):
    automaton = nca.micro(channels)
    assert automaton.num_params == count == automaton.init(jax.random.key(0)).size
    cells = automaton.start(jax.random.key(1), (5, 6))
    assert cells.shape == (5, 6, channels) and 0.4 < float(jnp.abs(cells).max()) <= 0.5


def test_a_published_texture_step_by_step():
    """Numbers that an independent program in float64 gave for the published weights from a smooth start."""
    y, x, c = np.mgrid[:32, :32, :4]
    cells = jnp.asarray(0.3 * np.sin(2 * np.pi * (3 * x + 5 * y) / 32 + c), jnp.float32)
    automaton, params = nca.micro(4), published()
    expected = {
        1: ((0.075198, 0.280744, 0.305762, -0.014724), (-0.237827, -0.290752, -0.116954, 0.176436)),
        2: ((0.137986, 0.308836, 0.336623, -0.063293), (-0.254299, -0.287375, -0.126525, 0.173295)),
        10: ((0.129068, 0.187222, 0.305728, -0.036269), (-0.222185, -0.222638, -0.151408, 0.204834)),
        100: ((-0.114711, -0.146992, -0.169474, 0.103891), (-0.175425, -0.197427, -0.200928, 0.139533)),
    }
    update = jax.jit(automaton.update)
    for t in range(1, 101):
        cells = update(jax.random.key(0), params, cells)
        if t in expected:
            np.testing.assert_allclose(cells[0, 0], expected[t][0], atol=2e-5)
            np.testing.assert_allclose(cells[5, 9], expected[t][1], atol=2e-5)
    np.testing.assert_allclose(cells.mean((0, 1)), (-0.148099, -0.175277, -0.188628, 0.125036), atol=2e-5)
    np.testing.assert_allclose(cells.std((0, 1)), (0.0194, 0.0158, 0.0101, 0.0148), atol=1e-4)


def test_a_published_texture_from_a_rough_start():
    automaton = nca.micro(4)
    start = automaton.start(jax.random.key(3), (64, 64))
    cells, _ = jax.jit(lambda cells: rollout(automaton.step(published()), jax.random.key(0), cells, 2000))(start)
    np.testing.assert_allclose(cells.mean((0, 1)), (-0.03, -0.09, -0.135, 0.10), atol=0.02)
    np.testing.assert_allclose(cells.std((0, 1)), (0.10, 0.09, 0.056, 0.088), atol=0.015)
    assert float(jnp.abs(cells).max()) <= 0.5


def test_bad_input():
    with pytest.raises(ValueError, match="channels must be one of 4, 6, 8, 12, got 5"):
        nca.micro(5)
