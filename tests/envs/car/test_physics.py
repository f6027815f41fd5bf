import jax
import jax.numpy as jnp
import numpy as np
import pytest
from Box2D import b2_polygonRadius, b2Distance, b2PolygonShape, b2Transform

from neuralmutator.envs.car import physics, track as car_track

STEP = jax.jit(physics.step)


@pytest.fixture(scope="module")
def parity(benchmark_named):
    """The parity report's functions."""
    return benchmark_named("car_parity")


@pytest.fixture(scope="module")
def track():
    return jax.jit(car_track.draw)(jax.random.key(0))


@pytest.fixture(scope="module")
def start(track):
    return jax.jit(physics.place)(track)


# Straight ahead, cars reach Box2D's greatest speed and some the end of the world.
@pytest.mark.parametrize(("driver", "most"), [("random", 1e-3), ("pursuit", 1e-3), ("straight", 2e-2)])
def test_drives_are_gymnasiums(parity, driver, most):
    numbers, row = parity["compare_drives"](range(12), driver)
    assert numbers[f"{driver}_error_max"] < most and numbers[f"{driver}_error_median"] < most / 4
    assert numbers[f"{driver}_rewards_alike"] == 1
    assert row[2] > 10  # the return


def test_masses_and_shapes_are_box2ds(parity):
    env = parity["world"]()
    env.reset(seed=0)
    hull, wheel = env.car.hull, env.car.wheels[0]
    assert pytest.approx(hull.mass, abs=1e-5) == physics.HULL_MASS
    assert pytest.approx(tuple(hull.localCenter), abs=1e-6) == tuple(physics.HULL_CENTRE)
    about_origin = physics.HULL_INERTIA + physics.HULL_MASS * np.sum(physics.HULL_CENTRE**2)
    assert pytest.approx(hull.inertia, abs=1e-4) == about_origin
    assert pytest.approx((wheel.mass, wheel.inertia), abs=1e-7) == (physics.WHEEL_MASS, physics.WHEEL_INERTIA)
    shapes = [{tuple(np.round(v, 4)) for v in fixture.shape.vertices} for fixture in hull.fixtures]
    assert all({tuple(np.round(v, 4)) for v in corners} in shapes for corners in physics.HULL) and len(shapes) == 4


def test_steering_leaves_its_limit_as_late_as_gymnasiums(parity):
    """It is left behind by up to two degrees; then the motors have to unload, in steps if they are to turn slowly."""
    env = parity["world"]()
    env.reset(seed=3)
    track = parity["track_of"](env)
    car, visited = jax.jit(physics.place)(track)
    stuck = 0
    for steer in [-1.0] * 10 + [-0.41] * 8 + [0.39] * 20 + [1.0] * 4 + [0.43] * 8 + [0.0] * 10:
        env.step(np.float32([steer, 0, 0]))
        before = car.wheel_angle - car.angle
        car, visited = STEP(car, visited, track, jnp.array([steer, 0, 0]))
        joint = car.wheel_angle - car.angle
        np.testing.assert_allclose(joint, [wheel.joint.angle for wheel in env.car.wheels], atol=1e-5)
        stuck += abs(steer + 0.41) < 1e-6 and abs(joint[0] - before[0]) < 1e-6 and joint[0] > 0.4101
    assert stuck > 0


def posed(car, x, y, angle, steering):
    """The car with its hull's centre of mass at a place, its wheels turned by f32[4]."""
    right, up = physics.turned(angle, tuple(physics.ANCHORS.T))
    return car._replace(x=x, y=y, angle=angle, wheel_x=x + right, wheel_y=y + up, wheel_angle=angle + steering)


def test_tiles_are_touched_where_box2d_says_so(track, start):
    """Cars on the road, and just beside it, against the distances of all wheels from all tiles."""
    random, touch, skin = np.random.default_rng(0), jax.jit(physics._touch), 2 * b2_polygonRadius
    tiles = int(track.tiles)
    heading, x, y = (np.asarray(a[:tiles], float) for a in (track.heading, track.x, track.y))
    aside = car_track.TRACK_WIDTH * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    left, right = np.stack([x, y], axis=1) - aside, np.stack([x, y], axis=1) + aside
    road = [
        b2PolygonShape(vertices=[tuple(map(float, v)) for v in (left[i], right[i], right[i - 1], left[i - 1])])
        for i in range(tiles)
    ]
    wheel = b2PolygonShape(box=(physics.WHEEL_WIDTH, physics.WHEEL_RADIUS))
    here, there = b2Transform(), b2Transform()
    here.SetIdentity()

    def distances(car):
        """From every wheel to every tile, [4][tiles], with the nearest points of both."""
        found = []
        for *place, angle in zip(*map(np.asarray, (car.wheel_x, car.wheel_y, car.wheel_angle)), strict=True):
            there.position, there.angle = tuple(map(float, place)), float(angle)
            found.append(
                [
                    b2Distance(shapeA=tile, shapeB=wheel, transformA=here, transformB=there, useRadii=False)
                    for tile in road
                ]
            )
        return found

    seen = []
    for trial in range(60):
        i = random.integers(tiles)
        place, steering = random.uniform(-16, 16, 2) + np.array([x[i], y[i]]), random.uniform(-0.4, 0.4, 4)
        pose = np.float32(random.uniform(-3, 3)), np.float32(steering)
        car = posed(start[0], *np.float32(place), *pose)
        found = distances(car)
        nearest = min((d for row in found for d in row), key=lambda d: d.distance)
        if nearest.distance > 0:  # moves it to where it touches by its skin, or just does not
            way = np.subtract(nearest.pointA, nearest.pointB)
            car = posed(start[0], *np.float32(place + way * (1 - (0.012, 0.032)[trial % 2] / nearest.distance)), *pose)
            found = distances(car)
        on_road, visited = touch(car, jnp.zeros(car_track.MAX_TILES, bool), track)
        assert not visited[tiles:].any()
        distance = np.array([[d.distance for d in row] for row in found])
        # Skins are round at corners: there ours reach further by a share.
        for ours, least in ((on_road, distance.min(axis=1)), (visited[:tiles], distance.min(axis=0))):
            clear = (least < skin - 1e-3) | (least > 1.5 * skin)
            np.testing.assert_array_equal(np.asarray(ours)[clear], least[clear] < skin)
        seen.append(distance.min())
    seen = np.array(seen)
    assert np.sum(seen == 0) > 5 and np.sum((seen > 0.01) & (seen < 0.015)) > 5 and np.sum(seen > 0.03) > 5


@pytest.mark.slow
def test_no_tile_out_of_reach_is_touched(start):
    """The tiles near the nearest point of the road, against all of them."""

    def compare(key, track):
        def one(key):
            keys = jax.random.split(key, 4)
            i = jax.random.randint(keys[0], (), 0, track.tiles)
            offset = jax.random.uniform(keys[1], (2,), minval=-11, maxval=11)
            angle = jax.random.uniform(keys[2], maxval=2 * np.pi)
            steering = jax.random.uniform(keys[3], (4,), minval=-0.4, maxval=0.4)
            car = posed(start[0], track.x[i] + offset[0], track.y[i] + offset[1], angle, steering)
            touched = touches(car.wheel_x, car.wheel_y, car.wheel_angle, left, right)[:, : car_track.MAX_TILES]
            touched &= jnp.arange(car_track.MAX_TILES) < track.tiles
            on_road, visited = physics._touch(car, jnp.zeros(car_track.MAX_TILES, bool), track)
            alike = jnp.all(on_road == touched.any(axis=1)) & jnp.all(visited == touched.any(axis=0))
            return alike, on_road.any()

        points = np.arange(-1, car_track.MAX_TILES) % track.tiles
        x, y, heading = track.x[points], track.y[points], track.heading[points]
        aside = car_track.TRACK_WIDTH * jnp.cos(heading), car_track.TRACK_WIDTH * jnp.sin(heading)
        left, right = (x - aside[0], y - aside[1]), (x + aside[0], y + aside[1])
        touches = jax.vmap(physics._touches, (0, 0, 0, None, None))
        return jax.vmap(one)(jax.random.split(key, 3000))

    tracks = jax.jit(jax.vmap(car_track.draw))(jax.random.split(jax.random.key(5), 8))
    alike, on_road = jax.jit(lambda keys: jax.lax.map(lambda x: compare(*x), (keys, tracks)))(
        jax.random.split(jax.random.key(6), 8)
    )
    assert np.all(alike) and 0.5 < np.mean(on_road) < 0.95


def test_rewards(start):
    car, visited = start
    tiles = jnp.int32(250)
    assert int(visited.sum()) == 2 and bool(visited[0])
    reward, lost = physics.reward(car, tiles, visited.sum())
    assert float(reward) == pytest.approx(2 * 4 - 0.1) and not lost
    x, y = physics.origin(car)
    for axis, place in (("x", x), ("y", y)):
        centre = getattr(car, axis)
        for edge, out in ((car_track.PLAYFIELD - 0.01, False), (-car_track.PLAYFIELD - 0.01, True)):
            reward, lost = physics.reward(car._replace(**{axis: edge + centre - place}), tiles, 0)
            assert bool(lost) == out and float(reward) == pytest.approx(-100 if out else -0.1)


def test_many_cars_drive_as_one_does(track, start):
    random = np.random.default_rng(0)
    actions = jnp.float32(random.uniform((-1, 0, 0), (1, 1, 0.3), (10, 5, 3)))

    def drive(actions):
        return jax.lax.scan(lambda now, action: (physics.step(*now, track, action), None), start, actions)[0]

    together = jax.jit(jax.vmap(drive, 1))(actions)
    for i in range(5):
        alone = jax.jit(drive)(actions[:, i])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a, b[i], atol=1e-4), alone, together)


def test_no_share_of_a_lap_ends_gymnasiums_episodes(parity):
    """Its `lap_complete_percent` is asked about when the first tile is new: within reset, by two visited tiles."""
    env = parity["world"]()
    for seed in range(5):
        env.reset(seed=seed)
        assert env.road[0].road_visited and env.tile_visited_count == 2 and not env.new_lap


@pytest.mark.parametrize(
    ("name", "value", "steps"),
    [("brake", np.float32(0.9), 10), ("brake", np.nan, 3), ("steering", np.nan, 1), ("steering", np.nan, 4)],
)
def test_odd_actions_do_what_they_do_in_gymnasium(parity, name, value, steps):
    """A brake of float32 0.9 does not block the wheels; NaN fails all comparisons and Box2D's clamps."""
    env = parity["world"]()
    env.reset(seed=1)
    track = parity["track_of"](env)
    car, visited = jax.jit(physics.place)(track)
    for t in range(50):
        action = np.float32([0.1, 0.5, 0.0])
        if 30 <= t < 30 + steps:
            action[("steering", "gas", "brake").index(name)] = value
        env.step(action)
        car, visited = STEP(car, visited, track, jnp.asarray(action))
    np.testing.assert_allclose((car.x, car.y), env.car.hull.worldCenter, atol=2e-3)
    np.testing.assert_allclose(car.omega, [wheel.omega for wheel in env.car.wheels], atol=2e-2)
    np.testing.assert_allclose(car.wheel_angle - car.angle, [wheel.joint.angle for wheel in env.car.wheels], atol=2e-3)


def test_a_gas_of_nan_ends_the_episode_without_a_return(track, start):
    """Gymnasium raises an error there."""
    car, visited = STEP(*start, track, jnp.array([0.0, jnp.nan, 0.0]))
    car, visited = STEP(car, visited, track, jnp.zeros(3))
    reward, over = physics.reward(car, track.tiles, 0)
    assert np.isnan(reward) and over
