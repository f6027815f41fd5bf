import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.envs import CarRacing
from neuralmutator.envs.car import physics as car_physics, picture, track as car_track

ROAD, GRASS, LIGHT = 100, 202, 228
"""As they are seen: the road, and the green of grass and of its patches."""
SHADES = (0, 2, 5)


@pytest.fixture(scope="module")
def track():
    return jax.jit(car_track.draw)(jax.random.key(0))


@pytest.fixture(scope="module")
def raster(track):
    return np.asarray(jax.jit(picture.paint)(track, picture.PLAIN))


def test_pictures_are_gymnasiums(benchmark_named):
    """Of the same drives, touched tiles and scores included."""
    numbers, pairs = benchmark_named("car_parity")["compare_pictures"](range(2))
    assert numbers["picture_error"] < 0.4 and numbers["picture_error_instruments"] < 0.2
    assert numbers["picture_error_zooming"] < 1.0
    assert pairs.std() > 30


def test_scores_are_drawn_as_pygame_draws_them(benchmark_named):
    table = benchmark_named("car_score_table")["score_table"]()
    np.testing.assert_array_equal(picture.scores()[0], table)
    assert picture.scores()[1] == -200 and len(table) == 1200


def test_the_raster_knows_its_tiles(track, raster):
    """The middle of every tile, and grass where no road is, at both greens."""
    tiles = int(track.tiles)
    x, y = ((np.asarray(a)[:tiles] + np.roll(a[:tiles], 1)) / 2 for a in (track.x, track.y))
    cells = [np.floor(p / picture.CELL + picture.SIDE / 2).astype(int) for p in (y, x)]
    found = raster[tuple(cells)]
    np.testing.assert_array_equal(found >> 23, np.arange(1, tiles + 1))
    assert np.all(found & 0xFFFF == (ROAD << 8) + ROAD)
    corner = raster[: picture.CELLS, : picture.CELLS]
    assert set(np.unique(corner >> 23)) == {0}
    green = (corner >> 8) & 255
    assert np.mean(green == LIGHT) == pytest.approx(0.25, abs=0.03)  # all but the blurred edges
    assert green.min() == GRASS and green.max() == LIGHT


def test_a_batch_of_tracks_is_painted_as_each_alone(track, raster):
    other = jax.jit(car_track.draw)(jax.random.key(8))
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), other, track)
    painted = jax.jit(jax.vmap(picture.paint, (0, None)))(both, picture.PLAIN)
    np.testing.assert_array_equal(painted[1], raster)
    assert jnp.any(painted[0] != raster)


def test_what_is_seen_far_out(track, raster):
    """Beyond the raster there is grass, and black beyond the world: against the formula of Gymnasium's patches."""
    car, visited = jax.jit(car_physics.place)(track)
    for place in ((300.0, -280.0), (-320.0, 10.0), (331.0, 331.0)):
        there = car._replace(x=jnp.float32(place[0]), y=jnp.float32(place[1]), angle=jnp.float32(0.7))
        frame = np.asarray(
            jax.jit(picture.draw)(jnp.asarray(raster), visited, there, 100, jnp.float32(0), picture.PLAIN.road)
        )
        origin = car_physics.origin(there)
        cos, sin = np.cos(0.7), np.sin(0.7)
        right = ((np.arange(96) + 0.5) * 1000 / 96 - 500) / picture.ZOOM
        up = (600 - (np.arange(66) + 0.5) * 800 / 96)[:, None] / picture.ZOOM
        x, y = origin[0] + cos * right - sin * up, origin[1] + sin * right + cos * up
        black = (np.abs(x) > 1000 / 3) | (np.abs(y) > 1000 / 3)
        light = ((x // picture.PATCH) % 2 == 0) & ((y // picture.PATCH) % 2 == 0)
        want = np.where(black, 0, np.where(light, LIGHT, GRASS))
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
        np.asarray(draw(jnp.asarray(raster), seen, car, 100, jnp.float32(0), picture.PLAIN.road), int)[:84]
        for seen in (jnp.zeros_like(visited), jnp.ones_like(visited))
    ]
    road = np.all(frames[1] == ROAD, axis=2)
    lighter = (frames[0] - frames[1])[road]
    assert set(np.unique(lighter)) == set(SHADES) and np.all(lighter[:, 0] == lighter[:, 1])


@pytest.mark.parametrize(("score", "shown"), [(-0.4, 0), (7.9, 7), (-12.3, -12), (5000.0, 999)])
def test_scores_are_cut_off(track, raster, score, shown):
    car, visited = jax.jit(car_physics.place)(track)
    frame = np.asarray(
        jax.jit(picture.draw)(jnp.asarray(raster), visited, car, 9, jnp.float32(score), picture.PLAIN.road)
    )
    np.testing.assert_array_equal(frame[84:][picture.SCORE_PLACE][:, :, 1], picture.scores()[0][shown + 200])


@pytest.mark.slow
def test_random_colours_are_gymnasiums(benchmark_named):
    """Pictures of one drive in the colours that Gymnasium drew; and what is drawn here, as a sample."""
    env = gymnasium.make("CarRacing-v3", domain_randomize=True).unwrapped
    env.reset(seed=5)
    ours = CarRacing(domain_randomize=True)
    colours = picture.Colours(*map(jnp.float32, (env.road_color, env.bg_color, env.grass_color)))
    track = benchmark_named("car_parity")["track_of"](env)
    _, state = jax.jit(ours.reset_on)(track, ours.default_params, colours)
    step = jax.jit(ours.step_env)
    for t in range(80):
        action = np.float32([0.0, 0.3, 0.0])
        wanted, *_ = env.step(action)
        seen, state, *_ = step(jax.random.key(t), state, action, ours.default_params)
    error = np.abs(np.asarray(seen, int) - wanted).mean(axis=(0, 1))
    assert np.all(error < 0.8) and np.asarray(wanted).std() > 20

    drawn = jax.vmap(picture.draw_colours)(jax.random.split(jax.random.key(0), 500))
    assert drawn.road.min() >= 0 and 205 < drawn.road.max() < 210 and abs(drawn.background.mean() - 105) < 5
    lighter = np.asarray(drawn.grass - drawn.background)
    np.testing.assert_allclose(np.sort(lighter, axis=1), np.tile([0, 0, 20], (500, 1)), atol=1e-4)
    assert np.all(np.bincount(lighter.argmax(axis=1)) > 120)
