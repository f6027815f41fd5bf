"""Corrections of the lander's places: sunken corners, legs beyond their limits, open joints; and fast impacts."""

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
)
from neuralmutator.envs.lander.ground import corner_distances, facing
from neuralmutator.envs.lander.velocities import Side
from neuralmutator.envs.plane import Scalar, Vector, along, cross, dot, least, plus, select, turned

LARGEST_CORRECTION, LARGEST_TURN = 0.2, np.deg2rad(8.0)
"""The most that it corrects at once, m and rad."""
STIFFNESS = 0.2
"""Share of how far a corner sank in that is corrected at once."""
IMPACT = 0.005
"""Distance from the ground at which a fast leg is stopped within a step."""


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


def impact(start: Bodies, end: Bodies, side: Side) -> tuple[Bodies, Scalar, Scalar]:
    """Stops a leg that would have flown into the ground in this step; its joint hears of it in the next one.

    Args:
        start: before the step.
        end: after it.
        side: the leg.

    Returns:
        Bodies, whether the leg was stopped, and which pieces of ground it struck then, i32.
    """
    body, ground, gap = side.body, side.ground, side.gap
    places = [(a[body], b[body]) for a, b in zip(start[:3], end[:3], strict=True)]
    sunk = least(corner_distances(end.x[body], end.y[body], end.angle[body], ground))
    stopped = (gap > IMPACT) & (sunk < IMPACT) & (sunk > -2.0)
    share = jnp.clip((gap - IMPACT) / jnp.maximum(gap - sunk, 1e-6), 0.0, 1.0)
    x, y, angle = (before + share * (after - before) for before, after in places)
    vx, vy, spin = end.vx[body], end.vy[body], end.spin[body]
    _, *ends = facing(corner_distances(x, y, angle, ground))
    points = []
    for corner in ends:
        place = turned(angle, corner)
        distance, normal = ground.distance(x + place[0], y + place[1])
        points.append((place, normal, distance < SKIN))
    struck = ground.touched(tuple((x + place[0], y + place[1]) for place, _, _ in points))
    zero = jnp.zeros_like(vx)

    def sweep(_: int, carry: tuple) -> tuple:
        (vx, vy, spin), normals, tangents = carry[:3], list(carry[3]), list(carry[4])
        for i, (place, normal, touches) in enumerate(points):
            for kind, direction in ((tangents, along(normal)), (normals, normal)):
                arm = cross(place, direction)
                speed = (vx - spin * place[1]) * direction[0] + (vy + spin * place[0]) * direction[1]
                new = kind[i] - speed / (1 / LEG_MASS + arm * arm / LEG_INERTIA)
                hold = FRICTION * normals[i]
                new = jnp.maximum(new, 0.0) if kind is normals else jnp.clip(new, -hold, hold)
                change = jnp.where(touches, new - kind[i], 0.0)
                kind[i] = kind[i] + change
                vx += change * direction[0] / LEG_MASS
                vy += change * direction[1] / LEG_MASS
                spin += change * arm / LEG_INERTIA
        return vx, vy, spin, tuple(normals), tuple(tangents)

    vx, vy, spin, _, _ = jax.lax.fori_loop(0, 20, sweep, (vx, vy, spin, (zero, zero), (zero, zero)))
    left = (1 - share) * DT
    _, normal = ground.distance(x, y)
    out = SKIN - LINEAR_SLOP - IMPACT  # contacts rest at the skin less the slop
    new = (x + normal[0] * out + left * vx, y + normal[1] * out + left * vy, angle + left * spin, vx, vy, spin)
    changed = [
        tuple(jnp.where(stopped, value, old) if i == body else old for i, old in enumerate(olds))
        for value, olds in zip(new, end, strict=True)
    ]
    return Bodies(*changed), stopped, struck
