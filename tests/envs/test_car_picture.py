import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.envs import car_physics, car_picture as picture, car_track


@pytest.fixture(scope="module")
def track():
    return jax.jit(car_track.draw)(jax.random.key(0))


@pytest.fixture(scope="module")
def raster(track):
    return np.asarray(jax.jit(picture.paint)(track))


def test_pictures_are_gymnasiums(benchmark_named):
    """Of the same drives, touched tiles and scores included."""
    numbers, pairs = benchmark_named("car_parity")["compare_pictures"](range(2))
    assert numbers["picture_error"] < 0.4 and numbers["picture_error_instruments"] < 0.2
    assert numbers["picture_error_zooming"] < 1.0
    assert pairs.std() > 30


def test_scores_are_drawn_as_pygame_draws_them(benchmark_named):
    table = benchmark_named("car_score_table")["score_table"]()
    np.testing.assert_array_equal(picture._SCORES, table)
    assert picture._LOWEST == -200 and len(table) == 1200


def test_the_raster_knows_its_tiles(track, raster):
    """The middle of every tile, and grass where no road is, at both greens."""
    tiles = int(track.tiles)
    x, y = ((np.asarray(a)[:tiles] + np.roll(a[:tiles], 1)) / 2 for a in (track.x, track.y))
    cells = [np.floor(p / picture.CELL + picture.SIDE / 2).astype(int) for p in (y, x)]
    found = raster[tuple(cells)]
    np.testing.assert_array_equal(found >> 23, np.arange(1, tiles + 1))
    assert np.all(found & 0xFFFF == (picture.ROAD << 8) + picture.ROAD)
    corner = raster[: picture.CELLS, : picture.CELLS]
    assert set(np.unique(corner >> 23)) == {0}
    green = (corner >> 8) & 255
    assert np.mean(green == picture.LIGHT) == pytest.approx(0.25, abs=0.03)  # all but the blurred edges
    assert green.min() == picture.GRASS and green.max() == picture.LIGHT


def test_a_batch_of_tracks_is_painted_as_each_alone(track, raster):
    other = jax.jit(car_track.draw)(jax.random.key(8))
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), other, track)
    painted = jax.jit(jax.vmap(picture.paint))(both)
    np.testing.assert_array_equal(painted[1], raster)
    assert jnp.any(painted[0] != raster)


def test_what_is_seen_far_out(track, raster):
    """Beyond the raster there is grass, and black beyond the world: against the formula of Gymnasium's patches."""
    car, visited = jax.jit(car_physics.place)(track)
    for place in ((300.0, -280.0), (-320.0, 10.0), (331.0, 331.0)):
        there = car._replace(x=jnp.float32(place[0]), y=jnp.float32(place[1]), angle=jnp.float32(0.7))
        frame = np.asarray(jax.jit(picture.draw)(jnp.asarray(raster), visited, there, 100, jnp.float32(0)))
        origin = car_physics.origin(there)
        cos, sin = np.cos(0.7), np.sin(0.7)
        right = ((np.arange(96) + 0.5) * 1000 / 96 - 500) / picture.ZOOM
        up = (600 - (np.arange(66) + 0.5) * 800 / 96)[:, None] / picture.ZOOM
        x, y = origin[0] + cos * right - sin * up, origin[1] + sin * right + cos * up
        black = (np.abs(x) > 1000 / 3) | (np.abs(y) > 1000 / 3)
        light = ((x // picture.PATCH) % 2 == 0) & ((y // picture.PATCH) % 2 == 0)
        want = np.where(black, 0, np.where(light, picture.LIGHT, picture.GRASS))
        edge = np.zeros_like(black)
        for axis in (x, y):
            offset = axis % picture.PATCH
            edge |= np.minimum(offset, picture.PATCH - offset) < 0.8
        np.testing.assert_array_equal(frame[:66, :, 1][~edge], want[~edge])
        assert (~edge).mean() > 0.7


def test_tiles_turn_plain_when_they_are_visited(track, raster):
    car, visited = jax.jit(car_physics.place)(track)
    draw = jax.jit(picture.draw)
    frames = [
        np.asarray(draw(jnp.asarray(raster), seen, car, 100, jnp.float32(0)), int)[:84]
        for seen in (jnp.zeros_like(visited), jnp.ones_like(visited))
    ]
    road = np.all(frames[1] == picture.ROAD, axis=2)
    lighter = (frames[0] - frames[1])[road]
    assert set(np.unique(lighter)) == set(picture.SHADES) and np.all(lighter[:, 0] == lighter[:, 1])


@pytest.mark.parametrize(("score", "shown"), [(-0.4, 0), (7.9, 7), (-12.3, -12), (5000.0, 999)])
def test_scores_are_cut_off(track, raster, score, shown):
    car, visited = jax.jit(car_physics.place)(track)
    frame = np.asarray(jax.jit(picture.draw)(jnp.asarray(raster), visited, car, 9, jnp.float32(score)))
    np.testing.assert_array_equal(frame[84:][picture.SCORE_PLACE][:, :, 1], picture._SCORES[shown + 200])
