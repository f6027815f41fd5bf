"""The physics of CarRacing: a hull on four wheels that steer, spin and slip, as Gymnasium and Box2D move them.

Box2D sweeps 180 times over the joints. But nothing overcomes the motors of the joints: they prescribe how fast each
wheel turns against the hull, so that the car is one body of known momentum, and its velocity three numbers in closed
form. How the wheels are then put back to their places is Box2D's own way.

Units are metres, seconds, radians and kilograms. Wheels are in Gymnasium's order: front left and right, rear left and
right; so are the last axes of arrays.
"""

from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.envs.car.track import MAX_TILES, PLAYFIELD, TRACK_WIDTH, Track
from neuralmutator.envs.plane import Scalar, Vector, dot, solid, turned

FPS = 50
DT = 1 / FPS
SIZE = 0.02
"""Metres in a unit of Gymnasium's drawing of the car."""
HULL = [
    SIZE * np.array(corners)
    for corners in (
        [(-60, 110), (60, 110), (60, 130), (-60, 130)],
        [(-20, 20), (20, 20), (15, 120), (-15, 120)],
        [(-25, 20), (-50, -10), (-50, -40), (-20, -90), (20, -90), (50, -40), (50, -10), (25, 20)],
        [(-50, -120), (50, -120), (50, -90), (-50, -90)],
    )
]
"""Corners of the four polygons of the hull, in its own axes, about the point that Gymnasium calls its position."""
WHEEL_PLACES = SIZE * np.array([(-55, 80), (55, 80), (-55, -82), (55, -82)])
"""Centres of the wheels, as the hull's corners."""
WHEEL_WIDTH, WHEEL_RADIUS = 14 * SIZE, 27 * SIZE
"""Half the width, and half the length, of a wheel as it is seen from above."""
WHEEL = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (WHEEL_WIDTH, WHEEL_RADIUS)

_solids = [solid(corners, 1.0) for corners in HULL]
HULL_MASS = sum(mass for mass, _, _ in _solids)
HULL_CENTRE = np.sum([mass * centre for mass, centre, _ in _solids], axis=0) / HULL_MASS
HULL_INERTIA = sum(inertia + mass * float(np.sum((centre - HULL_CENTRE) ** 2)) for mass, centre, inertia in _solids)
WHEEL_MASS, _, WHEEL_INERTIA = solid(WHEEL, 0.1)
"""Its inertia is that against steering; against rolling it is `ROLL_INERTIA`."""
MASS = HULL_MASS + 4 * WHEEL_MASS
ANCHORS = WHEEL_PLACES - HULL_CENTRE

FRONT, REAR = np.array([True, True, False, False]), np.array([False, False, True, True])
POWER = 1e8 * SIZE**2
"""Of the engine, on each rear wheel, W."""
ROLL_INERTIA = 4000 * SIZE**2
GRIP = 1e6 * SIZE**2
"""The most that the road holds a wheel with, N."""
GRASS = 0.6
"""Share of it that grass has."""
SLIP = 205000 * SIZE**2
"""Force on a wheel for each m/s at which it slips, up to the grip."""
GAS_STEP = 0.1
"""The most that gas grows in a step."""
BRAKE = 15.0
"""By how much a full brake slows a wheel in a step, rad/s."""
BLOCK = np.nextafter(np.float32(0.9), np.float32(1))
"""Least brake at which wheels stand still: Gymnasium compares in float64, where the float32 0.9 is less than 0.9."""
STEER_GAIN, STEER_SPEED, STEER_LIMIT = 50.0, 3.0, 0.4
"""Of the motors that steer: 1/s, rad/s, rad."""
UNBOUNDED = 1e6
"""Rate of a joint whose motor never reaches the speed that it is asked for, rad/s."""
MOTOR_IMPULSE = 180 * 900 * SIZE**2 * DT
"""The most that they can do in a step, N m s."""
SWEEPS = 180
"""Of Box2D, over velocities: in each a motor adds to what presses its joint against a limit, or takes away from it."""

SKIN = 0.02
"""Distance at which wheels touch tiles: every polygon of Box2D wears a skin of 0.01."""
FASTEST, FASTEST_SPIN = 2 / DT, 0.5 * np.pi / DT
"""Speed and spin to which Box2D slows down bodies."""
LINEAR_SLOP, ANGULAR_SLOP = 0.005, np.deg2rad(2.0)
"""Violations of places and angles that Box2D leaves."""
PASSES = 60
"""The most that it corrects the places."""
REACH = 4
"""Tiles ahead of the point of the road nearest to the hull, and behind it, that wheels may touch."""


class Car(NamedTuple):
    """A car, by the centres of mass of its bodies."""

    x: Scalar
    y: Scalar
    angle: Scalar
    vx: Scalar
    vy: Scalar
    spin: Scalar
    wheel_x: jax.Array  # f32[4]
    wheel_y: jax.Array  # f32[4]
    wheel_angle: jax.Array  # f32[4]
    wheel_vx: jax.Array  # f32[4]
    wheel_vy: jax.Array  # f32[4]
    wheel_spin: jax.Array  # f32[4]
    omega: jax.Array  # f32[4] at which wheels roll, rad/s
    phase: jax.Array  # f32[4] how far they have rolled, rad
    gas: jax.Array  # f32[4] 0 to 1
    on_road: jax.Array  # bool[4] whether wheels touched a tile as the last step began: they feel it in the next
    pressed: jax.Array  # f32[4] impulse of the motors of the joints against their limits, N m s


def place(track: Track) -> tuple[Car, jax.Array]:
    """A car that stands at the beginning of a track after the step that Gymnasium's reset makes.

    Returns:
        The car, and which tiles it has visited, bool[MAX_TILES]: they are paid with the first step.
    """
    angle = track.heading[0]
    x, y = turned(angle, tuple(HULL_CENTRE))
    still, stands = jnp.zeros(()), jnp.zeros(4)
    car = Car(
        x=track.x[0] + x,
        y=track.y[0] + y,
        angle=angle,
        vx=still,
        vy=still,
        spin=still,
        # Gymnasium does not turn the places of the wheels with the hull: their joints have to pull them there.
        wheel_x=track.x[0] + jnp.float32(WHEEL_PLACES[:, 0]),
        wheel_y=track.y[0] + jnp.float32(WHEEL_PLACES[:, 1]),
        wheel_angle=stands + angle,
        wheel_vx=stands,
        wheel_vy=stands,
        wheel_spin=stands,
        omega=stands,
        phase=stands,
        gas=stands,
        on_road=stands > 0,
        pressed=stands,
    )
    return step(car, jnp.zeros(MAX_TILES, bool), track, jnp.zeros(3))


def step(car: Car, visited: jax.Array, track: Track, action: jax.Array) -> tuple[Car, jax.Array]:
    """A fiftieth of a second.

    Args:
        car: before the step.
        visited: bool[MAX_TILES] tiles that its wheels have touched.
        track: on which it drives.
        action: f32[3] steering -1 (left) to 1, gas 0 to 1, brake 0 to 1. As in Gymnasium a brake of NaN does nothing,
            and a steering of NaN lets the motors turn the front wheels to the left with all their might. A gas of NaN,
            which Gymnasium answers with an error, makes the car's numbers NaN.

    Returns:
        The car, and which tiles it has visited, after the step.
    """
    on_road, visited = _touch(car, visited, track)
    steer = jnp.where(FRONT, -action[0], 0.0)
    car = car._replace(gas=jnp.where(REAR, jnp.minimum(jnp.clip(action[1], 0.0, 1.0), car.gas + GAS_STEP), 0.0))
    joint = car.wheel_angle - car.angle
    rate = jnp.clip(STEER_GAIN * (steer - joint), -STEER_SPEED, STEER_SPEED)
    # Clamps of NaN are Box2D's upper bounds: such a motor does the most that it can.
    rate = jnp.where(jnp.isnan(steer), UNBOUNDED, rate)
    side = jnp.where(joint >= STEER_LIMIT, 1.0, jnp.where(joint <= -STEER_LIMIT, -1.0, 0.0))
    pressed = jnp.clip(car.pressed + SWEEPS * WHEEL_INERTIA * side * rate, 0.0, jnp.abs(side) * MOTOR_IMPULSE)
    car = _solve(_roll(car, action[2]), jnp.where(pressed > 0, 0.0, rate))
    return _settle(_move(car), side)._replace(on_road=on_road, pressed=pressed), visited


def origin(car: Car) -> Vector:
    """The point that Gymnasium calls the car's position."""
    x, y = turned(car.angle, tuple(HULL_CENTRE))
    return car.x - x, car.y - y


def reward(car: Car, tiles: jax.Array, new: jax.Array) -> tuple[Scalar, Scalar]:
    """The reward of a step, f32[], and whether the car has left the world, bool[]; NaN and True if the car is NaN.

    Args:
        car: after the step.
        tiles: i32[] number of tiles of the track.
        new: i32[] number of tiles that have been visited and not been paid.
    """
    x, y = origin(car)
    lost = (jnp.abs(x) > PLAYFIELD) | (jnp.abs(y) > PLAYFIELD)
    broken = jnp.isnan(x) | jnp.isnan(y)
    return jnp.where(broken, jnp.nan, jnp.where(lost, -100.0, 1000.0 * new / tiles - 0.1)), lost | broken


def _roll(car: Car, brake: Scalar) -> Car:
    """Engine, brakes, and the forces of the ground on the wheels."""
    omega = car.omega + DT * POWER / ROLL_INERTIA * car.gas / (jnp.abs(car.omega) + 5.0)
    slowed = jnp.sign(omega) * jnp.maximum(jnp.abs(omega) - jnp.where(brake > 0, BRAKE * brake, 0.0), 0.0)
    omega = jnp.where(brake >= BLOCK, 0.0, slowed)
    phase = car.phase + DT * omega
    cos, sin = jnp.cos(car.wheel_angle), jnp.sin(car.wheel_angle)
    ahead = SLIP * (omega * WHEEL_RADIUS + sin * car.wheel_vx - cos * car.wheel_vy)
    aside = -SLIP * (cos * car.wheel_vx + sin * car.wheel_vy)
    grip = jnp.where(car.on_road, GRIP, GRASS * GRIP)
    share = jnp.minimum(1.0, grip / jnp.maximum(jnp.sqrt(ahead * ahead + aside * aside), 1e-6))
    ahead, aside = share * ahead, share * aside
    return car._replace(
        omega=omega - DT * WHEEL_RADIUS / ROLL_INERTIA * ahead,
        phase=phase,
        wheel_vx=car.wheel_vx + DT / WHEEL_MASS * (cos * aside - sin * ahead),
        wheel_vy=car.wheel_vy + DT / WHEEL_MASS * (sin * aside + cos * ahead),
    )


def _solve(car: Car, rate: jax.Array) -> Car:
    """Velocities that the joints allow, of the same momentum.

    Args:
        car: with the velocities that its bodies would have alone.
        rate: f32[4] at which the wheels turn against the hull; `UNBOUNDED`: the motor does the most that it can.
    """
    free = rate == UNBOUNDED
    x, y = turned(car.angle, tuple(ANCHORS.T))
    px = HULL_MASS * car.vx + WHEEL_MASS * jnp.sum(car.wheel_vx)
    py = HULL_MASS * car.vy + WHEEL_MASS * jnp.sum(car.wheel_vy)
    own = jnp.where(free, -MOTOR_IMPULSE, WHEEL_INERTIA * (car.wheel_spin - rate))
    turning = own + WHEEL_MASS * (x * car.wheel_vy - y * car.wheel_vx)
    # The wheels' common centre is not the hull's: spin and velocity are coupled.
    cx, cy = -WHEEL_MASS * jnp.sum(y), WHEEL_MASS * jnp.sum(x)
    coupling = float(np.sum((WHEEL_MASS * ANCHORS.sum(axis=0)) ** 2)) / MASS
    inertia = HULL_INERTIA + 4 * WHEEL_INERTIA + WHEEL_MASS * float(np.sum(ANCHORS**2)) - coupling
    held = inertia - WHEEL_INERTIA * jnp.sum(free)
    spin = (HULL_INERTIA * car.spin + jnp.sum(turning) - (cx * px + cy * py) / MASS) / held
    vx, vy = (px - cx * spin) / MASS, (py - cy * spin) / MASS
    fast = jnp.minimum(car.wheel_spin + MOTOR_IMPULSE / WHEEL_INERTIA, FASTEST_SPIN)
    wheel_spin = jnp.where(free, fast, spin + rate)
    return car._replace(vx=vx, vy=vy, spin=spin, wheel_vx=vx - spin * y, wheel_vy=vy + spin * x, wheel_spin=wheel_spin)


def _move(car: Car) -> Car:
    """Moves all bodies at their velocities, which Box2D bounds."""
    vx, vy = _bounded(car.vx, car.vy)
    wheel_vx, wheel_vy = _bounded(car.wheel_vx, car.wheel_vy)
    return car._replace(
        x=car.x + DT * vx,
        y=car.y + DT * vy,
        angle=car.angle + DT * car.spin,
        vx=vx,
        vy=vy,
        wheel_x=car.wheel_x + DT * wheel_vx,
        wheel_y=car.wheel_y + DT * wheel_vy,
        wheel_angle=car.wheel_angle + DT * car.wheel_spin,
        wheel_vx=wheel_vx,
        wheel_vy=wheel_vy,
    )


def _bounded(vx: jax.Array, vy: jax.Array) -> Vector:
    share = jnp.minimum(1.0, FASTEST / jnp.maximum(jnp.sqrt(vx * vx + vy * vy), 1e-6))
    return share * vx, share * vy


def _settle(car: Car, side: jax.Array) -> Car:
    """Box2D's corrections of places, a joint after the other, the last wheel first, until none is off by much.

    Args:
        car: moved.
        side: f32[4] 1 or -1 for the joints that were at their upper or lower limit when the step began.
    """

    def joint(hull: tuple, wheel: tuple) -> tuple[tuple, tuple]:
        x, y, angle, settled = hull
        wheel_x, wheel_y, wheel_angle, side, anchor = wheel
        beyond = jnp.where(side == 0, 0.0, side * (wheel_angle - angle) - STEER_LIMIT)
        turn = side * jnp.maximum(beyond - ANGULAR_SLOP, 0.0) / (HULL_INERTIA + WHEEL_INERTIA)
        angle, wheel_angle = angle + turn * WHEEL_INERTIA, wheel_angle - turn * HULL_INERTIA
        right, up = turned(angle, (anchor[0], anchor[1]))
        dx, dy = wheel_x - x - right, wheel_y - y - up
        settled &= (dx * dx + dy * dy <= LINEAR_SLOP**2) & (beyond <= ANGULAR_SLOP)
        # The impulse that closes the joint, by the inverse of the matrix that says how an impulse opens it.
        xx, xy, yy = free + up * up / HULL_INERTIA, -right * up / HULL_INERTIA, free + right * right / HULL_INERTIA
        scale = 1 / (xx * yy - xy * xy)
        px, py = scale * (yy * dx - xy * dy), scale * (xx * dy - xy * dx)
        hull = x + px / HULL_MASS, y + py / HULL_MASS, angle + (right * py - up * px) / HULL_INERTIA, settled
        return hull, (wheel_x - px / WHEEL_MASS, wheel_y - py / WHEEL_MASS, wheel_angle)

    def correct(carry: tuple) -> tuple:
        passes, hull, wheels = carry
        places = (*wheels, side, jnp.float32(ANCHORS))
        return passes + 1, *jax.lax.scan(joint, (*hull[:3], jnp.bool_(True)), places, reverse=True)

    free = 1 / HULL_MASS + 1 / WHEEL_MASS
    hull, wheels = (car.x, car.y, car.angle, jnp.bool_(False)), (car.wheel_x, car.wheel_y, car.wheel_angle)
    _, (x, y, angle, _), (wheel_x, wheel_y, wheel_angle) = jax.lax.while_loop(
        lambda carry: ~carry[1][3] & (carry[0] < PASSES), correct, (jnp.int32(0), hull, wheels)
    )
    return car._replace(x=x, y=y, angle=angle, wheel_x=wheel_x, wheel_y=wheel_y, wheel_angle=wheel_angle)


def _touch(car: Car, visited: jax.Array, track: Track) -> tuple[jax.Array, jax.Array]:
    """Which wheels touch a tile, bool[4], and which tiles they have touched by now, bool[MAX_TILES].

    A road never comes closer to itself than 22 m: all tiles that can be touched follow each other.
    """
    distance = (track.x - car.x) ** 2 + (track.y - car.y) ** 2
    # The argmin as two reductions, which together take a fifth of its time.
    nearest = jnp.min(jnp.where(distance <= jnp.min(distance), jnp.arange(MAX_TILES), MAX_TILES))
    points = (nearest + np.arange(-REACH, REACH + 1)) % track.tiles
    aside = TRACK_WIDTH * jnp.cos(track.heading[points]), TRACK_WIDTH * jnp.sin(track.heading[points])
    x, y = track.x[points], track.y[points]
    left, right = (x - aside[0], y - aside[1]), (x + aside[0], y + aside[1])
    touched = jax.vmap(_touches, (0, 0, 0, None, None))(car.wheel_x, car.wheel_y, car.wheel_angle, left, right)
    return jnp.any(touched, axis=1), visited.at[points[1:]].max(jnp.any(touched, axis=0))


def _touches(x: Scalar, y: Scalar, angle: Scalar, left: Vector, right: Vector) -> jax.Array:
    """Which tiles, between n cross-sections of the road with these ends, a wheel touches: bool[n - 1].

    Both are convex: they are apart if one is beyond an edge of the other.
    """
    left, right = (turned(-angle, (ends[0] - x, ends[1] - y)) for ends in (left, right))
    behind, ahead = slice(None, -1), slice(1, None)
    corners = [(p[0][i], p[1][i]) for p, i in ((left, behind), (left, ahead), (right, ahead), (right, behind))]
    apart = jnp.zeros_like(corners[0][0], bool)
    for a, b in pairwise([*corners, corners[0]]):
        out = a[1] - b[1], b[0] - a[0]
        gap = -dot(out, a) - WHEEL_WIDTH * jnp.abs(out[0]) - WHEEL_RADIUS * jnp.abs(out[1])
        apart |= gap >= SKIN * jnp.sqrt(dot(out, out))
    for axis, extent in enumerate((WHEEL_WIDTH + SKIN, WHEEL_RADIUS + SKIN)):
        places = [corner[axis] for corner in corners]
        apart |= (reduce(jnp.minimum, places) >= extent) | (reduce(jnp.maximum, places) <= -extent)
    return ~apart
