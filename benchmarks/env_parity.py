"""Asks how like Gymnasium's our environments are: step by step under the same random numbers, and in distribution.

LunarLander: free flight and whole episodes from the same draws, under random actions and under Gymnasium's own
heuristic pilot; returns, lengths, landings and crashes in both worlds.

    python benchmarks/env_parity.py
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from gymnasium.envs.box2d.lunar_lander import heuristic
from gymnasium.utils import seeding
from timing import finish, table

from neuralmutator.envs import LunarLander

LIMIT = 1000
FLIGHT = 100
"""Steps of free flight that are compared."""


@dataclass(frozen=True)
class Options:
    """How much to compare."""

    episodes: int = 200


def actions_of(seed: int) -> np.ndarray:
    """Random actions i32[LIMIT] of an episode."""
    return np.random.default_rng(10**6 + seed).integers(4, size=LIMIT).astype(np.int32)


def draws_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What Gymnasium draws in an episode: heights f32[12], push f32[2], dispersion f32[LIMIT, 2]."""
    draws, _ = seeding.np_random(seed)
    heights, push = draws.uniform(0, 400 / 30 / 2, 12), draws.uniform(-1000, 1000, 2)
    draws.uniform(-1, 1, 2)  # of the step within its reset
    return tuple(x.astype(np.float32) for x in (heights, push, draws.uniform(-1, 1, (LIMIT, 2))))


def in_gymnasium(seed: int, pilot: str) -> tuple[np.ndarray, np.ndarray]:
    """Observations f32[steps + 1, 8] and rewards f64[steps] of an episode."""
    env, actions = gymnasium.make("LunarLander-v3").unwrapped, actions_of(seed)
    observation, _ = env.reset(seed=seed)
    observations, rewards = [observation], []
    for action in actions:
        choice = heuristic(env, observation) if pilot == "heuristic" else int(action)
        observation, reward, terminated, _, _ = env.step(choice)
        observations.append(observation)
        rewards.append(reward)
        if terminated:
            break
    return np.array(observations), np.array(rewards)


def pilot_of_gymnasium(o: jax.Array) -> jax.Array:
    """Gymnasium's heuristic."""
    angle = (jnp.clip(0.5 * o[0] + o[2], -0.4, 0.4) - o[4]) * 0.5 - o[5]
    hover = (0.55 * jnp.abs(o[0]) - o[1]) * 0.5 - o[3] * 0.5
    down = (o[6] > 0) | (o[7] > 0)
    angle, hover = jnp.where(down, 0.0, angle), jnp.where(down, -0.5 * o[3], hover)
    sideways = jnp.where(angle < -0.05, 3, jnp.where(angle > 0.05, 1, 0))
    return jnp.where((hover > jnp.abs(angle)) & (hover > 0.05), 2, sideways)


def in_ours(seeds: range, pilot: str) -> tuple[np.ndarray, ...]:
    """The same episodes: observations f32[n, LIMIT + 1, 8], returns, lengths and last rewards [n]."""
    env = LunarLander()
    params = env.default_params

    def episode(heights: jax.Array, push: jax.Array, dispersion: jax.Array, actions: jax.Array) -> tuple:
        def step(carry: tuple, now: tuple) -> tuple:
            state, observation, alive, total, length, last = carry
            action = pilot_of_gymnasium(observation) if pilot == "heuristic" else now[1]
            observation, state, reward, terminated, _ = env.step_from(now[0], state, action, params)
            total, length = total + jnp.where(alive, reward, 0.0), length + alive
            last = jnp.where(alive, reward, last)
            return (state, observation, alive & ~terminated, total, length, last), observation

        first, state = env.reset_from(heights, push, params)
        start = (state.replace(time=jnp.int32(0)), first, jnp.bool_(True), 0.0, jnp.int32(0), 0.0)
        (*_, total, length, last), observations = jax.lax.scan(step, start, (dispersion, actions))
        return jnp.concatenate([first[None], observations]), total, length, last

    heights, push, dispersion = (jnp.asarray(x) for x in map(np.stack, zip(*map(draws_of, seeds), strict=True)))
    actions = jnp.stack([actions_of(seed) for seed in seeds])
    return tuple(map(np.asarray, jax.jit(jax.vmap(episode))(heights, push, dispersion, actions)))


def flight_errors(real: list[tuple[np.ndarray, np.ndarray]], ours: np.ndarray) -> np.ndarray:
    """Errors of the six numbers of flight f32[steps, 6], until a leg touches the ground or an episode ends."""
    errors = []
    for (seen, rewards), imitated in zip(real, ours, strict=True):
        touched = np.flatnonzero(seen[:, 6:].any(axis=1))
        end = min(FLIGHT, len(rewards) - 1, touched[0] - 1 if len(touched) else LIMIT) + 1
        errors.append(np.abs(seen[:end, :6] - imitated[:end, :6]))
    return np.concatenate(errors)


def compare(seeds: range, pilot: str) -> tuple[dict[str, float], list[list[Any]]]:
    """Numbers and rows of a table about one pilot."""
    real = [in_gymnasium(seed, pilot) for seed in seeds]
    observations, returns, lengths, last = in_ours(seeds, pilot)
    totals, lasts = np.array([r.sum() for _, r in real]), np.array([r[-1] for _, r in real])
    numbers = {
        f"{pilot}_mean_difference": abs(float(totals.mean() - returns.mean())),
        f"{pilot}_median_difference": float(np.median(np.abs(totals - returns))),
        f"{pilot}_outcomes_agree": float(np.mean(outcome(lasts) == outcome(last))),
    }
    if pilot == "random":
        errors = flight_errors(real, observations)
        numbers |= {"flight_error_max": float(errors.max()), "flight_error_median": float(np.median(errors))}
    rows = []
    for world, score, length, end in (
        ("Gymnasium", totals, [len(r) for _, r in real], lasts),
        ("ours", returns, lengths, last),
    ):
        rows.append([f"{pilot}, {world}", score.mean(), score.std(), np.mean(length), *shares(end)])
    return {name: float(x) for name, x in numbers.items()}, [
        [x if isinstance(x, str) else float(x) for x in r] for r in rows
    ]


def outcome(last: np.ndarray) -> np.ndarray:
    """1 landed, -1 crashed or away, 0 neither, from last rewards."""
    return np.where(last == 100, 1, np.where(last == -100, -1, 0))


def shares(last: np.ndarray) -> tuple[float, float]:
    """Shares of landings and of crashes."""
    return float(np.mean(outcome(last) == 1)), float(np.mean(outcome(last) == -1))


def main(options: Options) -> None:
    numbers, rows = {}, []
    for pilot in ("random", "heuristic"):
        found, lines = compare(range(options.episodes), pilot)
        numbers |= found
        rows += lines
    columns = ("LunarLander-v3, the same draws", "return", "sd", "length", "landed", "crashed")
    table(f"{options.episodes} episodes, Gymnasium {gymnasium.__version__}", columns, rows)
    finish(
        numbers,
        at_least={"heuristic_outcomes_agree": 0.93},
        at_most={
            "flight_error_max": 1e-2,
            "flight_error_median": 1e-4,
            "heuristic_mean_difference": 10.0,
            "heuristic_median_difference": 3.0,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
