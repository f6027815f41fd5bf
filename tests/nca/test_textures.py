import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.nca import patterns, textures

TARGET = jnp.asarray(patterns.dots(64))


def noise(seed=0, size=64):
    return jax.random.uniform(jax.random.key(seed), (size, size, 3))


def pyramid_in_numpy(image, levels):
    taps, found = np.array([1, 4, 6, 4, 1]) / 16, []
    for _ in range(levels):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
        blurred = np.zeros_like(image)
        for i in range(5):
            for j in range(5):
                blurred += taps[i] * taps[j] * padded[i : i + len(image), j : j + image.shape[1]]
        found.append(image + 2 * (image - blurred))
        image = blurred[::2, ::2]
    return found


def test_a_pyramid():
    image = np.asarray(noise(size=20), np.float64)
    for mine, theirs in zip(
        pyramid_in_numpy(image, 3), textures.pyramid(jnp.asarray(image, jnp.float32), 3), strict=True
    ):
        np.testing.assert_allclose(theirs, mine, atol=1e-5)


def test_sorting_by_whole_numbers():
    values = jax.random.normal(jax.random.key(0), (3, 1000)) * jnp.array([[1e-3], [1.0], [1e4]])
    found = jax.jit(textures._sorted)(values)
    np.testing.assert_allclose(found, np.sort(values), rtol=1000 / 2**22)
    np.testing.assert_array_equal(np.sort(found), np.sort(values))
    weights = jnp.arange(1000.0)
    gradient = jax.grad(lambda values: jnp.sum(textures._sorted(values) * weights))(values)
    ranks = np.argsort(np.argsort(values))
    assert np.abs(np.asarray(gradient) - ranks).max() <= 3  # but for those that hardly differ


def test_the_distance_is_that_of_sorted_patches():
    """Patch by patch in NumPy; as many values as there are patches, so that nothing is resampled."""
    target, image = np.asarray(TARGET[:24, :24]), np.asarray(noise(1, 24))
    texture = textures.describe(jnp.asarray(target), size=3, directions=6, values=22 * 22, features=lambda x: [x])
    along = np.asarray(texture.directions[0]).reshape(6, -1)
    np.testing.assert_allclose(np.linalg.norm(along, axis=1), 1, atol=1e-6)

    def patches(image):
        return np.array([image[i : i + 3, j : j + 3].ravel() for i in range(22) for j in range(22)])

    wanted, found = np.sort(along @ patches(target).T), np.sort(along @ patches(image).T)
    np.testing.assert_allclose(texture.values[0], wanted, atol=1e-3)
    # Each of many directions is drawn about as often: the mean over draws is the mean over directions.
    distance = jax.jit(lambda key: textures.distance(key, texture, jnp.asarray(image), 6, 500, lambda x: [x]))
    drawn = np.mean([float(distance(jax.random.key(i))) for i in range(200)])
    assert drawn == pytest.approx(np.mean((found - wanted) ** 2), rel=0.05)


def test_nothing_is_nearer_than_the_target():
    loss = jax.jit(textures.loss(TARGET))
    key = jax.random.key(0)
    same, other, far = (
        float(loss(key, image)) for image in (TARGET, jnp.asarray(patterns.dots(96))[32:, 32:], noise())
    )
    assert same < 0.02 * far and other < 0.1 * far  # not 0: patches are drawn
    judged = textures.held_out(TARGET)
    exact = jax.jit(textures.exact_distance)
    assert float(exact(judged, TARGET)) < 1e-6 and float(exact(judged, noise())) > 0.1
    assert 0.05 < float(exact(judged, textures.shuffled(key, TARGET))) < float(exact(judged, noise()))


def test_shuffled_pixels_are_the_same_pixels():
    mixed = textures.shuffled(jax.random.key(0), TARGET)
    assert mixed.shape == TARGET.shape and not np.array_equal(mixed, TARGET)
    np.testing.assert_array_equal(
        np.sort(np.asarray(mixed).reshape(-1, 3), 0), np.sort(np.asarray(TARGET).reshape(-1, 3), 0)
    )


@pytest.mark.slow
def test_a_gradient_paints():
    loss = textures.loss(TARGET)
    image = noise(3)

    @jax.jit
    def descend(key, image):
        return image - 40 * jax.grad(loss, argnums=1)(key, image)

    before = float(loss(jax.random.key(0), image))
    for i in range(30):
        image = descend(jax.random.key(i), image)
    assert float(loss(jax.random.key(0), image)) < 0.5 * before


def test_several_images_are_taken_together():
    texture = textures.held_out(TARGET, levels=2)
    both = jnp.stack([TARGET, noise()])
    together = float(textures.exact_distance(texture, both))
    alone = float(textures.exact_distance(texture, noise()))
    assert 0.1 * alone < together < 0.6 * alone


def test_features_of_ones_own():
    colours = textures.loss(TARGET, features=lambda image: [image.mean((0, 1), keepdims=True) * jnp.ones((5, 5, 1))])
    assert float(colours(jax.random.key(0), textures.shuffled(jax.random.key(1), TARGET))) < 1e-6
    assert float(colours(jax.random.key(0), 0 * TARGET)) > 0.1


def test_overflow_and_the_loss_of_cells():
    cells = jnp.array([[[0.5, -0.5, 3.0]]])
    assert float(textures.overflow(cells)) == pytest.approx(4 / 3)
    automaton = nca.micro(4)
    loss = textures.texture_loss(automaton, lambda key, images: images.sum(), weight=2.0)
    cells = jnp.full((2, 2, 4), 1.5)
    assert float(loss(jax.random.key(0), cells)) == pytest.approx(2 * 2 * 3 * 2.0 + 2 * 0.25)
    seen = textures.texture_loss(automaton, lambda key, images: images.sum(), view=lambda key, colours: colours[:1])
    assert float(seen(jax.random.key(0), cells)) == pytest.approx(2 * 3 * 2.0 + 0.25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: textures.describe(jnp.zeros((64, 64))), r"target must have shape \(H, W, 3\), got \(64, 64\)"),
        (lambda: textures.describe(jnp.zeros((30, 64, 3))), "target must be larger: map 3 has 4 × 8 pixels"),
        (lambda: textures.describe(jnp.full((64, 64, 3), jnp.nan)), "target must be finite"),
        (lambda: textures.loss(TARGET)(jax.random.key(0), noise(size=30)), "images must be larger: map 3"),
        (lambda: textures.exact_distance(textures.held_out(TARGET), noise(size=40)), "images must be larger: map 3"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
