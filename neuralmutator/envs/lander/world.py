"""One step of the lander's world, as Box2D makes it: velocities, places, impacts."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.envs.lander.bodies import (
    DT,
    HULL_ANCHOR,
    HULL_INERTIA,
    HULL_MASS,
    LEG_ANCHORS,
    LEG_INERTIA,
    LEG_MASS,
    Bodies,
    Leg,
)
from neuralmutator.envs.lander.ground import clearance, ground_near
from neuralmutator.envs.lander.positions import correct, impact
from neuralmutator.envs.lander.sweeps import as_unfinished
from neuralmutator.envs.lander.velocities import begin, joint_impulse, reduced_inverse, side_of, solve
from neuralmutator.envs.plane import Scalar, across, dot, plus, select, turned


class Stepped(NamedTuple):
    """The world after a step."""

    bodies: Bodies
    legs: tuple[Leg, ...]
    settled: Scalar  # bool, whether no constraint is left violated
    clearance: Scalar  # f32, between hull and ground, m


def world_step(
    bodies: Bodies,
    legs: tuple[Leg, ...],
    terrain: jax.Array,
    gravity: float | Scalar = -10.0,
    iterations: tuple[int, int] = (16, 2),
) -> Stepped:
    """One step of the world.

    Args:
        bodies: before it.
        legs: what is remembered of the step before.
        terrain: f32[11] heights of the ground.
        gravity: m/s².
        iterations: over velocities and over places.
    """
    fall = tuple(v + gravity * DT for v in bodies.vy)
    pivot = across(turned(bodies.angle[0], HULL_ANCHOR))
    arms = tuple(turned(bodies.angle[1 + k], LEG_ANCHORS[k]) for k in (0, 1))
    inverse = reduced_inverse(pivot, tuple(map(across, arms)))

    # The velocities nearest to those of the free bodies, in their kinetic energy, that keep the joints together.
    momenta = [tuple(LEG_MASS * v for v in free) for free in zip(bodies.vx[1:], fall[1:], strict=True)]
    linear = plus(plus(momenta[0], momenta[1]), (bodies.vx[0], fall[0]), HULL_MASS)
    angular = (
        HULL_INERTIA * bodies.spin[0] + dot(pivot, plus(momenta[0], momenta[1])),
        *(LEG_INERTIA * bodies.spin[1 + k] - dot(across(arms[k]), momenta[k]) for k in (0, 1)),
    )
    u = inverse(linear, angular)
    faced = [side_of(1 + k, bodies, arms[k], fall, pivot, inverse, terrain) for k in (0, 1)]
    begun = tuple(begin(*face, leg) for face, leg in zip(faced, legs, strict=True))
    sides = tuple(side for side, *_ in faced)
    u, solved = solve(u, sides, begun, iterations[0])

    ended, motions = [], []
    for side, leg, start in zip(sides, solved, begun, strict=True):
        u, leg, motion = as_unfinished(u, side, leg, start, pivot)
        ended.append(leg)
        motions.append(motion)
    for k in (1, 0):  # a leg at its limit follows what the other one did
        side, leg = sides[k], ended[k]
        held = jnp.clip(leg.held - side.opening(u) * side.motor.mass, side.least, side.most)
        held = jnp.where(side.near, held, leg.held)
        u, ended[k] = side.motor.apply(u, held - leg.held), leg._replace(held=held)
    velocities = [u[:3]]
    for k, (side, leg, motion) in enumerate(zip(sides, ended, motions, strict=True)):
        ended[k] = leg._replace(joint=select(motion.apart, motion.joint, joint_impulse(u, side, leg, pivot)))
        velocities.append(select(motion.apart, motion.velocity, (*side.velocity(u, pivot), u[3 + k])))
    vx, vy, spin = (tuple(v[axis] for v in velocities) for axis in range(3))
    places = tuple(plus(p, v, DT) for p, v in zip(bodies[:3], (vx, vy, spin), strict=True))
    x, y, angle, settled = jax.lax.fori_loop(
        0, iterations[1], partial(correct, sides=sides), (*places, jnp.bool_(False))
    )
    moved = Bodies(x, y, angle, vx, vy, spin)
    for k, (side, leg, before) in enumerate(zip(sides, ended, legs, strict=True)):
        moved, stopped, struck, ever = impact(bodies, moved, side)
        # A contact that begins sets the report, one that ends takes it back, be there others; impacts come last.
        report = ((before.touched & ~leg.touched) == 0) & (before.contact | ((leg.touched & ~before.touched) != 0))
        report |= stopped & ((ever & ~leg.touched) != 0)
        ended[k] = leg._replace(touched=jnp.where(stopped, struck, leg.touched), contact=report)
    return Stepped(moved, tuple(ended), settled, clearance(moved, ground_near(terrain, bodies.x[0])))
