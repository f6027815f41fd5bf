import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca


def bumpy(frequency=12):
    """A ball with bumps, and triangles of different sizes."""
    ball = np.asarray(nca.icosphere(frequency).vertices, float)
    x, y, z = ball.T
    return nca.surface(
        ball * (1 + 0.1 * np.sin(4 * x + 3 * y) * np.cos(5 * z))[:, None], nca.icosphere(frequency).faces
    )


SURFACES = [nca.icosphere(12), nca.torus_surface(48, 24), bumpy()]


@pytest.mark.parametrize("surface", SURFACES)
def test_pixels_lie_evenly_on_faces_of_the_surface_seen_from_outside(surface):
    charts = nca.surface_charts(surface, jax.random.key(0), count=10, size=8, pixel=0.7)
    assert charts.vertices.shape == charts.weights.shape == (10, 8, 8, 3)
    weights = np.asarray(charts.weights)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    places = np.asarray(nca.chart_images(charts, surface.vertices), float)
    faces = {tuple(face) for face in np.asarray(surface.faces).tolist()}
    assert {tuple(seen) for seen in np.asarray(charts.vertices).reshape(-1, 3).tolist()} <= faces
    step = 0.7 * float(surface.edge)
    normals = np.asarray(nca.chart_images(charts, surface.normals), float).mean((1, 2))
    for seen, outward in zip(places, normals, strict=True):
        # A window's axes are what its points, less their height, lie evenly along: fitted from all of them.
        rows, columns = np.mgrid[:8, :8].reshape(2, -1) - 3.5
        fitted = np.linalg.lstsq(np.stack([rows, columns, np.ones(64)], 1), seen.reshape(-1, 3), rcond=None)[0]
        assert np.cross(fitted[0], fitted[1]) @ outward > 0.5 * step**2  # right, up, outward: not mirrored
        assert np.linalg.norm(fitted[:2], axis=1) == pytest.approx(step, rel=0.25)


def test_a_plane_seen_from_above():
    """A box, whose sides are flat: a linear function is reproduced by every pixel, at its place."""
    n = 16
    box, faces, number = [], [], {}

    def at(p):
        return number.setdefault(tuple(p), len(number))

    for axis in range(3):
        for side in (0, n):
            for i in range(n):
                for j in range(n):
                    square = [np.insert([i + a, j + b], axis, side) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
                    a, b, c, d = (at(p) for p in (square if (side == n) == (axis != 1) else square[::-1]))
                    faces += [(a, b, c), (a, c, d)]
    box = np.array(list(number), float)
    surface = nca.surface(box, faces)
    assert np.linalg.det(box[np.array(faces)] - n / 2).sum() > 0  # turned outward
    flat = [i for i, p in enumerate(box) if ((p > 4) & (p < n - 4)).sum() == 2]
    charts = nca.surface_charts(surface, jax.random.key(1), count=60, size=5, pixel=0.5)
    places = np.asarray(nca.chart_images(charts, surface.vertices), float)
    middle = places[:, 2, 2]
    checked = 0
    step = 0.5 * float(surface.edge)
    for seen, centre in zip(places, middle, strict=True):
        if not np.isclose(box[flat], centre, atol=1e-4).all(1).any():
            continue
        axis = int(np.flatnonzero(np.isin(centre.round(3), (0, n)))[0])
        down, right = seen[3, 2] - seen[2, 2], seen[2, 3] - seen[2, 2]
        expected = centre + (np.arange(5) - 2)[:, None, None] * down + (np.arange(5) - 2)[:, None] * right
        np.testing.assert_allclose(seen, expected, atol=1e-4)
        np.testing.assert_allclose([np.linalg.norm(down), np.linalg.norm(right)], step, rtol=1e-5)
        outward = np.zeros(3)
        outward[axis] = 1 if centre[axis] > n / 2 else -1
        np.testing.assert_allclose(np.cross(right, -down), outward * step**2, atol=1e-4)  # not mirrored
        if axis != 1:
            np.testing.assert_allclose(down, [0, -step, 0], atol=1e-4)  # the upper edge points to y
        checked += 1
    assert checked >= 5
    slope = np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]])
    found = nca.chart_images(charts, jnp.asarray(box @ slope + 0.7, jnp.float32))
    np.testing.assert_allclose(found, places @ slope + 0.7, atol=1e-4)


def test_on_a_sphere_pixels_lie_on_lines_along_the_normal():
    ball = nca.icosphere(24)
    charts = nca.surface_charts(ball, jax.random.key(2), count=6, size=9, pixel=1.0)
    places = np.asarray(nca.chart_images(charts, ball.vertices), float)
    for seen in places:
        normal = seen[4, 4]
        flat = seen - (seen @ normal)[..., None] * normal
        step = float(ball.edge)
        rows, columns = np.mgrid[:9, :9] - 4
        np.testing.assert_allclose(np.linalg.norm(flat, axis=-1), step * np.hypot(rows, columns), atol=0.02 * step)
        np.testing.assert_allclose(np.linalg.norm(seen, axis=-1), 1, atol=2e-3)  # and on the near side
        assert (seen @ normal).min() > 0.9


def test_pictures_are_differentiable_and_what_their_weights_say():
    ball = SURFACES[0]
    charts = nca.surface_charts(ball, jax.random.key(0), count=3, size=4)
    weight = jax.random.normal(jax.random.key(1), (3, 4, 4, 2))
    found = jax.grad(lambda v: jnp.sum(nca.chart_images(charts, v) * weight))(jnp.zeros((ball.num_vertices, 2)))
    expected = np.zeros((ball.num_vertices, 2))
    for n, i, j, k in np.ndindex(3, 4, 4, 3):
        expected[charts.vertices[n, i, j, k]] += charts.weights[n, i, j, k] * np.asarray(weight[n, i, j])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_beyond_the_outline_the_nearest_pixel_is_seen():
    """A thin tube: the pixels at the sides of its windows see its outline."""
    tube = nca.torus_surface(60, 12, ratio=5.0)
    charts = nca.surface_charts(tube, jax.random.key(0), count=4, size=5, pixel=1.0)
    places = np.asarray(nca.chart_images(charts, tube.vertices), float)
    assert np.isfinite(places).all()
    with pytest.raises(ValueError, match="size and pixel must be smaller for this surface"):
        nca.surface_charts(tube, jax.random.key(0), count=4, size=24, pixel=1.0)


def test_the_same_key_gives_the_same_charts_and_another_others():
    found = [nca.surface_charts(SURFACES[0], jax.random.key(i), 4, 4) for i in (0, 0, 1)]
    np.testing.assert_array_equal(found[0].vertices, found[1].vertices)
    assert (found[0].vertices != found[2].vertices).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be a whole number"),
        ({"size": 0}, "size must be a whole number"),
        ({"pixel": 0.0}, "pixel must be a finite number above 0"),
        ({"key": 3}, "key must come from jax.random.key"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        nca.surface_charts(SURFACES[0], **({"key": jax.random.key(0)} | options))


def test_a_sphere_from_afar():
    sphere = nca.icosphere(6)
    view = nca.surface_view(sphere, 64, direction=(0.0, 0.0, 1.0))
    seen = np.asarray(view.light) > 0
    assert seen.mean() == pytest.approx(np.pi * 0.47**2, rel=0.03)  # a disc of 0.47 of the picture
    assert float(view.light[32, 32]) > 0.99 and float(view.light[seen].min()) < 0.8
    # Where a pixel is, the front of the unit sphere has this place.
    places = np.asarray(nca.chart_images(view.charts, sphere.vertices)[0])[seen]
    rows, columns = np.nonzero(seen)
    np.testing.assert_allclose(places[:, 0], (columns - 31.5) / (0.47 * 64), atol=0.03)
    np.testing.assert_allclose(places[:, 1], -(rows - 31.5) / (0.47 * 64), atol=0.03)
    assert (places[:, 2] > -0.05).all()
    picture = nca.view_image(view, jnp.full_like(sphere.vertices, 0.5))
    assert picture.shape == (64, 64, 3) and float(picture[0, 0, 0]) == 1 and 0.49 < float(picture[32, 32, 0]) <= 0.5
    top = int(np.argmax(sphere.vertices[:, 1]))
    np.testing.assert_allclose(view.places[top], (31.5 - 0.47 * 64, 31.5), atol=1.5)
    with pytest.raises(ValueError, match="direction must be three numbers that are not all 0"):
        nca.surface_view(sphere, 64, (0, 0, 0))
