"""The three bodies of LunarLander: hull, left leg and right leg; their shapes, masses and joints.

Units are metres, seconds and kilograms. A body's place and velocity are those of its centre of mass.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from neuralmutator.envs.plane import Scalar, Vector, cross, solid

Three = tuple[Scalar, ...]
"""One number for the hull and one for each leg."""
DT = 1 / 50
SCALE = 30.0
"""Gymnasium's pixels in a metre."""
WIDTH, HEIGHT = 20.0, 400 / SCALE

HULL = np.array([(-14, 17), (-17, 0), (-17, -10), (17, -10), (17, 0), (14, 17)]) / SCALE
LEG = np.array([(-2, -8), (2, -8), (2, 8), (-2, 8)]) / SCALE

HULL_MASS, HULL_CENTRE, HULL_INERTIA = solid(HULL, 5.0)
LEG_MASS, _, LEG_INERTIA = solid(LEG, 1.0)
MASS = (HULL_MASS, LEG_MASS, LEG_MASS)
INERTIA = (HULL_INERTIA, LEG_INERTIA, LEG_INERTIA)
HULL_CORNERS = HULL - HULL_CENTRE
HULL_ANCHOR = (-float(HULL_CENTRE[0]), -float(HULL_CENTRE[1]))
LEG_ANCHORS = ((-20 / SCALE, 18 / SCALE), (20 / SCALE, 18 / SCALE))
LOWER = (0.4 - 0.05, -0.9 + 0.05)
"""Least angle of a leg against the hull; Box2D counts from the angle at which a joint is made."""
UPPER = (0.9 - 0.05, -0.4 + 0.05)
MOTOR_SPEED = (-0.3, 0.3)
"""At which motors open the left and the right joint, rad/s."""
MOTOR_IMPULSE = 40.0 * DT
"""The most that a motor can do in a step, N m s."""
FRICTION = float(np.sqrt(0.2 * 0.1))
SKIN = 0.02
"""Distance at which bodies touch, m: every polygon of Box2D wears a skin of 0.01."""
LINEAR_SLOP, ANGULAR_SLOP = 0.005, np.deg2rad(2.0)
"""Violations of places (m) and of angles that Box2D leaves."""
SWEEPS = 180
"""Of Box2D, over velocities."""
SLOWEST = 0.01
"""Speed below which a body may fall asleep, m/s."""


class Bodies(NamedTuple):
    """Places and velocities of hull, left leg and right leg."""

    x: Three
    y: Three
    angle: Three
    vx: Three
    vy: Three
    spin: Three


class Leg(NamedTuple):
    """What the world remembers of a leg from step to step; impulses are where the solver begins."""

    motor: Scalar  # impulse of the motor, N m s
    held: Scalar  # with what the limit of the joint adds to it, N m s
    joint: Vector  # impulse on the leg, N s
    edge: Scalar  # i32, the edge that faces the ground
    normal: Vector  # impulses on both ends of that edge, N s
    tangent: Vector
    touched: Scalar  # i32, the pieces of ground that the leg touches, a bit for each
    contact: Scalar  # bool, the contact as Gymnasium reports it


def new_leg() -> Leg:
    """A leg of which nothing is known yet."""
    zero, nothing = jnp.zeros(()), jnp.int32(0)
    return Leg(zero, zero, (zero, zero), nothing, (zero, zero), (zero, zero), nothing, jnp.bool_(False))


def push(bodies: Bodies, impulse: Vector, place: Vector) -> Bodies:
    """An impulse on the hull, N s, at a place relative to its centre."""
    return bodies._replace(
        vx=(bodies.vx[0] + impulse[0] / HULL_MASS, *bodies.vx[1:]),
        vy=(bodies.vy[0] + impulse[1] / HULL_MASS, *bodies.vy[1:]),
        spin=(bodies.spin[0] + cross(place, impulse) / HULL_INERTIA, *bodies.spin[1:]),
    )


def at_rest(bodies: Bodies) -> Scalar:
    """Whether all bodies are slow enough to fall asleep."""
    still = [
        (spin**2 <= ANGULAR_SLOP**2) & (vx**2 + vy**2 <= SLOWEST**2)
        for vx, vy, spin in zip(bodies.vx, bodies.vy, bodies.spin, strict=True)
    ]
    return still[0] & still[1] & still[2]
