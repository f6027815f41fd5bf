"""Where Box2D's 180 sweeps over the velocities end, short of the solution.

A leg is light against the hull. Where it touches the ground, a sweep moves the hull by little, and 180 of them leave it
far from the solution: a matrix power tells where.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.envs.lander.bodies import (
    FRICTION,
    HULL_INERTIA,
    HULL_MASS,
    LEG_INERTIA,
    LEG_MASS,
    MOTOR_IMPULSE,
    MOTOR_SPEED,
    SWEEPS,
    Leg,
    Three,
)
from neuralmutator.envs.lander.velocities import Side, joint_impulse
from neuralmutator.envs.plane import Scalar, Vector, across, along, cross, dot, plus, select


class Sweeps(NamedTuple):
    """Box2D's sweeps over one leg that is between its limits: how what is missing to the solution shrinks.

    A sweep solves the motor, then the joint, then the ground. What the joint (two numbers) and the ground are still
    missing after it is linear in what they missed before.
    """

    motor: tuple[Scalar, ...]  # response of the motor's speed to impulses of joint and ground, over that to its own
    joint: tuple[Vector, ...]  # inverse of the joint's response to its own impulse
    by_motor: Vector  # response of the joint to the motor
    by_ground: Vector  # … and to the ground
    ground: tuple[Scalar, ...]  # response of the ground's row to impulses of motor and joint, over that to its own
    moving: Scalar  # bool, whether the motor is within its bounds
    on: Scalar  # bool, whether the leg is on the ground

    @classmethod
    def of(
        cls, pivot: Vector, arm: Vector, place: Vector, direction: Vector, slope: Scalar, moving: Scalar, on: Scalar
    ) -> "Sweeps":
        """The sweeps of a leg.

        Args:
            pivot: how the joint moves when the hull turns.
            arm: from the leg's centre to the joint.
            place: from there to the corner on the ground.
            direction: the ground's normal.
            slope: of the friction, impulse along the ground per impulse along the normal.
            moving: whether the motor is within its bounds.
            on: whether the leg is on the ground.
        """
        hull, leg = 1 / HULL_INERTIA, 1 / LEG_INERTIA
        swing = across(arm)
        pull = plus(direction, along(direction), slope)  # of normal and friction together
        lever, pulled = cross(place, direction), cross(place, pull)
        mass = 1 / HULL_MASS + 1 / LEG_MASS
        xx = mass + hull * pivot[0] ** 2 + leg * swing[0] ** 2
        xy = hull * pivot[0] * pivot[1] + leg * swing[0] * swing[1]
        yy = mass + hull * pivot[1] ** 2 + leg * swing[1] ** 2
        scale = 1 / (xx * yy - xy * xy)
        by_motor = (leg * swing[0] + hull * pivot[0], leg * swing[1] + hull * pivot[1])
        by_ground = tuple(p / LEG_MASS + leg * pulled * s for p, s in zip(pull, swing, strict=True))
        of_joint = tuple(d / LEG_MASS + leg * lever * s for d, s in zip(direction, swing, strict=True))
        own = dot(direction, pull) / LEG_MASS + leg * lever * pulled
        return cls(
            motor=tuple(r / (hull + leg) for r in (*by_motor, leg * pulled)),
            joint=((scale * yy, -scale * xy), (-scale * xy, scale * xx)),
            by_motor=by_motor,
            by_ground=by_ground,
            ground=tuple(r / own for r in (leg * lever, *of_joint)),
            moving=moving,
            on=on,
        )

    def missing(self, missing: Three) -> Scalar:
        """What the motor misses in a sweep after which joint and ground missed that much."""
        return jnp.where(self.moving, -dot(self.motor, missing), 0.0)

    def sweep(self, missing: Three) -> Three:
        """What joint (two numbers) and ground miss after one more sweep."""
        motor = self.missing(missing)
        rest = plus(tuple(-motor * r for r in self.by_motor), self.by_ground, -missing[2])
        joint = (dot(self.joint[0], rest), dot(self.joint[1], rest))
        return *joint, jnp.where(self.on, -dot(self.ground, (motor, *joint)), 0.0)

    def sweeps(self, missing: Three, count: int = SWEEPS) -> Three:
        """… after many more: a power of the matrix of one, by repeated squaring."""
        one, zero = jnp.ones_like(missing[0]), jnp.zeros_like(missing[0])
        columns = tuple(self.sweep(tuple(one if i == j else zero for i in range(3))) for j in range(3))

        def times(matrix: tuple[Three, ...], vector: Three) -> Three:
            return tuple(dot(tuple(column[i] for column in matrix), vector) for i in range(3))

        def double(bit: Scalar, carry: tuple) -> tuple:
            matrix, vector = carry
            vector = select(jnp.bool_((count >> bit) & 1), times(matrix, vector), vector)
            return tuple(times(matrix, column) for column in matrix), vector

        return jax.lax.fori_loop(0, count.bit_length(), double, (columns, missing))[1]


class Motion(NamedTuple):
    """How a leg moves where the joint has not caught up with it."""

    apart: Scalar  # bool, whether this holds
    velocity: Three  # of its centre, and its spin
    joint: Vector  # impulse


def as_unfinished(
    u: tuple[Scalar, ...], side: Side, leg: Leg, start: Leg, pivot: Vector
) -> tuple[tuple[Scalar, ...], Leg, Motion]:
    """Puts a leg between its limits, on one corner or none, where Box2D's sweeps would have left it.

    Args:
        u: the five velocities of the solution.
        side: the leg.
        leg: its impulses in the solution.
        start: those with which the sweeps begin.
        pivot: how the joint moves when the hull turns.

    Returns:
        The five velocities, the leg's impulses, and how it moves.
    """
    first = jnp.maximum(leg.normal[0], start.normal[0]) >= jnp.maximum(leg.normal[1], start.normal[1])
    contact = select(first, *side.contacts)
    normal, tangent, warm = select(first, *zip(leg.normal, leg.tangent, start.normal, strict=True))
    on = contact.touches & ((normal > 0) | (warm > 0))
    slides = jnp.where(normal > 0, jnp.sign(tangent), -jnp.sign(contact.tangent.velocity(u)))
    slope = jnp.where(jnp.abs(tangent) >= 0.999 * FRICTION * normal, slides * FRICTION, 0.0)

    # The solution with the corner on the ground even where that would have to pull: sweeps know of it only at the end.
    answer = plus(contact.normal.answer, contact.tangent.answer, slope)
    opening, approach = side.opening(u), contact.normal.velocity(u)
    by_motor, by_ground = side.motor.velocity(contact.normal.answer), side.motor.velocity(answer)
    own = contact.normal.velocity(answer)
    both = (own * opening - by_ground * approach) / (own / side.motor.mass - by_ground * by_motor)
    alone = (opening - by_ground * normal) * side.motor.mass
    torque = jnp.clip(leg.held - jnp.where(on, both, alone), -MOTOR_IMPULSE, MOTOR_IMPULSE)

    def ground_for(torque: Scalar) -> Scalar:
        return jnp.where(on, normal - (approach + by_motor * (torque - leg.held)) / own, 0.0)

    def with_impulses(torque: Scalar, force: Scalar) -> tuple[tuple[Scalar, ...], Leg]:
        change = force - normal
        changed = (
            leg.normal[0] + jnp.where(first, change, 0.0),
            leg.normal[1] + jnp.where(first, 0.0, change),
        )
        slid = (
            leg.tangent[0] + jnp.where(first, slope * change, 0.0),
            leg.tangent[1] + jnp.where(first, 0.0, slope * change),
        )
        velocities = plus(side.motor.apply(u, torque - leg.held), answer, change)
        return velocities, leg._replace(held=torque, normal=changed, tangent=slid)

    def joint_for(torque: Scalar, force: Scalar) -> Vector:
        velocities, changed = with_impulses(torque, force)
        return joint_impulse(velocities, side, changed, pivot)

    force = ground_for(torque)
    joint = joint_for(torque, force)
    moving = jnp.abs(torque) < MOTOR_IMPULSE
    sweeps = Sweeps.of(pivot, side.arm, contact.place, contact.direction, slope, moving, on)
    missing = (*plus(start.joint, joint, -1), jnp.where(on, warm - force, 0.0))
    # A motor that the first sweep drives to its bound leaves it only when joint and ground are solved with it there.
    beginning = torque + sweeps.missing(missing)
    bound = jnp.clip(beginning, -MOTOR_IMPULSE, MOTOR_IMPULSE)
    at_bound = ground_for(bound)
    missing = select(beginning != bound, (*plus(joint_for(bound, at_bound), joint, -1), at_bound - force), missing)
    missing = sweeps.sweeps(missing, SWEEPS - 1)
    new_torque = jnp.clip(torque + sweeps.missing(missing), -MOTOR_IMPULSE, MOTOR_IMPULSE)
    missing = sweeps.sweep(missing)
    new_joint, new_force = plus(joint, missing[:2]), force + missing[2]

    between = ~side.low & ~side.high
    apart = between & (~on | (new_force >= 0)) & ~(side.contacts[0].touches & side.contacts[1].touches)
    u_apart, leg_apart = with_impulses(new_torque, jnp.where(on, new_force, normal))
    u, leg = select(apart, (u_apart, leg_apart), (u, leg))
    pull = (0.0, 0.0)
    for at, force, grip in zip(side.contacts, leg.normal, leg.tangent, strict=True):
        pull = plus(plus(pull, at.direction, force), along(at.direction), grip)
    velocity = plus(side.free[:2], plus(new_joint, pull), 1 / LEG_MASS)
    spin = side.free[2] + (leg.held + cross(side.arm, new_joint) + cross(contact.place, pull)) / LEG_INERTIA
    # At its limit a leg does not move, and the motor goes on pushing in every sweep, up to its bound.
    tired = start.motor + MOTOR_SPEED[side.body - 1] * SWEEPS / (1 / HULL_INERTIA + 1 / LEG_INERTIA)
    motor = jnp.where(between, leg.held, jnp.clip(tired, -MOTOR_IMPULSE, MOTOR_IMPULSE))
    return u, leg._replace(motor=motor), Motion(apart, (*velocity, spin), new_joint)
