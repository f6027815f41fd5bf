"""The ground of LunarLander: ten straight pieces, and how far bodies are from them."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.envs.lander.bodies import HULL_CORNERS, LEG, SKIN, Bodies
from neuralmutator.envs.plane import Scalar, Vector, dot, least, turned

CHUNK = 2.0
"""Width of a piece of the ground, which has ten."""
PIECES = 10
DEEP = 0.5
"""Further below the ground than that nothing is pushed out."""


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
    below = least([ground.distance(x + right, y + up)[0] for right, up in corners])
    edges = np.roll(HULL_CORNERS, -1, axis=0) - HULL_CORNERS
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    right, up = turned(-angle, (ground.joint[0] - x, ground.joint[1] - y))
    # Outside of a convex shape is what is outside of one of its edges.
    inside = least([n[0] * (p[0] - right) + n[1] * (p[1] - up) for n, p in zip(normals, HULL_CORNERS, strict=True)])
    return jnp.minimum(below, -inside)


def facing(distances: list[Scalar]) -> tuple[Scalar, Vector, Vector]:
    """The edge of a leg that faces the ground, i32, and its two corners in the leg's axes.

    Args:
        distances: of the four corners from the ground; edge i is between corners i and i + 1.
    """
    sums = [distances[i] + distances[(i + 1) % 4] for i in range(4)]
    lowest = least(sums)
    edge, ends = jnp.int32(3), [tuple(LEG[3]), tuple(LEG[0])]
    for i in (2, 1, 0):
        here = sums[i] == lowest
        edge = jnp.where(here, i, edge)
        ends = [tuple(jnp.where(here, LEG[(i + end) % 4][axis], ends[end][axis]) for axis in (0, 1)) for end in (0, 1)]
    return edge, ends[0], ends[1]


def corner_distances(x: Scalar, y: Scalar, angle: Scalar, ground: Ground) -> list[Scalar]:
    """Distances of the four corners of a leg from the ground, m."""
    arms = [turned(angle, tuple(corner)) for corner in LEG]
    return [ground.distance(x + right, y + up)[0] for right, up in arms]
