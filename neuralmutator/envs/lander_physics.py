"""The physics of LunarLander: a hull, two legs on motors, and the ground, as Box2D solves them.

Box2D iterates 180 times over joints that hold the legs to the hull. Here the joints are solved in closed form: the hull's
velocity, its spin and the spins of the legs, five numbers, are all that can move. What remains, the motors with their
limits and at most four points of contact, needs ten iterations. Everything is scalars, so that ``vmap`` turns every
number into one vector over the landers.

Units are metres, seconds, kilograms; bodies are the hull, the left and the right leg, at their centres of mass.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Scalar = jax.Array
Vector = tuple[Scalar, Scalar]
Three = tuple[Scalar, Scalar, Scalar]

DT = 1 / 50
DEBUG = False
SCALE = 30.0
"""Gymnasium's pixels in a metre."""
WIDTH, HEIGHT = 20.0, 400 / SCALE
CHUNK = 2.0
"""Width of a piece of the ground, which has ten."""
PIECES = 10

HULL = np.array([(-14, 17), (-17, 0), (-17, -10), (17, -10), (17, 0), (14, 17)]) / SCALE
LEG = np.array([(-2, -8), (2, -8), (2, 8), (-2, 8)]) / SCALE


def _solid(corners: np.ndarray, density: float) -> tuple[float, np.ndarray, float]:
    """Mass, centre and moment of inertia about the centre, of a polygon that runs anticlockwise."""
    x, y = corners.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    twice = x * next_y - next_x * y
    centre = np.array([((x + next_x) * twice).sum(), ((y + next_y) * twice).sum()]) / (3 * twice.sum())
    inertia = (x * x + x * next_x + next_x**2 + y * y + y * next_y + next_y**2) @ twice / 12
    mass = density * twice.sum() / 2
    return float(mass), centre, float(density * inertia - mass * centre @ centre)


HULL_MASS, HULL_CENTRE, HULL_INERTIA = _solid(HULL, 5.0)
LEG_MASS, _, LEG_INERTIA = _solid(LEG, 1.0)
MASS = (HULL_MASS, LEG_MASS, LEG_MASS)
INERTIA = (HULL_INERTIA, LEG_INERTIA, LEG_INERTIA)
HULL_CORNERS = HULL - HULL_CENTRE
HULL_ANCHOR = (-float(HULL_CENTRE[0]), -float(HULL_CENTRE[1]))
LEG_ANCHORS = ((-20 / SCALE, 18 / SCALE), (20 / SCALE, 18 / SCALE))
LOWER = (0.4 - 0.05, -0.9 + 0.05)
"""Least angle of a leg against the hull; Box2D counts from the angle at which a joint is made."""
UPPER = (0.9 - 0.05, -0.4 + 0.05)
MOTOR_SPEED = (-0.3, 0.3)
MOTOR_IMPULSE = 40.0 * DT

FRICTION = float(np.sqrt(0.2 * 0.1))
SKIN = 0.02
"""Distance at which bodies touch: every polygon of Box2D wears a skin of 0.01."""
DEEP = 0.5
"""Further below the ground than that nothing is pushed out."""
LINEAR_SLOP, ANGULAR_SLOP = 0.005, np.deg2rad(2.0)
LARGEST_CORRECTION, LARGEST_TURN = 0.2, np.deg2rad(8.0)
STIFFNESS = 0.2
IMPACT = 0.005
"""Distance from the ground at which a fast leg is stopped within a step."""
SLOWEST = 0.01
"""Speed below which a body may fall asleep."""


class Bodies(NamedTuple):
    """Places and velocities of hull, left leg and right leg."""

    x: Three
    y: Three
    angle: Three
    vx: Three
    vy: Three
    spin: Three


class Impulses(NamedTuple):
    """What the solver found in the last step, from where it begins in the next one."""

    motor: Vector  # of the left and the right leg, N m s
    held: Vector  # with what its limit adds to it
    joint: tuple[Vector, Vector]  # on the legs, N s
    edge: Vector  # i32, which edge of the leg faces the ground
    touched: Vector  # i32, the pieces of ground that the leg touches, a bit for each
    normal: tuple[Scalar, ...]  # of both ends of the left leg's edge, then of the right leg's, N s
    tangent: tuple[Scalar, ...]


class Stepped(NamedTuple):
    """The world after a step."""

    bodies: Bodies
    impulses: Impulses
    legs: Vector  # bool, the contacts of the legs as Gymnasium reports them
    settled: Scalar  # bool, whether no constraint is left violated
    clearance: Scalar  # f32, between hull and ground


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


def _right(direction: Vector) -> Vector:
    return direction[1], -direction[0]


def across(point: tuple) -> Vector:
    """How a point moves when its body turns by one radian."""
    return -point[1], point[0]


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


    def touched(self, ends: tuple[Vector, Vector]) -> Scalar:
        """Which pieces the edge of a leg between two points touches, i32 with a bit for each piece.

        An edge above the joint may touch both, with its ends or with the point above the joint.
        """
        (x0, y0), (x1, y1) = ((x - self.joint[0], y - self.joint[1]) for x, y in ends)
        above = y0 - x0 * (y1 - y0) / jnp.where(x0 == x1, 1.0, x1 - x0)
        spans = (x0 < 0) != (x1 < 0)
        bits = jnp.int32(0)
        for offset, normal, side in ((1, self.left, lambda x: x < 0), (0, self.right, lambda x: x >= 0)):
            points = ((x0, y0, side(x0)), (x1, y1, side(x1)), (0.0, above, spans))
            near = [there & (jnp.abs(dot(normal, (x, y)) - (SKIN - DEEP) / 2) < (SKIN + DEEP) / 2) for x, y, there in points]
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
    for low, high in zip(heights, heights[1:], strict=False):
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


def no_impulses() -> Impulses:
    """Where the solver begins in the first step."""
    zero = jnp.zeros(())
    nothing = (jnp.int32(0), jnp.int32(0))
    return Impulses((zero, zero), (zero, zero), ((zero, zero),) * 2, nothing, nothing, (zero,) * 4, (zero,) * 4)


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


class _Contact(NamedTuple):
    """A corner of a leg on the ground, or near it."""

    body: int  # 1 or 2
    corner: Vector  # in the leg's own axes
    place: Vector  # from the leg's centre
    direction: Vector  # the ground's normal
    touches: Scalar
    normal: _Row
    tangent: _Row
    coupling: Scalar  # how fast the motor's joint opens after a normal impulse of one, rad/s


def _reduced_inverse(pivot: Vector, legs: tuple[Vector, Vector]) -> Callable[[Vector, Three], tuple[Scalar, ...]]:
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
    b, c = (-LEG_MASS * dot(pivot, leg) - dot(couplings[0], k) / total for leg, k in zip(legs, couplings[1:]))
    d, f = (LEG_INERTIA + LEG_MASS * dot(leg, leg) - dot(k, k) / total for leg, k in zip(legs, couplings[1:]))
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


def _unfinished(rA, rB, place, direction, moving, on, sigma):
    iA, iB, mA, mB = 1 / HULL_INERTIA, 1 / LEG_INERTIA, 1 / HULL_MASS, 1 / LEG_MASS
    pA, pB = across(rA), across(rB)
    pull = tuple(d + sigma * r for d, r in zip(direction, _right(direction)))  # of normal and friction together
    an, ap = cross(place, direction), cross(place, pull)
    Kmm = iA + iB
    Kmp = tuple(iB * b + iA * a for a, b in zip(pA, pB))
    Kmn = iB * ap
    Kpn = tuple(mB * d + iB * ap * b for d, b in zip(pull, pB))
    Knp = tuple(mB * d + iB * an * b for d, b in zip(direction, pB))
    Knm, Knn = iB * an, mB * dot(direction, pull) + iB * an * ap
    a = mA + mB + iA * pA[0] ** 2 + iB * pB[0] ** 2
    b = iA * pA[0] * pA[1] + iB * pB[0] * pB[1]
    c = mA + mB + iA * pA[1] ** 2 + iB * pB[1] ** 2
    det = 1 / (a * c - b * b)

    def once(p0, p1, n):
        m = jnp.where(moving, -(Kmp[0] * p0 + Kmp[1] * p1 + Kmn * n) / Kmm, 0.0)
        r = tuple(-(x * m + y * n) for x, y in zip(Kmp, Kpn))
        p0, p1 = det * (c * r[0] - b * r[1]), det * (a * r[1] - b * r[0])
        n = jnp.where(on, -(Knm * m + Knp[0] * p0 + Knp[1] * p1) / Knn, 0.0)
        return (p0, p1, n), m

    def power(p0, p1, n):
        one, zero = jnp.ones_like(n), jnp.zeros_like(n)
        columns = tuple(once(*(one if i == j else zero for i in range(3)))[0] for j in range(3))
        def times(M, v): return tuple(sum(M[j][i] * v[j] for j in range(3)) for i in range(3))
        def square(M): return tuple(times(M, M[j]) for j in range(3))
        def body(bit, carry):
            M, v = carry
            odd = (179 >> bit) & 1 == 1
            v = tuple(jnp.where(odd, new, old) for new, old in zip(times(M, v), v))
            return square(M), v
        _, v = jax.lax.fori_loop(0, 8, body, (columns, (p0, p1, n)))
        (p0, p1, n), m = once(*v)
        return m, n, (p0, p1)

    return once, power


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
        ends = [
            tuple(jnp.where(here, LEG[(i + end) % 4][axis], ends[end][axis]) for axis in (0, 1)) for end in (0, 1)
        ]
    return edge, ends[0], ends[1]


def _corner_distances(x: Scalar, y: Scalar, angle: Scalar, ground: Ground) -> list[Scalar]:
    arms = [turned(angle, tuple(corner)) for corner in LEG]
    return [ground.distance(x + right, y + up)[0] for right, up in arms]


def world_step(
    bodies: Bodies,
    impulses: Impulses,
    legs: Vector,
    terrain: jax.Array,
    gravity: float | Scalar = -10.0,
    iterations: tuple[int, int] = (30, 2),
) -> Stepped:
    """One step of the world.

    Args:
        bodies: before it.
        impulses: of the step before.
        legs: bool, the reported contacts of the step before.
        terrain: f32[11] heights of the ground.
        gravity: m/s².
        iterations: over velocities and over places.
    """
    x, y, angle = bodies.x, bodies.y, bodies.angle
    fall = tuple(v + gravity * DT for v in bodies.vy)
    pivot = across(turned(angle[0], HULL_ANCHOR))
    arms = tuple(across(turned(angle[1 + k], LEG_ANCHORS[k])) for k in (0, 1))
    inverse = _reduced_inverse(pivot, arms)

    # The velocities nearest to those of the free bodies, in their kinetic energy, that keep the joints together.
    momentum = tuple(
        MASS[0] * free[0] + LEG_MASS * (free[1] + free[2]) for free in (bodies.vx, fall)
    )
    of_legs = [(LEG_MASS * bodies.vx[1 + k], LEG_MASS * fall[1 + k]) for k in (0, 1)]
    angular = (
        HULL_INERTIA * bodies.spin[0] + dot(pivot, of_legs[0]) + dot(pivot, of_legs[1]),
        LEG_INERTIA * bodies.spin[1] - dot(arms[0], of_legs[0]),
        LEG_INERTIA * bodies.spin[2] - dot(arms[1], of_legs[1]),
    )
    u = inverse(momentum, angular)

    def row(along: tuple) -> _Row:
        answer = inverse(along[:2], along[2:])
        return _Row(along, answer, 1 / dot(along, answer))

    # A motor presses its leg against the near limit: both are one row, whose bounds tell whether the limit helps.
    zero, one = jnp.zeros_like(u[0]), jnp.ones_like(u[0])
    motors = tuple(row((zero, zero, -one, *((one, zero) if k == 0 else (zero, one)))) for k in (0, 1))
    bent = [angle[1 + k] - angle[0] for k in (0, 1)]
    low, high = [bent[k] <= LOWER[k] for k in (0, 1)], [bent[k] >= UPPER[k] for k in (0, 1)]
    near, far = (low[0], high[1]), (high[0], low[1])
    wanted = [jnp.where(near[k], 0.0, MOTOR_SPEED[k]) for k in (0, 1)]
    least = (-MOTOR_IMPULSE, jnp.where(near[1], -jnp.inf, -MOTOR_IMPULSE))
    most = (jnp.where(near[0], jnp.inf, MOTOR_IMPULSE), MOTOR_IMPULSE)
    motor = tuple(jnp.clip(jnp.where(near[k], impulses.held[k], impulses.motor[k]), least[k], most[k]) for k in (0, 1))

    grounds = tuple(ground_near(terrain, x[body]) for body in (0, 1, 2))
    contacts, edges, gaps, touched = [], [], [], []
    normals, tangents = list(impulses.normal), list(impulses.tangent)
    for k in (0, 1):
        body = 1 + k
        distances = _corner_distances(x[body], y[body], angle[body], grounds[body])
        gaps.append(_least(distances))
        edge, *ends = _facing(distances)
        edges.append(edge)
        corners = [turned(angle[body], corner) for corner in ends]
        touched.append(grounds[body].touched(tuple((x[body] + right, y[body] + up) for right, up in corners)))
        for end, corner in enumerate(ends):
            place = turned(angle[body], corner)
            distance, normal = grounds[body].distance(x[body] + place[0], y[body] + place[1])
            touches = (distance < SKIN) & (distance > -DEEP)
            place = tuple(p - 0.5 * distance * n for p, n in zip(place, normal, strict=True))  # between the surfaces
            motion = tuple(p - a for p, a in zip(across(place), arms[k], strict=True))
            rows = []
            for direction in (normal, _right(normal)):
                turn = dot(direction, motion)
                rows.append(row((*direction, dot(direction, pivot), *((turn, zero) if k == 0 else (zero, turn)))))
            contacts.append(_Contact(body, corner, place, normal, touches, *rows, motors[k].velocity(rows[0].answer)))
            slot, same = 2 * k + end, touches & (edge == impulses.edge[k])
            normals[slot] = jnp.where(same, normals[slot], 0.0)
            tangents[slot] = jnp.where(same, tangents[slot], 0.0)

    warm_n, warm_t = tuple(normals), tuple(tangents)
    for k in (0, 1):
        u = motors[k].apply(u, motor[k])
    for slot, contact in enumerate(contacts):
        u = contact.tangent.apply(contact.normal.apply(u, normals[slot]), tangents[slot])

    def improve(_: int, carry: tuple) -> tuple:
        u, motor, limit, normals, tangents = carry[0], *map(list, carry[1:])
        for k in (0, 1):
            back = jnp.minimum if k == 0 else jnp.maximum
            new = jnp.where(far[k], back(limit[k] - (u[3 + k] - u[2]) * motors[k].mass, 0.0), 0.0)
            u, limit[k] = motors[k].apply(u, new - limit[k]), new
        for slot, (body, _, _, _, touches, normal, tangent, coupling) in enumerate(contacts):
            hold = FRICTION * normals[slot]
            new = jnp.clip(tangents[slot] - tangent.velocity(u) * tangent.mass, -hold, hold)
            u, tangents[slot] = tangent.apply(u, new - tangents[slot]), new
            # A leg is light: what its motor and the ground do to it is solved at once, or it would take hundreds of
            # iterations. First as if both held; then the ground with the motor at its bound; then without the ground.
            k = body - 1
            slip, approach = u[3 + k] - u[2] - wanted[k], normal.velocity(u)
            both = 1 - coupling * coupling * motors[k].mass * normal.mass
            torque = motor[k] - (slip - coupling * normal.mass * approach) * motors[k].mass / both
            torque = jnp.clip(torque, least[k], most[k])
            force = normals[slot] - (approach + coupling * (torque - motor[k])) * normal.mass
            force = jnp.where(touches, jnp.maximum(force, 0.0), 0.0)
            alone = motor[k] - (slip + coupling * (force - normals[slot])) * motors[k].mass
            torque = jnp.where(force > 0, torque, jnp.clip(alone, least[k], most[k]))
            u = normal.apply(motors[k].apply(u, torque - motor[k]), force - normals[slot])
            motor[k], normals[slot] = torque, force
        return u, tuple(motor), tuple(limit), tuple(normals), tuple(tangents)

    u, motor, _, normals, tangents = jax.lax.fori_loop(
        0, iterations[0], improve, (u, motor, (zero, zero), tuple(normals), tuple(tangents))
    )
    held_ = list(motor)
    motor = list(motor)
    normals, tangents = list(normals), list(tangents)

    def leg_velocity(k: int) -> Vector:
        return tuple(u[axis] + u[2] * pivot[axis] - u[3 + k] * arms[k][axis] for axis in (0, 1))

    def joint_impulse(k: int) -> Vector:
        free, now = (bodies.vx[1 + k], fall[1 + k]), leg_velocity(k)
        total = [LEG_MASS * (v - w) for v, w in zip(now, free, strict=True)]
        for slot in (2 * k, 2 * k + 1):
            for direction, size in ((contacts[slot].direction, normals[slot]), (_right(contacts[slot].direction), tangents[slot])):
                total = [p - size * d for p, d in zip(total, direction, strict=True)]
        return tuple(total)

    own = [None, None]
    for k in (0, 1):
        free = ~near[k] & ~far[k]
        pair = contacts[2 * k : 2 * k + 2]
        n, t, wn = normals[2 * k : 2 * k + 2], tangents[2 * k : 2 * k + 2], warm_n[2 * k : 2 * k + 2]
        first = jnp.maximum(n[0], wn[0]) >= jnp.maximum(n[1], wn[1])
        pick = lambda two: jax.tree.map(lambda a, b: jnp.where(first, a, b), *two)
        chosen = pick([c[1:] for c in pair])
        chosen = _Contact(1 + k, *chosen)
        n, t, wn = pick(n), pick(t), pick(wn)
        on = chosen.touches & ((n > 0) | (wn > 0))
        slip, approach = u[3 + k] - u[2] - wanted[k], chosen.normal.velocity(u)
        sigma = jnp.where(jnp.abs(t) >= 0.999 * FRICTION * n, jnp.where(n > 0, jnp.sign(t), -jnp.sign(chosen.tangent.velocity(u))) * FRICTION, 0.0)
        pulled = tuple(x + sigma * y for x, y in zip(chosen.normal.answer, chosen.tangent.answer))
        Kmm, Knn = 1 / motors[k].mass, chosen.normal.velocity(pulled)
        Kmn, Knm = motors[k].velocity(pulled), chosen.coupling
        det = Kmm * Knn - Kmn * Knm
        m_both = motor[k] - (Knn * slip - Kmn * approach) / det
        m_alone = motor[k] - (slip - Kmn * n) / Kmm
        m_lin = jnp.clip(jnp.where(on, m_both, m_alone), -MOTOR_IMPULSE, MOTOR_IMPULSE)
        moving = jnp.abs(m_lin) < MOTOR_IMPULSE
        n_lin = jnp.where(on, n - (approach + Knm * (m_lin - motor[k])) / Knn, 0.0)
        def with_(m_, n_):
            v = motors[k].apply(u, m_ - motor[k])
            v = chosen.normal.apply(v, n_ - n)
            return chosen.tangent.apply(v, sigma * (n_ - n))
        t_of = lambda n_: t + sigma * (n_ - n)
        def p_of(v, n_):
            now = tuple(v[axis] + v[2] * pivot[axis] - v[3 + k] * arms[k][axis] for axis in (0, 1))
            freev = (bodies.vx[1 + k], fall[1 + k])
            return tuple(LEG_MASS * (x - y) - n_ * d - t_of(n_) * r for x, y, d, r in zip(now, freev, chosen.direction, _right(chosen.direction)))
        p_lin = p_of(with_(m_lin, n_lin), n_lin)
        e_p = tuple(w - q for w, q in zip(impulses.joint[k], p_lin))
        e_n = jnp.where(on, wn - n_lin, 0.0)
        sweep, power = _unfinished(turned(angle[0], HULL_ANCHOR), turned(angle[1 + k], LEG_ANCHORS[k]), chosen.place, chosen.direction, moving, on, sigma)
        m_first = m_lin + sweep(*e_p, e_n)[1]
        full = moving & (jnp.abs(m_first) > MOTOR_IMPULSE)
        bound = jnp.clip(m_first, -MOTOR_IMPULSE, MOTOR_IMPULSE)
        n_full = jnp.where(on, n_lin - Knm * (bound - m_lin) / Knn, 0.0)
        p_full = p_of(with_(bound, n_full), n_full)
        e_p = tuple(jnp.where(full, f - q, e) for f, q, e in zip(p_full, p_lin, e_p))
        e_n = jnp.where(full, n_full - n_lin, e_n)
        f_m, f_n, f_p = power(*e_p, e_n)
        n_new = n_lin + f_n
        alone = ~(pair[0].touches & pair[1].touches)
        keep = free & (~on | (n_new >= 0)) & alone
        m_new = jnp.where(keep, jnp.clip(m_lin + f_m, -MOTOR_IMPULSE, MOTOR_IMPULSE), motor[k])
        n_new = jnp.where(keep & on, n_new, n)
        u, t_new = with_(m_new, n_new), t_of(n_new)
        p_new = tuple(q + f for q, f in zip(p_lin, f_p))
        pulls = tuple(n_new * d + t_new * r for d, r in zip(chosen.direction, _right(chosen.direction)))
        own[k] = (
            keep,
            tuple(v + (a + b) / LEG_MASS for v, a, b in zip((bodies.vx[1 + k], fall[1 + k]), p_new, pulls)),
            bodies.spin[1 + k] + (m_new + cross(turned(angle[1 + k], LEG_ANCHORS[k]), p_new) + cross(chosen.place, pulls)) / LEG_INERTIA,
            p_new,
        )
        for i in (0, 1):
            mine = first if i == 0 else ~first
            normals[2 * k + i] = jnp.where(mine, n_new, normals[2 * k + i])
            tangents[2 * k + i] = jnp.where(mine, t_new, tangents[2 * k + i])
        held_[k] = m_new
        motor[k] = jnp.where(free, m_new, jnp.clip(impulses.motor[k] + MOTOR_SPEED[k] * 180 / (1 / HULL_INERTIA + 1 / LEG_INERTIA), -MOTOR_IMPULSE, MOTOR_IMPULSE))
    for k in (1, 0):  # a leg at its limit follows what the other one did
        slip = u[3 + k] - u[2] - wanted[k]
        new = jnp.where(near[k], jnp.clip(held_[k] - slip * motors[k].mass, least[k], most[k]), held_[k])
        u, held_[k] = motors[k].apply(u, new - held_[k]), new
    joints = tuple(tuple(jnp.where(own[k][0], a, b) for a, b in zip(own[k][3], joint_impulse(k))) for k in (0, 1))
    motor, normals, tangents = tuple(motor), tuple(normals), tuple(tangents)
    (vx1, vy1), (vx2, vy2) = (tuple(jnp.where(own[k][0], a, b) for a, b in zip(own[k][1], leg_velocity(k))) for k in (0, 1))
    vx, vy = (u[0], vx1, vx2), (u[1], vy1, vy2)
    spin = (u[2], *(jnp.where(own[k][0], own[k][2], u[3 + k]) for k in (0, 1)))
    places = tuple(
        tuple(p + DT * v for p, v in zip(place, velocity, strict=True))
        for place, velocity in ((x, vx), (y, vy), (angle, spin))
    )
    limits = tuple(zip(low, high, strict=True))
    correct = partial(_correct, contacts=contacts, limits=limits, grounds=grounds)
    *places, settled = jax.lax.fori_loop(0, iterations[1], correct, (*places, zero > 0))
    moved = Bodies(*places, vx, vy, spin)
    reported, held = [], []
    for k in (0, 1):
        moved, stopped, struck = _impact(bodies, moved, 1 + k, gaps[k], grounds[1 + k])
        # A contact that begins sets the report, one that ends takes it back, be there others; impacts come last.
        begun, ended = touched[k] & ~impulses.touched[k], impulses.touched[k] & ~touched[k]
        report = jnp.where(ended != 0, False, legs[k] | (begun != 0))
        reported.append(report | (stopped & ((struck & ~touched[k]) != 0)))
        held.append(jnp.where(stopped, struck, touched[k]))
    found = Impulses(motor, tuple(held_), joints, tuple(edges), tuple(held), normals, tangents)
    return Stepped(moved, found, tuple(reported), settled, clearance(moved, grounds[0]))


def _correct(_: int, carry: tuple, contacts: list[_Contact], limits: tuple, grounds: tuple[Ground, ...]) -> tuple:
    """Moves bodies apart where they sank in, turns legs back into their limits, puts joints together."""
    before, settled = carry[:3], carry[3]
    x, y, angle = (list(values) for values in before)
    good = jnp.ones_like(settled)

    def move(body: int, impulse: Vector, place: Vector) -> None:
        x[body] += impulse[0] / MASS[body]
        y[body] += impulse[1] / MASS[body]
        angle[body] += cross(place, impulse) / INERTIA[body]

    for body, corner, _, _, touches, _, _, _ in contacts:
        place = turned(angle[body], corner)
        distance, normal = grounds[body].distance(x[body] + place[0], y[body] + place[1])
        place = tuple(p - 0.5 * distance * n for p, n in zip(place, normal, strict=True))
        good &= ~touches | (distance - SKIN >= -3 * LINEAR_SLOP)
        error = jnp.clip(STIFFNESS * (distance - SKIN + LINEAR_SLOP), -LARGEST_CORRECTION, 0.0)
        give = 1 / MASS[body] + cross(place, normal) ** 2 / INERTIA[body]
        size = jnp.where(touches, -error / give, 0.0)
        move(body, tuple(size * n for n in normal), place)
    for k in (1, 0):
        leg, (low, high) = 1 + k, limits[k]
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
    after = (x, y, angle)
    kept = tuple(
        tuple(jnp.where(settled, old, new) for old, new in zip(olds, news, strict=True))
        for olds, news in zip(before, after, strict=True)
    )
    return *kept, settled | good


def _impact(start: Bodies, end: Bodies, body: int, gap: Scalar, ground: Ground) -> tuple[Bodies, Scalar, Scalar]:
    """Stops a leg that would have flown into the ground in this step; its joint hears of it in the next one.

    Args:
        start: before the step.
        end: after it.
        body: of the leg, 1 or 2.
        gap: its distance from the ground before the step.
        ground: near the leg.
    """
    places = [(a[body], b[body]) for a, b in zip(start[:3], end[:3], strict=True)]
    sunk = _least(_corner_distances(*(after for _, after in places), ground))
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
        vx, vy, spin, normals, tangents = *carry[:3], *map(list, carry[3:])
        for i, (place, normal, touches) in enumerate(points):
            for kind, direction in ((tangents, _right(normal)), (normals, normal)):
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
