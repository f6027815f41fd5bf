"""Velocities of the lander that its joints, motors and the ground allow.

Box2D sweeps 180 times over joints, motors and contacts. Here the joints are solved in closed form: five numbers remain,
the hull's velocity and spin and the spins of the legs. Motors with their limits, and corners on the ground, then need
few iterations.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.envs.lander.bodies import (
    FRICTION,
    HULL_INERTIA,
    HULL_MASS,
    LEG_INERTIA,
    LEG_MASS,
    LOWER,
    MOTOR_IMPULSE,
    MOTOR_SPEED,
    SKIN,
    UPPER,
    Bodies,
    Leg,
    Three,
)
from neuralmutator.envs.lander.ground import DEEP, Ground, corner_distances, facing, ground_near
from neuralmutator.envs.plane import Scalar, Vector, across, along, dot, least, plus, turned


class Row(NamedTuple):
    """One thing that must not happen: a velocity ``along · u`` that an impulse can change."""

    along: tuple[Scalar, ...]  # of the five velocities
    answer: tuple[Scalar, ...]  # change of the five by an impulse of one
    mass: Scalar  # impulse for a change of one

    def velocity(self, u: tuple[Scalar, ...]) -> Scalar:
        """The row's velocity when the five are `u`."""
        return dot(self.along, u)

    def apply(self, u: tuple[Scalar, ...], impulse: Scalar) -> tuple[Scalar, ...]:
        """The five velocities after an impulse."""
        return tuple(v + a * impulse for v, a in zip(u, self.answer, strict=True))


def reduced_inverse(pivot: Vector, legs: tuple[Vector, ...]) -> Callable[[Vector, Three], tuple[Scalar, ...]]:
    """Inverse of the mass matrix of the five velocities (hull x, y, spins of hull and legs).

    A leg's centre moves with ``v + spin₀ pivot - spinₖ legsₖ``.

    Args:
        pivot: how the joint moves when the hull turns.
        legs: how the joint moves when a leg turns about its centre.
    """
    total = HULL_MASS + 2 * LEG_MASS
    couplings = [(2 * LEG_MASS * pivot[0], 2 * LEG_MASS * pivot[1])]
    couplings += [(-LEG_MASS * leg[0], -LEG_MASS * leg[1]) for leg in legs]
    # What is left of the block of the spins once the velocity is eliminated, and its inverse by cofactors.
    a = HULL_INERTIA + 2 * LEG_MASS * dot(pivot, pivot) - dot(couplings[0], couplings[0]) / total
    b, c = (
        -LEG_MASS * dot(pivot, leg) - dot(couplings[0], k) / total for leg, k in zip(legs, couplings[1:], strict=True)
    )
    d, f = (
        LEG_INERTIA + LEG_MASS * dot(leg, leg) - dot(k, k) / total for leg, k in zip(legs, couplings[1:], strict=True)
    )
    e = -dot(couplings[1], couplings[2]) / total
    cofactors = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    scale = 1 / (a * cofactors[0] + b * cofactors[1] + c * cofactors[2])
    aa, ab, ac, bb, bc, cc = (x * scale for x in cofactors)

    def solve(linear: Vector, angular: Three) -> tuple[Scalar, ...]:
        p, q, r = (w - dot(k, linear) / total for w, k in zip(angular, couplings, strict=True))
        spins = (aa * p + ab * q + ac * r, ab * p + bb * q + bc * r, ac * p + bc * q + cc * r)
        x, y = (
            (linear[axis] - sum(k[axis] * s for k, s in zip(couplings, spins, strict=True))) / total for axis in (0, 1)
        )
        return x, y, *spins

    return solve


class Contact(NamedTuple):
    """A corner of a leg on the ground, or near it."""

    corner: Vector  # in the leg's own axes
    place: Vector  # from the leg's centre to between the surfaces
    direction: Vector  # the ground's normal
    touches: Scalar
    normal: Row
    tangent: Row


class Side(NamedTuple):
    """A leg, and all that holds in one step."""

    body: int  # 1 or 2
    ground: Ground
    gap: Scalar  # between its lowest corner and the ground, m
    arm: Vector  # from its centre to the joint
    free: Three  # velocity and spin that it would have alone
    motor: Row
    low: Scalar  # bool, whether it is at its lower or its upper limit
    high: Scalar
    wanted: Scalar  # opening speed of the joint, rad/s
    least: Scalar  # bounds of the impulse of motor and limit together
    most: Scalar
    contacts: tuple[Contact, ...]

    @property
    def near(self) -> Scalar:
        """Whether it is at the limit that its motor presses it against."""
        return self.low if self.body == 1 else self.high

    @property
    def far(self) -> Scalar:
        """Whether it is at the other one."""
        return self.high if self.body == 1 else self.low

    def opening(self, u: tuple[Scalar, ...]) -> Scalar:
        """Speed of the joint beyond what is wanted."""
        return u[2 + self.body] - u[2] - self.wanted

    def velocity(self, u: tuple[Scalar, ...], pivot: Vector) -> Vector:
        """Of the leg's centre."""
        return plus(plus(u[:2], pivot, u[2]), across(self.arm), -u[2 + self.body])


def side_of(
    body: int, bodies: Bodies, arm: Vector, fall: Three, pivot: Vector, inverse: Callable, terrain: jax.Array
) -> tuple[Side, Scalar, Scalar]:
    """A leg in this step, which of its edges faces the ground, and which pieces of ground that touches."""
    k = body - 1
    x, y, angle = bodies.x[body], bodies.y[body], bodies.angle[body]
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)

    def row(linear: Vector, hull: Scalar, leg: Scalar) -> Row:
        u = (*linear, hull, *((leg, zero) if k == 0 else (zero, leg)))
        answer = inverse(u[:2], u[2:])
        return Row(u, answer, 1 / dot(u, answer))

    # A motor presses its leg against the near limit: both are one row, whose bounds tell whether the limit helps.
    motor = row((zero, zero), -one, one)
    bent = angle - bodies.angle[0]
    low, high = bent <= LOWER[k], bent >= UPPER[k]
    near = low if k == 0 else high
    ground = ground_near(terrain, x)
    distances = corner_distances(x, y, angle, ground)
    edge, *ends = facing(distances)
    contacts, points = [], []
    for corner in ends:
        place = turned(angle, corner)
        points.append(plus((x, y), place))
        distance, direction = ground.distance(*points[-1])
        touches = (distance < SKIN) & (distance > -DEEP)
        place = plus(place, direction, -0.5 * distance)
        motion = plus(across(place), across(arm), -1)
        rows = (row(d, dot(d, pivot), dot(d, motion)) for d in (direction, along(direction)))
        contacts.append(Contact(corner, place, direction, touches, *rows))
    side = Side(
        body=body,
        ground=ground,
        gap=least(distances),
        arm=arm,
        free=(bodies.vx[body], fall[body], bodies.spin[body]),
        motor=motor,
        low=low,
        high=high,
        wanted=jnp.where(near, 0.0, MOTOR_SPEED[k]),
        least=jnp.where(near & (k == 1), -jnp.inf, -MOTOR_IMPULSE),
        most=jnp.where(near & (k == 0), jnp.inf, MOTOR_IMPULSE),
        contacts=tuple(contacts),
    )
    return side, edge, ground.touched(tuple(points))


def begin(side: Side, edge: Scalar, touched: Scalar, leg: Leg) -> Leg:
    """Impulses to begin with: those of the step before, where what they were for is still there."""
    same = tuple(contact.touches & (edge == leg.edge) for contact in side.contacts)
    return leg._replace(
        held=jnp.clip(jnp.where(side.near, leg.held, leg.motor), side.least, side.most),
        edge=edge,
        normal=tuple(jnp.where(s, n, 0.0) for s, n in zip(same, leg.normal, strict=True)),
        tangent=tuple(jnp.where(s, t, 0.0) for s, t in zip(same, leg.tangent, strict=True)),
        touched=touched,
    )


def solve(
    u: tuple[Scalar, ...], sides: tuple[Side, ...], legs: tuple[Leg, ...], iterations: int
) -> tuple[tuple[Scalar, ...], tuple[Leg, ...]]:
    """Velocities and impulses that violate nothing.

    A leg is light: what its motor and the ground do to it is solved at once, or it would take hundreds of iterations.
    """
    for side, leg in zip(sides, legs, strict=True):
        u = side.motor.apply(u, leg.held)
        for contact, normal, tangent in zip(side.contacts, leg.normal, leg.tangent, strict=True):
            u = contact.tangent.apply(contact.normal.apply(u, normal), tangent)

    def improve(_: int, carry: tuple) -> tuple:
        u, legs, limits = carry[0], list(carry[1]), list(carry[2])
        for k, side in enumerate(sides):
            held, normals, tangents = legs[k].held, list(legs[k].normal), list(legs[k].tangent)
            back = limits[k] - (u[3 + k] - u[2]) * side.motor.mass
            back = jnp.where(side.far, jnp.minimum(back, 0.0) if k == 0 else jnp.maximum(back, 0.0), 0.0)
            u, limits[k] = side.motor.apply(u, back - limits[k]), back
            for i, contact in enumerate(side.contacts):
                touches, normal, tangent = contact.touches, contact.normal, contact.tangent
                grip = FRICTION * normals[i]
                new = jnp.clip(tangents[i] - tangent.velocity(u) * tangent.mass, -grip, grip)
                u, tangents[i] = tangent.apply(u, new - tangents[i]), new
                # First as if both held; then the ground with the motor at its bound; then without the ground.
                coupling = side.motor.velocity(normal.answer)
                opening, approach = side.opening(u), normal.velocity(u)
                share = side.motor.mass / (1 - coupling * coupling * side.motor.mass * normal.mass)
                torque = held - (opening - coupling * normal.mass * approach) * share
                torque = jnp.clip(torque, side.least, side.most)
                force = normals[i] - (approach + coupling * (torque - held)) * normal.mass
                force = jnp.where(touches, jnp.maximum(force, 0.0), 0.0)
                alone = held - (opening + coupling * (force - normals[i])) * side.motor.mass
                torque = jnp.where(force > 0, torque, jnp.clip(alone, side.least, side.most))
                u = normal.apply(side.motor.apply(u, torque - held), force - normals[i])
                held, normals[i] = torque, force
            legs[k] = legs[k]._replace(held=held, normal=tuple(normals), tangent=tuple(tangents))
        return u, tuple(legs), tuple(limits)

    zero = jnp.zeros_like(u[0])
    u, legs, _ = jax.lax.fori_loop(0, iterations, improve, (u, legs, (zero, zero)))
    return u, legs


def joint_impulse(u: tuple[Scalar, ...], side: Side, leg: Leg, pivot: Vector) -> Vector:
    """What the joint must have done to the leg for it to move as it does."""
    impulse = tuple(LEG_MASS * v for v in plus(side.velocity(u, pivot), side.free[:2], -1))
    for contact, normal, tangent in zip(side.contacts, leg.normal, leg.tangent, strict=True):
        impulse = plus(plus(impulse, contact.direction, -normal), along(contact.direction), -tangent)
    return impulse
