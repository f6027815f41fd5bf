"""The picture that a CarRacing driver sees: 96 x 96 pixels of road, car and instruments, as Gymnasium draws them.

Gymnasium draws hundreds of polygons on a window of 1000 x 800 and shrinks it. Here a track is painted once, into a
raster whose cells already hold the mean colour of about a pixel around them; a frame is then one look-up for each
pixel, seen from the car. The car itself, which is always at the same place, and the instruments are shares of pixels
that shapes cover.

Colours are those of the shrunken picture, which Gymnasium's arithmetic makes `DARKER` than they are drawn.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap

from neuralmutator.envs.car.physics import DT, FPS, HULL, WHEEL_PLACES, WHEEL_RADIUS, WHEEL_WIDTH, Car, origin
from neuralmutator.envs.car.track import BORDER, MAX_TILES, PLAYFIELD, SCALE, TRACK_WIDTH, Track

PIXELS = 96
WINDOW = (1000, 800)
"""Width and height that Gymnasium draws at."""
SCENE = 84
"""Rows above the instruments."""
ZOOM = 2.7 * SCALE
"""Window pixels in a metre, after the first second."""
ZOOM_FAR = 0.1 * SCALE
"""… and at the beginning of an episode."""
CENTRE = (500, 200)
"""Where the car is in the window, from its lower left corner."""
DARKER = 2

PATCH = PLAYFIELD / 20
"""Side of the patches of lighter grass, of which every second one in every second row is."""
CELLS = 96
"""Cells of the raster in two patches."""
CELL = 2 * PATCH / CELLS
"""Side of a cell, m."""
PERIODS = 15
SIDE = PERIODS * CELLS
"""Cells along a side of the raster; whatever is further out is grass, which repeats."""
REACH = SIDE * CELL / 2
BLUR = 0.58
"""Width over which the colour of a cell is a mean: that of a pixel, m."""
WINDOW_CELLS = 2 * int(np.ceil((TRACK_WIDTH + BORDER + 3) / CELL)) + 2
"""Side of the square of cells that is painted for a tile."""

WHITE = 255.0 - DARKER
"""Of curbs, which are white or red."""
SHADES = (0.0, 0.01 * 255, 0.02 * 255)
"""By how much tiles are lighter until they are visited, by their number modulo 3; Gymnasium rounds their sum down."""

BOX = ((66, 78), (45, 51))
"""Rows and columns that the car is in; each quarter of them has a wheel."""
FINE = 4
"""Points that are tested along each side of a pixel."""
OUTLINE = 0.5
"""By how much pygame's shapes are larger on each side than they should be, window pixels."""
RED, STRIPE = 204 - DARKER, 77 - DARKER
"""Of the hull, and of the stripe that shows how a wheel turns."""


class _Indicators(NamedTuple):
    """Bars below the scene, in units of `UNIT`; those that are not upright grow to the side."""

    place: tuple[int, ...] = (5, 7, 8, 9, 10, 20, 30)
    scale: tuple[float, ...] = (0.02, 0.01, 0.01, 0.01, 0.01, -10.0, -0.8)
    upright: tuple[bool, ...] = (True, True, True, True, True, False, False)
    colour: tuple[tuple[int, int, int], ...] = (
        (255, 255, 255),
        *2 * ((0, 0, 255),),
        *2 * ((51, 0, 255),),
        (0, 255, 0),
        (255, 0, 0),
    )


INDICATORS = _Indicators()
"""Speed, the four wheels, steering and spin."""
UNIT = (WINDOW[0] / 40, WINDOW[1] / 40)
WINDOW_BAR = (WINDOW[1] * SCENE / PIXELS, WINDOW[1])
"""Between which lines of the window, counted from above, the instruments are."""
SCORE_PLACE = (slice(3, 8), slice(11))
"""Rows of the instruments and columns that a score can touch."""


class Colours(NamedTuple):
    """Colours that Gymnasium's `domain_randomize` draws, f32[3] each, 0 to 255, as they are drawn."""

    road: jax.Array | np.ndarray
    background: jax.Array | np.ndarray
    grass: jax.Array | np.ndarray  # of the patches


PLAIN = Colours(*(np.array(c, np.float32) for c in ((102, 102, 102), (102, 204, 102), (102, 230, 102))))
"""Colours that are not randomised."""


def draw_colours(key: jax.Array) -> Colours:
    """Random colours: road and background of 0 to 210; patches are the background's, 20 lighter in one component."""
    key_road, key_background, key_grass = jax.random.split(key, 3)
    road, background = (jax.random.uniform(k, (3,), jnp.float32, maxval=210.0) for k in (key_road, key_background))
    return Colours(road, background, background + 20.0 * (jnp.arange(3) == jax.random.randint(key_grass, (), 0, 3)))


@cache
def scores() -> tuple[np.ndarray, int]:
    """Brightness u8[scores, rows, columns] of every score that is written below the scene, and the lowest score."""
    with np.load(Path(__file__).parent / "assets" / "scores.npz") as file:
        return file["table"], int(file["lowest"])


# One track after the other is painted in place; of a batch, XLA would scatter every single cell: 60 times slower.
@sequential_vmap
def paint(track: Track, colours: Colours) -> jax.Array:
    """A track as a raster u32[SIDE, SIDE], whose first cell is its lower left corner.

    A cell is the number of its tile, counted from 1, in 9 bits, half its red in 7, green in 8 and blue in 8, as they
    are when the tile has been visited.
    """
    position = ((jnp.arange(SIDE) + 0.5) * CELL - REACH) % (2 * PATCH)
    light = 0.5 + jnp.maximum(jnp.minimum(position, PATCH - position), position - 2 * PATCH) / BLUR
    light = jnp.clip(light, 0, 1)
    shown = Colours(*(jnp.maximum(jnp.floor(jnp.asarray(c)) - DARKER, 0.0) for c in colours))
    plain = shown.road
    patches = light[:, None] * light[None, :]
    ground = _packed(
        jnp.uint32(0), *(a + (b - a) * patches for a, b in zip(shown.background, shown.grass, strict=True))
    )

    def tile(i: jax.Array, raster: jax.Array) -> jax.Array:
        before = jnp.where(i == 0, track.tiles - 1, i - 1)
        corner = [
            jnp.clip(jnp.int32((p[i] + p[before]) / 2 / CELL + SIDE / 2) - WINDOW_CELLS // 2, 0, SIDE - WINDOW_CELLS)
            for p in (track.y, track.x)
        ]
        up, right = (((c + jnp.arange(WINDOW_CELLS)) + 0.5) * CELL - REACH for c in corner)
        right, up = right[None, :], up[:, None]
        ends = [(track.x[j], track.y[j], track.heading[j]) for j in (before, i)]
        onward = [(up - y) * jnp.cos(b) - (right - x) * jnp.sin(b) for x, y, b in ends]
        inside = (onward[0] >= 0) & (onward[1] < 0)

        def beyond(offset: jax.Array | float) -> jax.Array:
            """Share of a cell that is to the right of a line along the road, `offset` from its middle."""
            (x0, y0), (x1, y1) = ((x + offset * jnp.cos(b), y + offset * jnp.sin(b)) for x, y, b in ends)
            along = (x1 - x0, y1 - y0)
            length = jnp.sqrt(along[0] ** 2 + along[1] ** 2) + 1e-6
            distance = ((right - x0) * along[1] - (up - y0) * along[0]) / length
            return jnp.clip(0.5 + distance / BLUR, 0, 1)

        side = jnp.sign(track.heading[before] - track.heading[i])
        left_edge, right_edge = beyond(-TRACK_WIDTH), beyond(TRACK_WIDTH)
        road = left_edge - right_edge
        outer = beyond(side * (TRACK_WIDTH + BORDER))
        curb = jnp.where(side > 0, right_edge - outer, outer - left_edge)
        curb = jnp.where(track.curb[i], jnp.clip(curb, 0, 1), 0.0)
        old = jax.lax.dynamic_slice(raster, corner, (WINDOW_CELLS, WINDOW_CELLS))
        white = jnp.where(i % 2 == 0, WHITE, 0.0)
        number, red, green, blue = _unpacked(old)
        red, green, blue = (
            (1 - road - curb) * behind + road * of_road + curb * of_curb
            for behind, of_road, of_curb in ((red, plain[0], WHITE), (green, plain[1], white), (blue, plain[2], white))
        )
        number = jnp.where(road >= 0.5, (i + 1).astype(jnp.uint32), number)
        new = jnp.where(inside & (road + curb > 0), _packed(number, red, green, blue), old)
        return jax.lax.dynamic_update_slice(raster, new, corner)

    return jax.lax.fori_loop(0, track.tiles, tile, ground)


def _packed(number: jax.Array, red: jax.Array, green: jax.Array, blue: jax.Array) -> jax.Array:
    red, green, blue = (jnp.round(c).astype(jnp.uint32) for c in (red / 2, green, blue))
    return (number << 23) | (red << 16) | (green << 8) | blue


def _unpacked(cell: jax.Array) -> tuple[jax.Array, ...]:
    """Number u32, red, green and blue f32."""
    red, green, blue = (cell >> 16) & 127, (cell >> 8) & 255, cell & 255
    return cell >> 23, 2 * red.astype(jnp.float32), green.astype(jnp.float32), blue.astype(jnp.float32)


def draw(
    raster: jax.Array,
    visited: jax.Array,
    car: Car,
    time: jax.Array | int,
    score: jax.Array,
    road: jax.Array | np.ndarray,
) -> jax.Array:
    """A frame u8[96, 96, 3].

    Args:
        raster: of the track, see `paint`.
        visited: bool[MAX_TILES], tiles that have been touched.
        car: the car.
        time: i32[] steps since the beginning of the episode.
        score: f32[] that is written below it, at most 999.
        road: f32[3] colour of the road, see `Colours`.
    """
    zoom = _zoom(jnp.minimum((time + 1) * DT, 1.0))
    lighter = jnp.floor(jnp.asarray(road) + np.array(SHADES, np.float32)[:, None]) - jnp.floor(jnp.asarray(road))
    shade = _word(*lighter.astype(jnp.uint32).T)[np.arange(MAX_TILES) % len(SHADES)]
    shades = jnp.concatenate([jnp.zeros(1, jnp.uint32), jnp.where(visited, 0, shade).astype(jnp.uint32)])
    words = jnp.concatenate([_scene(raster, shades, car, zoom), _instruments(car, score)])
    words = _with_car(words, car, zoom, time)
    return jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3]


def _zoom(seconds: Any) -> Any:
    """Window pixels in a metre, in the first second."""
    return ZOOM_FAR * (1 - seconds) + ZOOM * seconds


def _scene(raster: jax.Array, shades: jax.Array, car: Car, zoom: jax.Array) -> jax.Array:
    """Road and grass, words u32[SCENE, PIXELS].

    Args:
        raster: u32[SIDE, SIDE], see `paint`.
        shades: u32[1 + MAX_TILES] words by which tiles are lighter than the road, by their number in the raster.
        car: whose camera it is.
        zoom: f32[] window pixels in a metre.
    """
    right = ((np.arange(PIXELS) + 0.5) * WINDOW[0] / PIXELS - CENTRE[0]) / zoom
    up = (WINDOW[1] - (np.arange(SCENE) + 0.5) * WINDOW[1] / PIXELS - CENTRE[1]) / zoom
    cos, sin = jnp.cos(car.angle), jnp.sin(car.angle)
    x, y = origin(car)
    cells = [
        (place[None, :] + rise[:, None]) / CELL + SIDE / 2
        for place, rise in ((x + cos * right, -sin * up), (y + sin * right, cos * up))
    ]
    cells = [jnp.floor(c).astype(jnp.int32) for c in cells]
    edge = int(PLAYFIELD / CELL)
    black = (jnp.abs(cells[0] - SIDE // 2) > edge) | (jnp.abs(cells[1] - SIDE // 2) > edge)
    away = (cells[0] < 0) | (cells[0] >= SIDE) | (cells[1] < 0) | (cells[1] >= SIDE)
    # Far out the grass is that of the raster's last corner, where no road is.
    column, row = (jnp.where(away, SIDE - CELLS + c % CELLS, c) for c in cells)
    cell = raster.reshape(-1).at[row * SIDE + column].get(mode="promise_in_bounds")
    lighter = shades.at[cell >> 23].get(mode="promise_in_bounds")
    red, green, blue = ((cell >> 16) & 127) << 1, (cell >> 8) & 255, cell & 255
    return jnp.where(black, 0, _word(red, green, blue) + lighter)


def _word(red: jax.Array, green: jax.Array, blue: jax.Array) -> jax.Array:
    """Three colours u32 of 0 to 255 in one number: apart, each would look up the whole scene for itself."""
    return red | (green << 8) | (blue << 16)


def _word_of(colours: jax.Array) -> jax.Array:
    """… of f32[..., 3] that may be out of bounds."""
    red, green, blue = jnp.moveaxis(jnp.clip(jnp.round(colours), 0, 255).astype(jnp.uint32), -1, 0)
    return _word(red, green, blue)


def _hull(time: int) -> np.ndarray:
    """Which of the points of `_points` the hull covers after so many steps, bool[4, points, points]."""
    zoom = _zoom((time + 1) * DT)
    points = _points()
    right, up = points[..., 0] / zoom, points[..., 1] / zoom
    covered = np.zeros(right.shape, bool)
    for corners in HULL:
        edges = np.roll(corners, -1, axis=0) - corners
        lengths = np.linalg.norm(edges, axis=1)
        sides = [
            (dx * (up - y) - dy * (right - x)) / length
            for (x, y), (dx, dy), length in zip(corners, edges, lengths, strict=True)
        ]
        covered |= np.all(np.array(sides) >= -OUTLINE / zoom, axis=0)
    return covered


def _with_car(scene: jax.Array, car: Car, zoom: jax.Array, time: jax.Array | int) -> jax.Array:
    """The scene, words u32[SCENE, PIXELS], with the car in it."""
    lean = (car.wheel_angle - car.angle)[:, None, None]
    points = _points()
    right = points[..., 0] / zoom - WHEEL_PLACES[:, 0, None, None]
    up = points[..., 1] / zoom - WHEEL_PLACES[:, 1, None, None]
    cos, sin = jnp.cos(lean), jnp.sin(lean)
    across, ahead = cos * right + sin * up, cos * up - sin * right
    outline = OUTLINE / zoom
    wheel = (jnp.abs(across) <= WHEEL_WIDTH + outline) & (jnp.abs(ahead) <= WHEEL_RADIUS + outline)
    # The stripe spans an arc of the tyre, of which only the upper half is seen.
    ends = car.phase + np.array([[0.0], [1.2]])
    hidden = jnp.sin(ends) > 0
    reach = WHEEL_RADIUS * jnp.where(hidden, jnp.sign(jnp.cos(ends)), jnp.cos(ends))
    low, high = (f(reach[0], reach[1])[:, None, None] for f in (jnp.minimum, jnp.maximum))
    seen = ~(hidden[0] & hidden[1])[:, None, None]
    stripe = wheel & seen & (ahead >= low - outline) & (ahead <= high + outline)
    hull = jnp.asarray(_hulls())[jnp.minimum(time, FPS - 1)]

    def share(points: jax.Array) -> jax.Array:
        """Of each pixel, f32[rows, columns, 1]: mean over its points, the quarters put together."""
        rows, columns = (b - a for a, b in BOX)
        quarters = points.reshape(2, 2, rows // 2, FINE, columns // 2, FINE).mean((3, 5), dtype=jnp.float32)
        return quarters.transpose(0, 2, 1, 3).reshape(rows, columns, 1)

    red, light, free = share(hull), share(stripe & ~hull), share(~wheel & ~hull)
    box = tuple(slice(*ends) for ends in BOX)
    colour = red * np.array([RED, 0, 0]) + light * STRIPE
    behind = jax.lax.bitcast_convert_type(scene[box], jnp.uint8)[..., :3]
    rows, columns = np.mgrid[box]  # pixel by pixel: as a slice, XLA would look up the scene once for every byte
    return scene.at[rows, columns].set(_word_of(behind * free + colour), unique_indices=True)


def _instruments(car: Car, score: jax.Array) -> jax.Array:
    """Speed, wheels, steering, spin and score, words u32[PIXELS - SCENE, PIXELS]."""
    speed = jnp.sqrt(car.vx**2 + car.vy**2)
    steering = car.wheel_angle[0] - car.angle
    values = jnp.concatenate([speed[None], car.omega, steering[None], car.spin[None]])
    length = values * np.array(INDICATORS.scale)
    upright = np.array(INDICATORS.upright)
    place = UNIT[0] * np.array(INDICATORS.place)
    bottom = WINDOW[1] - UNIT[1] * np.where(upright, 1, 2)
    x = place, jnp.where(upright, place + UNIT[0], place + UNIT[0] * length)
    y = jnp.where(upright, bottom - UNIT[1] * length, bottom - 2 * UNIT[1]), bottom + 0.0 * length
    rows = _covered(*y, np.linspace(*WINDOW_BAR, PIXELS - SCENE + 1))
    columns = _covered(*x, np.linspace(0, WINDOW[0], PIXELS + 1))
    rows = jnp.where((jnp.abs(values) > 1e-4)[:, None], rows, 0.0)
    colours = columns[:, :, None] * np.array(INDICATORS.colour, np.float32)[:, None, :]
    bars = jnp.einsum("kr,kcx->rcx", rows, colours)
    table, lowest = scores()
    number = jnp.clip(jnp.trunc(score).astype(jnp.int32) - lowest, 0, len(table) - 1)
    digits = jnp.asarray(table)[number].astype(jnp.uint32)
    return _word_of(bars - DARKER).at[SCORE_PLACE].set(_word(digits, digits, digits))


def _covered(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray, edges: np.ndarray) -> jax.Array:
    """Share of each pixel between two ends, f32[k, pixels]; pygame draws whole window pixels, both ends included.

    Args:
        a: f32[k] one end.
        b: f32[k] the other one.
        edges: f32[pixels + 1] where pixels begin, in the window.
    """
    low, high = jnp.trunc(jnp.minimum(a, b))[:, None], jnp.trunc(jnp.maximum(a, b))[:, None] + 1
    return jnp.clip(jnp.minimum(edges[1:], high) - jnp.maximum(edges[:-1], low), 0) / np.diff(edges)


@cache
def _points() -> np.ndarray:
    """Places f32[4, points, points, 2] in the quarters of the box, window pixels right of and above the car."""
    (top, bottom), (left, right) = BOX
    rows = top + (np.arange((bottom - top) * FINE) + 0.5) / FINE
    columns = left + (np.arange((right - left) * FINE) + 0.5) / FINE
    up = WINDOW[1] - rows * WINDOW[1] / PIXELS - CENTRE[1]
    right_ = columns * WINDOW[0] / PIXELS - CENTRE[0]
    points = np.stack(np.broadcast_arrays(right_[None, :], up[:, None]), axis=-1).astype(np.float32)
    return np.concatenate([np.split(half, 2, axis=1) for half in np.split(points, 2)])


@cache
def _hulls() -> np.ndarray:
    """What the hull covers while the camera comes nearer, and from then on, bool[FPS, 4, points, points]."""
    return np.stack([_hull(time) for time in range(FPS)])
