"""Corrections of the lander's places: sunken corners, legs beyond their limits, open joints; and fast impacts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.envs.lander.bodies import (
    ANGULAR_SLOP,
    DT,
    FRICTION,
    HULL_ANCHOR,
    HULL_INERTIA,
    HULL_MASS,
    INERTIA,
    LEG_ANCHORS,
    LEG_INERTIA,
    LEG_MASS,
    LINEAR_SLOP,
    LOWER,
    MASS,
    SKIN,
    UPPER,
    Bodies,
    Three,
)
from neuralmutator.envs.lander.ground import Ground, corner_distances, facing
from neuralmutator.envs.lander.velocities import Side
from neuralmutator.envs.plane import Scalar, Vector, along, cross, dot, least, plus, select, turned

LARGEST_CORRECTION, LARGEST_TURN = 0.2, np.deg2rad(8.0)
"""The most that it corrects at once, m and rad."""
STIFFNESS = 0.2
"""Share of how far a corner sank in that is corrected at once."""
IMPACT, TOLERANCE = 0.005, 0.00125
"""Distance from the ground at which a fast leg is stopped within a step, and by how much that may be missed, m."""
IMPACTS = 2
"""Of a leg in a step; Box2D makes up to 8."""
IMPACT_PASSES, IMPACT_SWEEPS = 3, 20
"""Over places and velocities of a leg that is stopped; Box2D makes up to 20 and 180, which change nothing more."""
IMPACT_STIFFNESS = 0.75
"""Share of how far a corner sank in that one of these passes corrects."""


def correct(_: int, carry: tuple, sides: tuple[Side, ...]) -> tuple:
    """Moves bodies apart where they sank in, turns legs back into their limits, puts joints together."""
    before, settled = carry[:3], carry[3]
    x, y, angle = (list(values) for values in before)
    good = jnp.ones_like(settled)

    def move(body: int, impulse: Vector, place: Vector) -> None:
        x[body] += impulse[0] / MASS[body]
        y[body] += impulse[1] / MASS[body]
        angle[body] += cross(place, impulse) / INERTIA[body]

    for side in sides:
        body = side.body
        for contact in side.contacts:
            place = turned(angle[body], contact.corner)
            distance, normal = side.ground.distance(x[body] + place[0], y[body] + place[1])
            place = plus(place, normal, -0.5 * distance)
            good &= ~contact.touches | (distance - SKIN >= -3 * LINEAR_SLOP)
            error = jnp.clip(STIFFNESS * (distance - SKIN + LINEAR_SLOP), -LARGEST_CORRECTION, 0.0)
            give = 1 / LEG_MASS + cross(place, normal) ** 2 / LEG_INERTIA
            size = jnp.where(contact.touches, -error / give, 0.0)
            move(body, tuple(size * n for n in normal), place)
    for k in (1, 0):
        leg, low, high = 1 + k, sides[k].low, sides[k].high
        bent = angle[leg] - angle[0]
        below, above = bent - LOWER[k], bent - UPPER[k]
        error = jnp.where(
            low,
            jnp.clip(below + ANGULAR_SLOP, -LARGEST_TURN, 0.0),
            jnp.where(high, jnp.clip(above - ANGULAR_SLOP, 0.0, LARGEST_TURN), 0.0),
        )
        turn = -error / (1 / HULL_INERTIA + 1 / LEG_INERTIA)
        angle[0] -= turn / HULL_INERTIA
        angle[leg] += turn / LEG_INERTIA
        own, other = turned(angle[0], HULL_ANCHOR), turned(angle[leg], LEG_ANCHORS[k])
        gap = (x[leg] + other[0] - x[0] - own[0], y[leg] + other[1] - y[0] - own[1])
        beyond = jnp.where(low, -below, jnp.where(high, above, 0.0))
        good &= (dot(gap, gap) <= LINEAR_SLOP**2) & (beyond <= ANGULAR_SLOP)
        free = 1 / HULL_MASS + 1 / LEG_MASS
        a = free + own[1] ** 2 / HULL_INERTIA + other[1] ** 2 / LEG_INERTIA
        b = -own[0] * own[1] / HULL_INERTIA - other[0] * other[1] / LEG_INERTIA
        c = free + own[0] ** 2 / HULL_INERTIA + other[0] ** 2 / LEG_INERTIA
        scale = 1 / (a * c - b * b)
        impulse = (scale * (b * gap[1] - c * gap[0]), scale * (b * gap[0] - a * gap[1]))
        move(leg, impulse, other)
        move(0, tuple(-p for p in impulse), own)
    after = (tuple(x), tuple(y), tuple(angle))
    return *select(settled, before, after), settled | good


class _Flight(NamedTuple):
    """A leg within a step, alone: no joint holds it in Box2D's impacts."""

    place: Three  # x, y and angle
    velocity: Three
    left: Scalar  # f32[] time to the end of the step, s


def impact(start: Bodies, end: Bodies, side: Side) -> tuple[Bodies, Scalar, Scalar, Scalar]:
    """Stops a leg that would have flown into the ground in this step; its joint hears of it in the next one.

    Where the corner that hits the ground makes the leg turn, the other one may hit it in the same step.

    Args:
        start: before the step.
        end: after it.
        side: the leg.

    Returns:
        Bodies, whether the leg was stopped, which pieces of ground it struck at last, and which ones at all, i32.
    """
    body, ground = side.body, side.ground
    velocity = (end.vx[body], end.vy[body], end.spin[body])
    begin, finish = (tuple(places[body] for places in bodies[:3]) for bodies in (start, end))
    stopped, last, ever = jnp.bool_(False), jnp.int32(0), jnp.int32(0)
    flight = _Flight(begin, velocity, jnp.full_like(velocity[0], DT))
    for _ in range(IMPACTS):
        hit, struck, after = _stop(flight, finish, ground)
        flight = select(hit, after, flight)
        finish = select(hit, plus(after.place, after.velocity, after.left), finish)
        stopped, last, ever = stopped | hit, jnp.where(hit, struck, last), ever | jnp.where(hit, struck, 0)
    new = (*finish, *flight.velocity)
    changed = [
        tuple(jnp.where(stopped, value, old) if i == body else old for i, old in enumerate(olds))
        for value, olds in zip(new, end, strict=True)
    ]
    return Bodies(*changed), stopped, last, ever


def _stop(flight: _Flight, finish: Three, ground: Ground) -> tuple[Scalar, Scalar, _Flight]:
    """The next impact of a leg: whether there is one, which pieces of ground it strikes, i32, and the leg after it."""

    def gap_at(share: Scalar | float) -> Scalar:
        x, y, angle = _between(flight.place, finish, share)
        return least(corner_distances(x, y, angle, ground))

    gap, halfway, sunk = gap_at(0.0), gap_at(0.5), gap_at(1.0)
    near = (gap > 0) & (gap < IMPACT + TOLERANCE)
    hit = near | ((gap > IMPACT) & (sunk < IMPACT - TOLERANCE) & (sunk > -2.0))
    # Box2D bisects, then takes the secant.
    late = halfway > IMPACT
    low, high = jnp.where(late, halfway, gap), jnp.where(late, sunk, halfway)
    share = 0.5 * (jnp.clip((low - IMPACT) / jnp.maximum(low - high, 1e-6), 0.0, 1.0) + late)
    share = jnp.where(jnp.abs(halfway - IMPACT) < TOLERANCE, 0.5, share)
    share = jnp.where(near, 0.0, share)
    x, y, angle = _between(flight.place, finish, share)
    _, *ends = facing(corner_distances(x, y, angle, ground))
    touches, points = [], []
    for corner in ends:
        right, up = turned(angle, corner)
        points.append((x + right, y + up))
        touches.append(ground.distance(*points[-1])[0] < SKIN)
    struck = ground.touched(tuple(points))
    place = _pushed_out((x, y, angle), ends, touches, ground)
    velocity = _stopped(place, flight.velocity, ends, touches, ground)
    return hit, struck, _Flight(place, velocity, flight.left * (1 - share))


def _between(start: Three, end: Three, share: Scalar | float) -> Three:
    return tuple(a + share * (b - a) for a, b in zip(start, end, strict=True))


def _pushed_out(place: Three, corners: list[Vector], touches: list[Scalar], ground: Ground) -> Three:
    """A leg whose corners have been moved out of the skin, in Box2D's passes."""
    good = jnp.bool_(False)
    for _ in range(IMPACT_PASSES):
        before, deepest = place, jnp.zeros_like(place[0])
        for corner, touching in zip(corners, touches, strict=True):
            x, y, angle = place
            arm = turned(angle, corner)
            distance, normal = ground.distance(x + arm[0], y + arm[1])
            deepest = jnp.minimum(deepest, jnp.where(touching, distance - SKIN, 0.0))
            error = jnp.clip(IMPACT_STIFFNESS * (distance - SKIN + LINEAR_SLOP), -LARGEST_CORRECTION, 0.0)
            lever = cross(arm, normal)
            size = jnp.where(touching, -error / (1 / LEG_MASS + lever * lever / LEG_INERTIA), 0.0)
            place = (
                x + size * normal[0] / LEG_MASS,
                y + size * normal[1] / LEG_MASS,
                angle + size * lever / LEG_INERTIA,
            )
        place, good = select(good, before, place), good | (deepest >= -1.5 * LINEAR_SLOP)
    return place


def _stopped(place: Three, velocity: Three, corners: list[Vector], touches: list[Scalar], ground: Ground) -> Three:
    """Velocity of a leg that the ground has stopped."""
    x, y, angle = place
    rows = []
    for corner, touching in zip(corners, touches, strict=True):
        arm = turned(angle, corner)
        distance, normal = ground.distance(x + arm[0], y + arm[1])
        arm = plus(arm, normal, -0.5 * distance)
        for direction in (along(normal), normal):
            lever = cross(arm, direction)
            mass = jnp.where(touching, 1 / (1 / LEG_MASS + lever * lever / LEG_INERTIA), 0.0)
            rows.append((direction, lever, mass))

    def sweep(_: int, carry: tuple) -> tuple:
        (vx, vy, spin), impulses = carry[0], list(carry[1])
        for i, (direction, lever, mass) in enumerate(rows):
            new = impulses[i] - (dot((vx, vy), direction) + spin * lever) * mass
            hold = FRICTION * impulses[i | 1]
            new = jnp.maximum(new, 0.0) if i % 2 else jnp.clip(new, -hold, hold)
            change, impulses[i] = new - impulses[i], new
            vx += change * direction[0] / LEG_MASS
            vy += change * direction[1] / LEG_MASS
            spin += change * lever / LEG_INERTIA
        return (vx, vy, spin), tuple(impulses)

    zero = jnp.zeros_like(x)
    return jax.lax.fori_loop(0, IMPACT_SWEEPS, sweep, (velocity, (zero,) * 4))[0]
