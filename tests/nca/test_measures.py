import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from neuralmutator import nca, rollout

AUTOMATON = nca.growing(channels=6, hidden=9)
TARGET = jax.random.uniform(jax.random.key(8), (11, 11, 4))


def test_recovery_is_measured_before_at_and_after():
    params = 0.1 * jax.random.normal(jax.random.key(0), (AUTOMATON.num_params,))
    mask, key = nca.cut("left", 11, 11), jax.random.key(1)
    found = jax.jit(lambda params: nca.recovery(AUTOMATON, key, params, TARGET, mask, grow=7, heal=5))(params)
    grid = nca.seed_grid((11, 11), 6)
    losses, update = [], jax.jit(AUTOMATON.update)
    for t in range(12):
        if t == 7:
            losses.append(np.mean((np.asarray(grid * mask)[..., :4] - np.asarray(TARGET)) ** 2))
            grid = grid * mask
        grid = update(jax.random.fold_in(key, t), params, grid)
        losses.append(np.mean((np.asarray(grid)[..., :4] - np.asarray(TARGET)) ** 2))
    assert [float(found.before), float(found.at), float(found.after)] == pytest.approx(
        [float(losses[i]) for i in (6, 7, -1)], rel=1e-4
    )
    np.testing.assert_allclose(found.later, losses[8:], rtol=1e-4)
    assert losses[6] != pytest.approx(losses[7], rel=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.1, np.pi / 2])
def test_turning_an_image(angle):
    image = np.asarray(TARGET)
    rows, columns = np.mgrid[:11, :11] - 5.0
    source = [np.sin(angle) * columns + np.cos(angle) * rows + 5, np.cos(angle) * columns - np.sin(angle) * rows + 5]
    expected = np.stack(
        [ndimage.map_coordinates(image[..., i], source, order=1, mode="grid-constant") for i in range(4)], -1
    )
    np.testing.assert_allclose(nca.rotate_image(TARGET, angle), expected, atol=1e-4)
    if angle == np.pi / 2:
        np.testing.assert_allclose(expected, np.rot90(image), atol=1e-5)


def test_what_grows_turned_is_compared_with_the_turned_target():
    params = 0.1 * jax.random.normal(jax.random.key(4), (AUTOMATON.num_params,))
    key = jax.random.key(0)

    def make(angle):
        return nca.growing(channels=6, hidden=9, fire_rate=1.0, angle=angle)

    grown, _ = rollout(make(0.0).step(params), key, nca.seed_grid((11, 11), 6), 4)
    target = grown[..., :4]
    right = nca.rotation_loss(make, key, params, target, np.pi / 2, grow=4)
    wrong = nca.rotation_loss(make, key, params, jnp.rot90(target, 2), np.pi / 2, grow=4)
    assert float(right) < 1e-9 < 1e-4 < float(wrong)
