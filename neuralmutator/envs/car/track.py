"""The tracks of CarRacing, walked as Gymnasium walks them: a road from checkpoint to checkpoint around the origin.

The walk goes five times around, and its last round is the track. If the ends of that do not meet, it is thrown away and
another one walked; here some are walked side by side, and the first good one is taken.

Units are metres and radians; headings are counted from the upward axis, anticlockwise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SCALE = 6.0
"""Gymnasium's pixels in a metre."""
PLAYFIELD = 2000 / SCALE
"""Half the width of the world: who leaves it has lost."""
RADIUS = 900 / SCALE
"""Largest distance of a checkpoint from the origin; that of the first and the last is half as large again."""
TRACK_WIDTH = 40 / SCALE
"""Half the width of the road, which Gymnasium calls its width."""
BORDER = 8 / SCALE
"""Width of a curb."""
STEP = 21 / SCALE
"""Length of a tile; the first one, which closes the round, has up to twice of it."""
TURN = 0.31
"""The most that the road turns from tile to tile."""
MAX_TILES = 416
"""Room for a track: one in four thousand would need more, and is thrown away."""

CHECKPOINTS = 12
SECTOR = 2 * np.pi / CHECKPOINTS
ROUNDS = 5
UNIT = 2.0**-22
"""Of length in the walk, m: whole numbers of it add up without error, which would grow on the way."""
LONGEST_WALK = 2500
"""Steps, of which five rounds take some 1,500."""
CURB_RUN = 4
"""Tiles that must turn to one side for a curb."""
CANDIDATES = 3
"""Tracks walked at once; one in fifteen fails."""


class Track(NamedTuple):
    """A closed road. Tile i lies between points i - 1 and i; after the last point, the arrays begin the round again."""

    heading: jax.Array  # f32[MAX_TILES]
    x: jax.Array  # f32[MAX_TILES]
    y: jax.Array  # f32[MAX_TILES]
    tiles: jax.Array  # i32[] number of points, and of tiles
    curb: jax.Array  # bool[MAX_TILES] whether a curb lies beside tile i


class _Walker(NamedTuple):
    x: jax.Array  # i32, in units
    y: jax.Array  # i32
    heading: jax.Array  # f32
    checkpoint: jax.Array  # i32, to which it goes
    far: jax.Array  # bool, whether it has been in the lower half of the world in this round
    rounds: jax.Array  # i32


class _Point(NamedTuple):
    """What the walk leaves behind at each step, [LONGEST_WALK]."""

    angle: jax.Array  # seen from the origin, before the step; less a turn where it goes to the first checkpoint
    heading: jax.Array
    x: jax.Array
    y: jax.Array
    walked: jax.Array  # bool, whether the walk had not ended before


def draw(key: jax.Array) -> Track:
    """A random track."""

    def attempt(tried: tuple[jax.Array, Track, jax.Array]) -> tuple[jax.Array, Track, jax.Array]:
        key, key_noise, key_radius = jax.random.split(tried[0], 3)
        shape = (CANDIDATES, CHECKPOINTS)
        noise = jax.random.uniform(key_noise, shape, maxval=SECTOR)
        radius = jax.random.uniform(key_radius, shape, minval=RADIUS / 3, maxval=RADIUS)
        tracks, ok = jax.vmap(from_draws)(noise, radius)
        first = jnp.argmax(ok)
        return key, jax.tree.map(lambda x: x[first], tracks), ok[first]

    nowhere = jnp.zeros(MAX_TILES)
    none = Track(nowhere, nowhere, nowhere, jnp.int32(0), nowhere > 0)
    return jax.lax.while_loop(lambda tried: ~tried[2], attempt, (key, none, jnp.bool_(False)))[1]


def from_draws(noise: jax.Array, radius: jax.Array) -> tuple[Track, jax.Array]:
    """The track that Gymnasium makes of its random numbers, and whether it is one, bool[].

    Args:
        noise: f32[12] of 0 to π/6, by how much each checkpoint is further round than the sector it begins.
        radius: f32[12] of 50 to 150, distances of the checkpoints from the origin.
    """
    ends = np.array([0, CHECKPOINTS - 1])
    angles = (noise + SECTOR * np.arange(CHECKPOINTS)).at[ends].set(SECTOR * ends)
    radius = radius.at[ends].set(1.5 * RADIUS)
    return _last_round(_walk(angles, radius * jnp.cos(angles), radius * jnp.sin(angles)))


def _walk(angles: jax.Array, xs: jax.Array, ys: jax.Array) -> _Point:
    """Walks around the checkpoints that are at these angles, seen from the origin, and places: f32[12] each."""

    def step(walker: _Walker, _: None) -> tuple[_Walker, _Point]:
        x, y, heading = UNIT * walker.x, UNIT * walker.y, walker.heading
        angle = jnp.arctan2(y, x)
        rounds = walker.rounds + (walker.far & (angle > 0))
        far = jnp.where(angle > 0, False, walker.far | (angle < 0))
        angle = jnp.where(angle < 0, angle + 2 * np.pi, angle)
        checkpoint = jnp.maximum(walker.checkpoint, jnp.sum(angles < angle, dtype=jnp.int32))
        angle = jnp.where(checkpoint == CHECKPOINTS, angle - 2 * np.pi, angle)
        checkpoint %= CHECKPOINTS
        cos, sin = jnp.cos(heading), jnp.sin(heading)
        aside = SCALE * (cos * (xs[checkpoint] - x) + sin * (ys[checkpoint] - y))
        # Where the angle has jumped by a turn the heading follows, once they are three quarters of a turn apart.
        ahead = heading - angle
        turns = jnp.maximum(jnp.ceil(jnp.abs(ahead) / (2 * np.pi) - 0.75), 0)
        heading -= 2 * np.pi * jnp.sign(ahead) * turns
        turn = jnp.where(jnp.abs(aside) > 0.3, jnp.clip(-0.001 * aside, -TURN, TURN), 0.0)
        new_x, new_y = (p + jnp.int32(jnp.round(STEP / UNIT * d)) for p, d in ((walker.x, -sin), (walker.y, cos)))
        point = _Point(angle, heading + turn / 2, UNIT * new_x, UNIT * new_y, walker.rounds < ROUNDS)
        return _Walker(new_x, new_y, heading + turn, checkpoint, far, rounds), point

    nothing = jnp.int32(0)
    start = _Walker(jnp.int32(1.5 * RADIUS / UNIT), nothing, jnp.zeros(()), nothing, jnp.bool_(False), nothing)
    return jax.lax.scan(step, start, None, LONGEST_WALK)[1]


def _last_round(points: _Point) -> tuple[Track, jax.Array]:
    """The part of a walk between the last two times that it passed the start, and whether its ends meet."""
    start = -SECTOR / 2
    passed = points.walked[1:] & (points.angle[1:] > start) & (points.angle[:-1] <= start)
    passed = jnp.where(passed, jnp.arange(1, LONGEST_WALK), 0)
    last = jnp.max(passed)
    first = jnp.max(jnp.where(passed < last, passed, 0))
    tiles = jnp.maximum(last - 1 - first, 1)
    numbers = jnp.arange(MAX_TILES)
    heading, x, y = (a[first + numbers % tiles] for a in (points.heading, points.x, points.y))
    gap = jnp.cos(heading[0]) * (x[0] - x[tiles - 1]), jnp.sin(heading[0]) * (y[0] - y[tiles - 1])
    ok = (first > 0) & (tiles <= MAX_TILES) & (gap[0] ** 2 + gap[1] ** 2 <= STEP**2)
    return Track(heading, x, y, tiles.astype(jnp.int32), _curbs(heading, tiles)), ok


def _curbs(heading: jax.Array, tiles: jax.Array) -> jax.Array:
    """Where the road turns hard, and has to the same side for some tiles, and that many tiles back: bool[MAX_TILES]."""
    numbers, run = jnp.arange(MAX_TILES)[:, None], np.arange(CURB_RUN)
    turns = heading - heading[(numbers[:, 0] - 1) % tiles]
    lately = turns[(numbers - run) % tiles]
    hard = jnp.all(lately > 0.2 * TURN, axis=1) | jnp.all(lately < -0.2 * TURN, axis=1)

    def spread(marks: jax.Array) -> jax.Array:
        return jnp.any(marks[(numbers + run) % tiles], axis=1)

    # Gymnasium spreads in place: what the first tiles mark behind the start is spread again.
    return spread(hard | spread(hard & (numbers[:, 0] < CURB_RUN - 1)))
