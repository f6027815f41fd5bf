"""Asks how like Gymnasium's CarRacing ours is: its tracks, how its car drives on them, and what is seen of it.

Tracks from the same random numbers, point by point, and tracks at random, as two samples; drives on the same tracks by
the same actions: at random, after the road, and straight ahead at full throttle; pictures of such drives; the speed of
both worlds.

    python benchmarks/car_parity.py
"""

import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from gymnasium.utils import seeding
from scipy.stats import ks_2samp
from timing import compile_ahead, finish, interleave, table

from neuralmutator.envs import CarRacing
from neuralmutator.envs.car import physics, track as car_track
from neuralmutator.envs.car.track import CHECKPOINTS, MAX_TILES, Track
from neuralmutator.plots.style import new_figure

LIMIT = 300
"""Steps of a drive."""
DRIVERS = ("random", "pursuit", "straight")
SHOWN = (20, 60, 250)
"""Steps of whose pictures a figure is made."""
ZOOMED = 50
"""Steps after which the camera does not come nearer."""


@dataclass(frozen=True)
class Options:
    """How much to compare."""

    tracks: int = 200
    drives: int = 12
    pictures: int = 4
    """Drives that are looked at."""
    figure: Path | None = None
    """Where to save frames of both worlds side by side."""


class Attempt(NamedTuple):
    """What Gymnasium drew for a track, and what it made of it."""

    noise: np.ndarray  # f32[12]
    radius: np.ndarray  # f32[12]
    points: np.ndarray  # f64[tiles, 3] headings and places; empty if it failed
    curb: np.ndarray  # bool[tiles]


class Drive(NamedTuple):
    """A drive in Gymnasium."""

    track: Track
    actions: np.ndarray  # f32[LIMIT, 3], 0 after the end
    places: np.ndarray  # f64[steps, 2] of the hull's centre of mass
    rewards: np.ndarray  # f64[steps]
    frames: np.ndarray  # u8[steps, 96, 96, 3], if they were wanted


def world(pictures: bool = False) -> Any:
    """Gymnasium's environment; without pictures it is a hundred times as fast."""
    env = gymnasium.make("CarRacing-v3").unwrapped
    if not pictures:
        env._render = lambda mode: None
    return env


def curbs_of(env: Any) -> np.ndarray:
    """Which tiles of Gymnasium's track have a curb: it is drawn after its tile, and its colour is a tuple."""
    curbs = [isinstance(colour, tuple) for _, colour in env.road_poly] + [False]
    return np.array([after for this, after in pairwise(curbs) if not this], bool)


def attempts(seed: int) -> list[Attempt]:
    """All tracks that Gymnasium tries after a reset, the last of which it takes."""
    env, draws, tried = world(), seeding.np_random(seed)[0], []
    env.np_random = seeding.np_random(seed)[0]
    good = False
    while not good:
        limits = [(0, 2 * np.pi / CHECKPOINTS), (50, 150)] * CHECKPOINTS
        noise, radius = np.float32([draws.uniform(*limit) for limit in limits]).reshape(CHECKPOINTS, 2).T
        env.road_poly = []
        good = env._create_track()
        points = np.array(env.track)[:, 1:] if good else np.zeros((0, 3))
        tried.append(Attempt(noise, radius, points, curbs_of(env)))
    return tried


def track_of(env: Any) -> Track:
    """Gymnasium's track as one of ours."""
    points = np.array(env.track)[:, 1:]
    round_ = np.arange(MAX_TILES) % len(points)
    return Track(*jnp.float32(points[round_].T), jnp.int32(len(points)), jnp.asarray(curbs_of(env)[round_]))


def features(points: np.ndarray, curb: np.ndarray) -> dict[str, float]:
    """What can be said of a track in numbers."""
    length = np.hypot(*(points - np.roll(points, 1, axis=0))[:, 1:].T).sum()
    turns = np.diff(points[:, 0], append=points[0, 0])
    turns = (turns + np.pi) % (2 * np.pi) - np.pi
    width, height = np.ptp(points[:, 1:], axis=0)
    names = ("tiles", "length", "turns", "curbs", "width", "height")
    return dict(
        zip(names, map(float, (len(points), length, np.abs(turns).sum(), curb.sum(), width, height)), strict=True)
    )


def compare_tracks(seeds: range) -> tuple[dict[str, float], list[list[Any]]]:
    """Numbers about tracks from the same draws, and about as many at random; rows of a table of the latter."""
    tried = [attempt for seed in seeds for attempt in attempts(seed)]
    draws = (jnp.stack([a.noise for a in tried]), jnp.stack([a.radius for a in tried]))
    same, good = jax.tree.map(np.asarray, jax.jit(jax.vmap(car_track.from_draws))(*draws))
    drawn = jax.tree.map(np.asarray, jax.jit(jax.vmap(car_track.draw))(jax.random.split(jax.random.key(0), len(seeds))))

    def one(tracks: Track, i: int) -> tuple[np.ndarray, np.ndarray]:
        tiles = tracks.tiles[i]
        return np.stack([a[i, :tiles] for a in (tracks.heading, tracks.x, tracks.y)], axis=1), tracks.curb[i, :tiles]

    errors, curbs, kept = [], 0, [i for i, a in enumerate(tried) if len(a.points)]
    for i in kept:
        points, curb = one(same, i)
        if len(points) == len(tried[i].points):
            errors.append(np.abs(points - tried[i].points).max())
            curbs += bool(np.all(curb == tried[i].curb))
    numbers = {
        "tracks_failed": float(len(tried) - len(kept)),
        "tracks_fail_alike": float(np.mean(good == [len(a.points) > 0 for a in tried])),
        "tracks_tiles_alike": len(errors) / len(kept),
        "tracks_curbs_alike": curbs / len(kept),
        "tracks_error_max": float(np.max(errors)),
        "tracks_error_median": float(np.median(errors)),
        "tracks_within_a_millimetre": float(np.mean(np.array(errors) <= 1e-3)),
    }
    theirs = [features(tried[i].points, tried[i].curb) for i in kept]
    ours = [features(*one(drawn, i)) for i in range(len(seeds))]
    rows = []
    for name in ours[0]:
        a, b = ([f[name] for f in fs] for fs in (theirs, ours))
        p = float(ks_2samp(a, b).pvalue)
        rows.append([name, *map(float, (np.mean(a), np.std(a), np.mean(b), np.std(b))), p])
    return numbers | {"tracks_least_p": min(row[-1] for row in rows)}, rows


def choose(env: Any, driver: str, random: np.random.Generator) -> np.ndarray:
    """An action of a driver, f32[3]."""
    if driver == "random":
        steer, gas, brake = random.uniform((-1, 0, 0), 1)
        return np.float32([steer, gas * (random.random() < 0.6), brake * (random.random() < 0.2)])
    if driver == "straight":
        return np.float32([0, 1, 0])
    places, hull = np.array(env.track)[:, 2:], env.car.hull
    nearest = np.argmin(np.sum((places - hull.position) ** 2, axis=1))
    right, ahead = hull.GetLocalPoint(places[(nearest + 6) % len(places)])
    speed = hull.linearVelocity.length
    return np.float32([np.clip(1.5 * np.arctan2(right, ahead), -1, 1), 0.6 * (speed < 45), 0.2 * (speed > 60)])


def in_gymnasium(seed: int, driver: str, pictures: bool = False) -> Drive:
    """A drive on the track of a seed."""
    env, random = world(pictures), np.random.default_rng(seed)
    env.reset(seed=seed)
    actions, places, rewards, frames = np.zeros((LIMIT, 3), np.float32), [], [], []
    for t in range(LIMIT):
        actions[t] = choose(env, driver, random)
        frame, reward, terminated, _, _ = env.step(actions[t])
        frames.append(frame)
        places.append(tuple(env.car.hull.worldCenter))
        rewards.append(reward)
        if terminated:
            break
    return Drive(track_of(env), actions, np.array(places), np.array(rewards), np.array(frames))


def in_ours(track: Track, actions: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same drive: places f32[steps, 2], rewards f32[steps], and whether each step was the last, bool[steps]."""

    def step(carry: tuple, action: jax.Array) -> tuple[tuple, tuple]:
        car, visited, paid = carry
        car, visited = physics.step(car, visited, track, action)
        count = jnp.sum(visited)
        reward, lost = physics.reward(car, track.tiles, count - paid)
        return (car, visited, count), (jnp.stack([car.x, car.y]), reward, lost | (count == track.tiles))

    return jax.lax.scan(step, (*physics.place(track), jnp.int32(0)), actions)[1]


def compare_drives(seeds: range, driver: str) -> tuple[dict[str, float], list[Any]]:
    """Numbers and a row of a table about one driver."""
    drives = [in_gymnasium(seed, driver) for seed in seeds]
    tracks = jax.tree.map(lambda *x: jnp.stack(x), *[drive.track for drive in drives])
    ours = jax.jit(jax.vmap(in_ours))(tracks, jnp.stack([drive.actions for drive in drives]))
    errors, same, returns = [], [], []
    for drive, places, rewards, ended in zip(drives, *map(np.asarray, ours), strict=True):
        steps = len(drive.rewards)
        errors.append(np.hypot(*(places[:steps] - drive.places).T).max())
        alike = np.abs(rewards[:steps] - drive.rewards).max() < 1e-3
        same.append(alike and (not ended.any() if steps == LIMIT else np.argmax(ended) == steps - 1))
        returns.append((drive.rewards.sum(), rewards[:steps].sum()))
    numbers = {
        f"{driver}_error_max": float(np.max(errors)),
        f"{driver}_error_median": float(np.median(errors)),
        f"{driver}_rewards_alike": float(np.mean(same)),
    }
    return numbers, [driver, *map(float, np.mean(returns, axis=0)), *numbers.values()]


def compare_pictures(seeds: range) -> tuple[dict[str, float], np.ndarray]:
    """Mean errors of pictures, of 255; and some of Gymnasium's and ours, u8[n, 2, 96, 96, 3]."""
    env = CarRacing()

    @jax.jit
    def frames(track: Track, actions: jax.Array) -> jax.Array:
        def step(state: Any, action: jax.Array) -> tuple[Any, jax.Array]:
            picture, state, *_ = env.step_env(jax.random.key(0), state, action, env.default_params)
            return state, picture

        _, state = env.reset_on(track, env.default_params)
        return jax.lax.scan(step, state.replace(time=jnp.int32(0)), actions)[1]

    errors, pairs = [], []
    for seed in seeds:
        drive = in_gymnasium(seed, "pursuit", pictures=True)
        ours = np.asarray(frames(drive.track, jnp.asarray(drive.actions)))[: len(drive.frames)]
        errors.append(np.abs(ours.astype(int) - drive.frames).mean(axis=(2, 3)))
        pairs += [np.stack([drive.frames[t], ours[t]]) for t in SHOWN]
    rows = np.concatenate([e[ZOOMED:] for e in errors]).mean(axis=0)
    return {
        "picture_error": float(rows.mean()),
        "picture_error_scene": float(rows[:84].mean()),
        "picture_error_instruments": float(rows[84:].mean()),
        "picture_error_zooming": float(np.mean([e[:ZOOMED].mean() for e in errors])),
    }, np.array(pairs)


def draw(pairs: np.ndarray, path: Path) -> None:
    """Pictures of Gymnasium's above ours, and eight times how much they differ."""
    figure = new_figure((1.5 * len(pairs), 5.0), "What a driver sees in Gymnasium's CarRacing and in ours")
    rows = figure.subplots(3, len(pairs))
    differences = np.abs(np.subtract(*np.moveaxis(pairs.astype(int), 1, 0)))
    shown = (pairs[:, 0], pairs[:, 1], np.minimum(8 * differences, 255))
    for line, name, pictures in zip(rows, ("Gymnasium", "ours", "difference × 8"), shown, strict=True):
        line[0].set_ylabel(name, fontsize=9)
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
    figure.savefig(path)


def speeds(
    cars: tuple[int, ...] = (64, 150), tracks: tuple[int, ...] = (3, 64)
) -> tuple[dict[str, float], list[list[Any]]]:
    """Steps and tracks per second, and seconds to compile."""
    keys = jax.random.split(jax.random.key(0), max(*cars, *tracks))
    drawn = jax.jit(jax.vmap(car_track.draw))(keys)
    first = jax.tree.map(lambda x: x[0], drawn)
    actions = jax.random.uniform(
        keys[0], (LIMIT, max(cars), 3), minval=jnp.array([-1, 0, 0]), maxval=jnp.array([1, 1, 0.1])
    )

    def drive(starts: tuple, tracks: Track, actions: jax.Array, axis: int | None) -> tuple:
        step = jax.vmap(physics.step, (0, 0, axis, 0))
        return jax.lax.scan(lambda now, action: (step(*now, tracks, action), None), starts, actions)[0]

    programs, work = {}, {}
    for n in tracks:
        programs[f"tracks, {n} at once"] = compile_ahead(jax.vmap(car_track.draw), keys[:n])
        work[f"tracks, {n} at once"] = n
    for n in cars:
        each = jax.tree.map(lambda x, n=n: x[:n], drawn)
        starts = jax.jit(jax.vmap(physics.place))(each)
        for name, on, axis in (("a track each", each, 0), ("one track", first, None)):
            name = f"steps, {n} cars, {name}"
            programs[name] = compile_ahead(partial(drive, axis=axis), starts, on, actions[:, :n])
            work[name] = n * LIMIT
    seconds = interleave(programs, rounds=7)
    rows = [[name, work[name] / float(np.median(seconds[name])), programs[name].compile_seconds] for name in programs]
    env = world()
    clock = time.perf_counter()
    for seed in range(10):
        env.reset(seed=seed)
    rows.append(["tracks, Gymnasium (with its first step)", 10 / (time.perf_counter() - clock), 0.0])
    clock = time.perf_counter()
    for action in np.asarray(actions[:, 0]):
        env.step(action)
    rows.append(["steps, Gymnasium without pictures", LIMIT / (time.perf_counter() - clock), 0.0])
    return {"steps_per_second": max(row[1] for row in rows), "steps_per_second_gymnasium": rows[-1][1]}, rows


def main(options: Options) -> None:
    numbers, rows = compare_tracks(range(options.tracks))
    columns = ("random tracks", "Gymnasium's", "sd", "ours", "sd", "p (Kolmogorov-Smirnov)")
    table(f"{options.tracks} tracks, Gymnasium {gymnasium.__version__}", columns, rows)
    drives = [compare_drives(range(options.drives), driver) for driver in DRIVERS]
    columns = ("driver", "return there", "here", "error max, m", "median", "rewards alike")
    table(f"{options.drives} drives of {LIMIT} steps", columns, [row for _, row in drives])
    seen, pairs = compare_pictures(range(options.pictures))
    table("pictures, mean absolute error of 255", ("", "error"), [[name, error] for name, error in seen.items()])
    if options.figure:
        draw(pairs[:6], options.figure)
    fast, rows = speeds()
    table("speed", ("", "per second", "compile, s"), rows)
    for found in (*(found for found, _ in drives), seen, fast):
        numbers |= found
    finish(
        numbers,
        at_least={
            "tracks_fail_alike": 1.0,
            "tracks_tiles_alike": 1.0,
            "tracks_curbs_alike": 1.0,
            "tracks_within_a_millimetre": 0.99,
            "tracks_least_p": 0.01,
            **{f"{driver}_rewards_alike": 1.0 for driver in DRIVERS},
        },
        at_most={
            "random_error_max": 1e-3,
            "pursuit_error_max": 1e-3,
            "straight_error_max": 1e-2,
            "picture_error": 0.6,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
