"""The physics of LunarLander: a hull, two legs on motors, and the ground, as Box2D solves them.

Box2D sweeps 180 times over joints, motors and contacts. Here the joints are solved in closed form: the hull's velocity,
its spin and the spins of the legs, five numbers, are all that can move; motors with their limits, and corners on the
ground, need few sweeps more. But where a leg drags over the ground, 180 sweeps leave Box2D far from where it was going,
and landers feel it: there a matrix power tells where the sweeps end (`_Sweeps`).

Everything is scalars, so that ``vmap`` turns every number into one vector over the landers.

Units are metres, seconds, kilograms; bodies are the hull, the left and the right leg, at their centres of mass.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Scalar = jax.Array
Vector = tuple[Scalar, ...]
"""Two numbers, across and up."""
Three = tuple[Scalar, ...]
"""One number for the hull and one for each leg; or two for a joint and one for the ground."""

DT = 1 / 50
SCALE = 30.0
"""Gymnasium's pixels in a metre."""
WIDTH, HEIGHT = 20.0, 400 / SCALE
CHUNK = 2.0
"""Width of a piece of the ground, which has ten."""
PIECES = 10

HULL = np.array([(-14, 17), (-17, 0), (-17, -10), (17, -10), (17, 0), (14, 17)]) / SCALE
LEG = np.array([(-2, -8), (2, -8), (2, 8), (-2, 8)]) / SCALE


def solid(corners: np.ndarray, density: float) -> tuple[float, np.ndarray, float]:
    """Mass, centre and moment of inertia about the centre, of a polygon that runs anticlockwise."""
    x, y = corners.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    twice = x * next_y - next_x * y
    centre = np.array([((x + next_x) * twice).sum(), ((y + next_y) * twice).sum()]) / (3 * twice.sum())
    inertia = (x * x + x * next_x + next_x**2 + y * y + y * next_y + next_y**2) @ twice / 12
    mass = density * twice.sum() / 2
    return float(mass), centre, float(density * inertia - mass * centre @ centre)


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
DEEP = 0.5
"""Further below the ground than that nothing is pushed out."""
LINEAR_SLOP, ANGULAR_SLOP = 0.005, np.deg2rad(2.0)
"""Violations of places (m) and of angles that Box2D leaves."""
LARGEST_CORRECTION, LARGEST_TURN = 0.2, np.deg2rad(8.0)
"""The most that it corrects at once, m and rad."""
STIFFNESS = 0.2
"""Share of how far a corner sank in that is corrected at once."""
IMPACT = 0.005
"""Distance from the ground at which a fast leg is stopped within a step."""
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


class Stepped(NamedTuple):
    """The world after a step."""

    bodies: Bodies
    legs: tuple[Leg, ...]
    settled: Scalar  # bool, whether no constraint is left violated
    clearance: Scalar  # f32, between hull and ground, m


def new_leg() -> Leg:
    """A leg of which nothing is known yet."""
    zero, nothing = jnp.zeros(()), jnp.int32(0)
    return Leg(zero, zero, (zero, zero), nothing, (zero, zero), (zero, zero), nothing, jnp.bool_(False))


def turned(angle: Scalar, point: tuple) -> Vector:
    """A point turned about the origin, anticlockwise."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * point[0] - sin * point[1], sin * point[0] + cos * point[1]


def cross(a: tuple, b: tuple) -> Scalar:
    """Third component of the product of two vectors in the plane."""
    return a[0] * b[1] - a[1] * b[0]


def dot(a: tuple, b: tuple) -> Scalar:
    """Product of two vectors."""
    return sum(p * q for p, q in zip(a, b, strict=True))


def plus(a: tuple, b: tuple, times: float | Scalar = 1.0) -> tuple:
    """``a + times · b`` of two vectors."""
    return tuple(p + times * q for p, q in zip(a, b, strict=True))


def select(condition: Scalar, a: Any, b: Any) -> Any:
    """Leaves of `a` where the condition holds, of `b` elsewhere."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def across(point: tuple) -> Vector:
    """How a point moves when its body turns by one radian: a quarter turn to the left of where it is."""
    return -point[1], point[0]


def along(normal: tuple) -> Vector:
    """The direction along the ground: a quarter turn to the right of its normal."""
    return normal[1], -normal[0]


class Ground(NamedTuple):
    """The two pieces of ground that a body is near to, and the joint between them."""

    joint: Vector
    number: Scalar  # i32, of the joint; piece i is between joints i and i + 1
    left: Vector  # normals
    right: Vector

    def distance(self, x: Scalar, y: Scalar) -> tuple[Scalar, Vector]:
        """Distance of a point from the line of the ground below it, negative under it, and that line's normal."""
        right, up = x - self.joint[0], y - self.joint[1]
        normal = tuple(jnp.where(right < 0, a, b) for a, b in zip(self.left, self.right, strict=True))
        return dot(normal, (right, up)), normal

    def touched(self, ends: tuple[Vector, ...]) -> Scalar:
        """Which pieces the edge of a leg between two points touches, i32 with a bit for each piece.

        An edge above the joint may touch both, with its ends or with the point above the joint.
        """
        (x0, y0), (x1, y1) = ((x - self.joint[0], y - self.joint[1]) for x, y in ends)
        above = y0 - x0 * (y1 - y0) / jnp.where(x0 == x1, 1.0, x1 - x0)
        spans = (x0 < 0) != (x1 < 0)
        bits = jnp.int32(0)
        for offset, normal, side in ((1, self.left, lambda x: x < 0), (0, self.right, lambda x: x >= 0)):
            points = ((x0, y0, side(x0)), (x1, y1, side(x1)), (0.0, above, spans))
            near = [
                there & (jnp.abs(dot(normal, (x, y)) - (SKIN - DEEP) / 2) < (SKIN + DEEP) / 2) for x, y, there in points
            ]
            bits |= jnp.where(near[0] | near[1] | near[2], 1 << (self.number - offset), 0)
        return bits


def ground_near(terrain: jax.Array, x: Scalar) -> Ground:
    """The ground within less than 2 m of the joint that is nearest to `x`, 1 m or less away.

    No body reaches further from its centre than 0.75 m, nor moves by more than 0.2 m in a step.

    Args:
        terrain: f32[11] heights of the joints and of both ends.
        x: m.
    """
    number, heights = jnp.int32(1), [terrain[0], terrain[1], terrain[2]]
    for joint in range(2, PIECES):  # selections: a gather for every lander would cost more
        here = x >= CHUNK * (joint - 0.5)
        number = jnp.where(here, joint, number)
        heights = [jnp.where(here, terrain[joint - 1 + i], height) for i, height in enumerate(heights)]
    normals = []
    for low, high in pairwise(heights):
        slope = (high - low) / CHUNK
        length = jax.lax.rsqrt(1 + slope * slope)
        normals.append((-slope * length, length))
    return Ground((CHUNK * number, heights[1]), number, *normals)


def clearance(bodies: Bodies, ground: Ground) -> Scalar:
    """Least distance between the hull and the ground, f32[]: from its corners down, and from the joint up."""
    x, y, angle = bodies.x[0], bodies.y[0], bodies.angle[0]
    corners = [turned(angle, tuple(corner)) for corner in HULL_CORNERS]
    below = _least([ground.distance(x + right, y + up)[0] for right, up in corners])
    edges = np.roll(HULL_CORNERS, -1, axis=0) - HULL_CORNERS
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    right, up = turned(-angle, (ground.joint[0] - x, ground.joint[1] - y))
    # Outside of a convex shape is what is outside of one of its edges.
    inside = _least([n[0] * (p[0] - right) + n[1] * (p[1] - up) for n, p in zip(normals, HULL_CORNERS, strict=True)])
    return jnp.minimum(below, -inside)


def _least(values: list[Scalar]) -> Scalar:
    least = values[0]
    for value in values[1:]:
        least = jnp.minimum(least, value)
    return least


def push(bodies: Bodies, impulse: Vector, place: Vector) -> Bodies:
    """An impulse on the hull, N s, at a place relative to its centre."""
    return bodies._replace(
        vx=(bodies.vx[0] + impulse[0] / HULL_MASS, *bodies.vx[1:]),
        vy=(bodies.vy[0] + impulse[1] / HULL_MASS, *bodies.vy[1:]),
        spin=(bodies.spin[0] + cross(place, impulse) / HULL_INERTIA, *bodies.spin[1:]),
    )


class _Row(NamedTuple):
    """One thing that must not happen: a velocity ``along · u`` that an impulse can change."""

    along: tuple[Scalar, ...]  # of the five velocities
    answer: tuple[Scalar, ...]  # change of the five by an impulse of one
    mass: Scalar  # impulse for a change of one

    def velocity(self, u: tuple[Scalar, ...]) -> Scalar:
        return dot(self.along, u)

    def apply(self, u: tuple[Scalar, ...], impulse: Scalar) -> tuple[Scalar, ...]:
        return tuple(v + a * impulse for v, a in zip(u, self.answer, strict=True))


def _reduced_inverse(pivot: Vector, legs: tuple[Vector, ...]) -> Callable[[Vector, Three], tuple[Scalar, ...]]:
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


class _Contact(NamedTuple):
    """A corner of a leg on the ground, or near it."""

    corner: Vector  # in the leg's own axes
    place: Vector  # from the leg's centre to between the surfaces
    direction: Vector  # the ground's normal
    touches: Scalar
    normal: _Row
    tangent: _Row


class _Side(NamedTuple):
    """A leg, and all that holds in one step."""

    body: int  # 1 or 2
    ground: Ground
    gap: Scalar  # between its lowest corner and the ground, m
    arm: Vector  # from its centre to the joint
    free: Three  # velocity and spin that it would have alone
    motor: _Row
    low: Scalar  # bool, whether it is at its lower or its upper limit
    high: Scalar
    wanted: Scalar  # opening speed of the joint, rad/s
    least: Scalar  # bounds of the impulse of motor and limit together
    most: Scalar
    contacts: tuple[_Contact, ...]

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


class _Sweeps(NamedTuple):
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
    ) -> "_Sweeps":
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


def _facing(distances: list[Scalar]) -> tuple[Scalar, Vector, Vector]:
    """The edge of a leg that faces the ground, i32, and its two corners in the leg's axes.

    Args:
        distances: of the four corners from the ground; edge i is between corners i and i + 1.
    """
    sums = [distances[i] + distances[(i + 1) % 4] for i in range(4)]
    least = _least(sums)
    edge, ends = jnp.int32(3), [tuple(LEG[3]), tuple(LEG[0])]
    for i in (2, 1, 0):
        here = sums[i] == least
        edge = jnp.where(here, i, edge)
        ends = [tuple(jnp.where(here, LEG[(i + end) % 4][axis], ends[end][axis]) for axis in (0, 1)) for end in (0, 1)]
    return edge, ends[0], ends[1]


def _corner_distances(x: Scalar, y: Scalar, angle: Scalar, ground: Ground) -> list[Scalar]:
    arms = [turned(angle, tuple(corner)) for corner in LEG]
    return [ground.distance(x + right, y + up)[0] for right, up in arms]


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
    inverse = _reduced_inverse(pivot, tuple(map(across, arms)))

    # The velocities nearest to those of the free bodies, in their kinetic energy, that keep the joints together.
    momenta = [tuple(LEG_MASS * v for v in free) for free in zip(bodies.vx[1:], fall[1:], strict=True)]
    linear = plus(plus(momenta[0], momenta[1]), (bodies.vx[0], fall[0]), HULL_MASS)
    angular = (
        HULL_INERTIA * bodies.spin[0] + dot(pivot, plus(momenta[0], momenta[1])),
        *(LEG_INERTIA * bodies.spin[1 + k] - dot(across(arms[k]), momenta[k]) for k in (0, 1)),
    )
    u = inverse(linear, angular)
    faced = [_side(1 + k, bodies, arms[k], fall, pivot, inverse, terrain) for k in (0, 1)]
    begun = tuple(_begin(*face, leg) for face, leg in zip(faced, legs, strict=True))
    sides = tuple(side for side, *_ in faced)
    u, solved = _solve(u, sides, begun, iterations[0])

    ended, motions = [], []
    for side, leg, start in zip(sides, solved, begun, strict=True):
        u, leg, motion = _as_unfinished(u, side, leg, start, pivot)
        ended.append(leg)
        motions.append(motion)
    for k in (1, 0):  # a leg at its limit follows what the other one did
        side, leg = sides[k], ended[k]
        held = jnp.clip(leg.held - side.opening(u) * side.motor.mass, side.least, side.most)
        held = jnp.where(side.near, held, leg.held)
        u, ended[k] = side.motor.apply(u, held - leg.held), leg._replace(held=held)
    velocities = [u[:3]]
    for k, (side, leg, motion) in enumerate(zip(sides, ended, motions, strict=True)):
        ended[k] = leg._replace(joint=select(motion.apart, motion.joint, _joint_impulse(u, side, leg, pivot)))
        velocities.append(select(motion.apart, motion.velocity, (*side.velocity(u, pivot), u[3 + k])))
    vx, vy, spin = (tuple(v[axis] for v in velocities) for axis in range(3))
    places = tuple(plus(p, v, DT) for p, v in zip(bodies[:3], (vx, vy, spin), strict=True))
    correct = partial(_correct, sides=sides)
    x, y, angle, settled = jax.lax.fori_loop(0, iterations[1], correct, (*places, jnp.bool_(False)))
    moved = Bodies(x, y, angle, vx, vy, spin)
    for k, (side, leg, before) in enumerate(zip(sides, ended, legs, strict=True)):
        moved, stopped, struck = _impact(bodies, moved, side)
        # A contact that begins sets the report, one that ends takes it back, be there others; impacts come last.
        report = ((before.touched & ~leg.touched) == 0) & (before.contact | ((leg.touched & ~before.touched) != 0))
        report |= stopped & ((struck & ~leg.touched) != 0)
        ended[k] = leg._replace(touched=jnp.where(stopped, struck, leg.touched), contact=report)
    return Stepped(moved, tuple(ended), settled, clearance(moved, ground_near(terrain, bodies.x[0])))


def _side(
    body: int, bodies: Bodies, arm: Vector, fall: Three, pivot: Vector, inverse: Callable, terrain: jax.Array
) -> tuple[_Side, Scalar, Scalar]:
    """A leg in this step, which of its edges faces the ground, and which pieces of ground that touches."""
    k = body - 1
    x, y, angle = bodies.x[body], bodies.y[body], bodies.angle[body]
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)

    def row(linear: Vector, hull: Scalar, leg: Scalar) -> _Row:
        u = (*linear, hull, *((leg, zero) if k == 0 else (zero, leg)))
        answer = inverse(u[:2], u[2:])
        return _Row(u, answer, 1 / dot(u, answer))

    # A motor presses its leg against the near limit: both are one row, whose bounds tell whether the limit helps.
    motor = row((zero, zero), -one, one)
    bent = angle - bodies.angle[0]
    low, high = bent <= LOWER[k], bent >= UPPER[k]
    near = low if k == 0 else high
    ground = ground_near(terrain, x)
    distances = _corner_distances(x, y, angle, ground)
    edge, *ends = _facing(distances)
    contacts, points = [], []
    for corner in ends:
        place = turned(angle, corner)
        points.append(plus((x, y), place))
        distance, direction = ground.distance(*points[-1])
        touches = (distance < SKIN) & (distance > -DEEP)
        place = plus(place, direction, -0.5 * distance)
        motion = plus(across(place), across(arm), -1)
        rows = (row(d, dot(d, pivot), dot(d, motion)) for d in (direction, along(direction)))
        contacts.append(_Contact(corner, place, direction, touches, *rows))
    side = _Side(
        body=body,
        ground=ground,
        gap=_least(distances),
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


def _begin(side: _Side, edge: Scalar, touched: Scalar, leg: Leg) -> Leg:
    """Impulses to begin with: those of the step before, where what they were for is still there."""
    same = tuple(contact.touches & (edge == leg.edge) for contact in side.contacts)
    return leg._replace(
        held=jnp.clip(jnp.where(side.near, leg.held, leg.motor), side.least, side.most),
        edge=edge,
        normal=tuple(jnp.where(s, n, 0.0) for s, n in zip(same, leg.normal, strict=True)),
        tangent=tuple(jnp.where(s, t, 0.0) for s, t in zip(same, leg.tangent, strict=True)),
        touched=touched,
    )


def _solve(
    u: tuple[Scalar, ...], sides: tuple[_Side, ...], legs: tuple[Leg, ...], iterations: int
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


def _joint_impulse(u: tuple[Scalar, ...], side: _Side, leg: Leg, pivot: Vector) -> Vector:
    """What the joint must have done to the leg for it to move as it does."""
    impulse = tuple(LEG_MASS * v for v in plus(side.velocity(u, pivot), side.free[:2], -1))
    for contact, normal, tangent in zip(side.contacts, leg.normal, leg.tangent, strict=True):
        impulse = plus(plus(impulse, contact.direction, -normal), along(contact.direction), -tangent)
    return impulse


class _Motion(NamedTuple):
    """How a leg moves where the joint has not caught up with it."""

    apart: Scalar  # bool, whether this holds
    velocity: Three  # of its centre, and its spin
    joint: Vector  # impulse


def _as_unfinished(
    u: tuple[Scalar, ...], side: _Side, leg: Leg, start: Leg, pivot: Vector
) -> tuple[tuple[Scalar, ...], Leg, _Motion]:
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
        return _joint_impulse(velocities, side, changed, pivot)

    force = ground_for(torque)
    joint = joint_for(torque, force)
    moving = jnp.abs(torque) < MOTOR_IMPULSE
    sweeps = _Sweeps.of(pivot, side.arm, contact.place, contact.direction, slope, moving, on)
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
    return u, leg._replace(motor=motor), _Motion(apart, (*velocity, spin), new_joint)


def _correct(_: int, carry: tuple, sides: tuple[_Side, ...]) -> tuple:
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


def _impact(start: Bodies, end: Bodies, side: _Side) -> tuple[Bodies, Scalar, Scalar]:
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
    sunk = _least(_corner_distances(end.x[body], end.y[body], end.angle[body], ground))
    stopped = (gap > IMPACT) & (sunk < IMPACT) & (sunk > -2.0)
    share = jnp.clip((gap - IMPACT) / jnp.maximum(gap - sunk, 1e-6), 0.0, 1.0)
    x, y, angle = (before + share * (after - before) for before, after in places)
    vx, vy, spin = end.vx[body], end.vy[body], end.spin[body]
    _, *ends = _facing(_corner_distances(x, y, angle, ground))
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


def at_rest(bodies: Bodies) -> Scalar:
    """Whether all bodies are slow enough to fall asleep."""
    still = [
        (spin**2 <= ANGULAR_SLOP**2) & (vx**2 + vy**2 <= SLOWEST**2)
        for vx, vy, spin in zip(bodies.vx, bodies.vy, bodies.spin, strict=True)
    ]
    return still[0] & still[1] & still[2]
