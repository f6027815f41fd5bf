"""Asks how like Gymnasium's our environments are: step by step under the same random numbers, and in distribution.

LunarLander: free flight and whole episodes from the same draws, under random actions, Gymnasium's own heuristic pilot
and evolved ones, with and without wind; returns, lengths, landings and crashes in both worlds. Champions of other
environments play as many episodes in each world, unseen ones. `car_parity.py` goes into the details of CarRacing.

    python benchmarks/env_parity.py
    python benchmarks/env_parity.py --runs runs/LunarLander-v3-1 runs/CarRacing-v3-1 --figure parity.png
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from gymnasium.envs.box2d.lunar_lander import heuristic
from gymnasium.utils import seeding
from timing import finish, table

from neuralmutator.envs import LunarLander
from neuralmutator.networks import policy_step
from neuralmutator.plots.style import BLUE, ORANGE, dress, new_figure
from neuralmutator.runs.builders import build_policy
from neuralmutator.runs.config import Config
from neuralmutator.runs.evolve import fresh_returns
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.play import gymnasium_returns

LIMIT = 1000
FLIGHT = 100
"""Steps of free flight that are compared."""


@dataclass(frozen=True)
class Options:
    """How much to compare."""

    episodes: int = 200
    runs: tuple[Path, ...] = ()
    """Run folders, whose champions are pilots as well."""
    run_episodes: int = 20
    """Episodes of champions of other environments than LunarLander."""
    figure: Path | None = None
    """Where to save histograms of returns in both worlds."""


class Pilot(NamedTuple):
    """Who flies, in both worlds."""

    name: str
    ours: Callable[[jax.Array, jax.Array], jax.Array]  # (observation, a random action) -> action
    theirs: Callable[[Any, np.ndarray, int], int]  # (environment, observation, the same random action) -> action


class Sample(NamedTuple):
    """Returns of a pilot in both worlds."""

    name: str
    theirs: np.ndarray
    ours: np.ndarray


def actions_of(seed: int) -> np.ndarray:
    """Random actions i32[LIMIT] of an episode."""
    return np.random.default_rng(10**6 + seed).integers(4, size=LIMIT).astype(np.int32)


def draws_of(seed: int, wind: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What Gymnasium draws in an episode: heights f32[12], push f32[2], dispersion f32[LIMIT, 2], wind i32[2]."""
    draws, _ = seeding.np_random(seed)
    heights, push = draws.uniform(0, 400 / 30 / 2, 12), draws.uniform(-1000, 1000, 2)
    begins = np.array([draws.integers(-9999, 9999) if wind else 0 for _ in range(2)], np.int32)
    draws.uniform(-1, 1, 2)  # of the step within its reset
    return *(x.astype(np.float32) for x in (heights, push, draws.uniform(-1, 1, (LIMIT, 2)))), begins


def in_gymnasium(seed: int, pilot: Pilot, wind: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Observations f32[steps + 1, 8] and rewards f64[steps] of an episode."""
    env, actions = gymnasium.make("LunarLander-v3", enable_wind=wind).unwrapped, actions_of(seed)
    observation, _ = env.reset(seed=seed)
    observations, rewards = [observation], []
    for action in actions:
        observation, reward, terminated, _, _ = env.step(pilot.theirs(env, observation, int(action)))
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


RANDOM = Pilot("random", lambda observation, action: action, lambda env, observation, action: action)
HEURISTIC = Pilot(
    "heuristic",
    lambda observation, action: pilot_of_gymnasium(observation),
    lambda env, observation, action: heuristic(env, observation),
)


def remembers(folder: RunFolder) -> bool:
    """Whether the policy of a run has a memory."""
    return build_policy(folder.config(Config, "evolution")).initial_state is not None


def env_of(folder: RunFolder) -> str:
    """The environment that a run evolves."""
    return folder.config(Config, "evolution").env


def champion_of(folder: RunFolder) -> Pilot:
    """The champion of a run on LunarLander, a policy without memory."""
    think = policy_step(build_policy(folder.config(Config, "evolution")), folder.load_champion())

    def choose(observation: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.argmax(think(None, observation)[1])

    compiled = jax.jit(choose)
    return Pilot(folder.path.name, choose, lambda env, observation, action: int(compiled(observation, action)))


def in_ours(seeds: range, pilot: Pilot, wind: bool = False) -> tuple[np.ndarray, ...]:
    """The same episodes: observations f32[n, LIMIT + 1, 8], returns, lengths and last rewards [n]."""
    env = LunarLander(enable_wind=wind)
    params = env.default_params

    def episode(
        heights: jax.Array, push: jax.Array, dispersion: jax.Array, begins: jax.Array, actions: jax.Array
    ) -> tuple:
        def step(carry: tuple, now: tuple) -> tuple:
            state, observation, alive, total, length, last = carry
            action = pilot.ours(observation, now[1])
            observation, state, reward, terminated, _ = env.step_from(now[0], state, action, params)
            total, length = total + jnp.where(alive, reward, 0.0), length + alive
            last = jnp.where(alive, reward, last)
            return (state, observation, alive & ~terminated, total, length, last), observation

        first, state = env.reset_from(heights, push, params, begins)
        start = (state.replace(time=jnp.int32(0)), first, jnp.bool_(True), 0.0, jnp.int32(0), 0.0)
        (*_, total, length, last), observations = jax.lax.scan(step, start, (dispersion, actions))
        return jnp.concatenate([first[None], observations]), total, length, last

    drawn = zip(*(draws_of(seed, wind) for seed in seeds), strict=True)
    actions = jnp.stack([actions_of(seed) for seed in seeds])
    return tuple(map(np.asarray, jax.jit(jax.vmap(episode))(*(jnp.stack(x) for x in drawn), actions)))


def flight_errors(real: list[tuple[np.ndarray, np.ndarray]], ours: np.ndarray) -> np.ndarray:
    """Errors of the six numbers of flight f32[steps, 6], until a leg touches the ground or an episode ends."""
    errors = []
    for (seen, rewards), imitated in zip(real, ours, strict=True):
        touched = np.flatnonzero(seen[:, 6:].any(axis=1))
        end = min(FLIGHT, len(rewards) - 1, touched[0] - 1 if len(touched) else LIMIT) + 1
        errors.append(np.abs(seen[:end, :6] - imitated[:end, :6]))
    return np.concatenate(errors)


def compare(seeds: range, pilot: Pilot, wind: bool = False) -> tuple[dict[str, float], list[list[Any]], Sample]:
    """Numbers and rows of a table about one pilot, and its returns."""
    real = [in_gymnasium(seed, pilot, wind) for seed in seeds]
    observations, returns, lengths, last = in_ours(seeds, pilot, wind)
    open_loop = pilot is RANDOM
    pilot = pilot._replace(name=f"{pilot.name}_in_wind") if wind else pilot
    totals, lasts = np.array([r.sum() for _, r in real]), np.array([r[-1] for _, r in real])
    numbers = {
        f"{pilot.name}_mean_difference": abs(float(totals.mean() - returns.mean())),
        f"{pilot.name}_median_difference": float(np.median(np.abs(totals - returns))),
        f"{pilot.name}_outcomes_agree": float(np.mean(outcome(lasts) == outcome(last))),
    }
    if open_loop:
        errors = flight_errors(real, observations)
        name = "wind_error" if wind else "flight_error"
        numbers |= {f"{name}_max": float(errors.max()), f"{name}_median": float(np.median(errors))}
    rows = []
    for world, score, length, end in (
        ("Gymnasium", totals, [len(r) for _, r in real], lasts),
        ("ours", returns, lengths, last),
    ):
        numbers_of = (score.mean(), score.std(), np.mean(length), *shares(end))
        rows.append([f"{pilot.name}, {world}", *map(float, numbers_of)])
    return numbers, rows, Sample(pilot.name, totals, returns)


def compare_unseen(folder: RunFolder, episodes: int) -> Sample:
    """Returns of a champion in episodes that it has not seen, others in each world."""
    config, champion = folder.config(Config, "evolution"), folder.load_champion()
    policy = build_policy(config)
    theirs = gymnasium_returns(config.env, policy, champion, episodes, 10_000, config.max_steps)
    return Sample(folder.path.name, theirs, fresh_returns(config, champion, episodes, 10_000))


def draw(samples: list[Sample], path: Path) -> None:
    """Histograms of the returns in both worlds, one over the other."""
    figure = new_figure((2.8 * len(samples), 2.6), "Returns in Gymnasium's environments and in ours")
    for axes, sample in zip(figure.subplots(1, len(samples), squeeze=False)[0], samples, strict=True):
        edges = np.histogram_bin_edges(np.concatenate(sample[1:]), 24)
        axes.hist(sample.theirs, edges, color=BLUE, alpha=0.45, label="Gymnasium")
        axes.hist(sample.ours, edges, histtype="step", color=ORANGE, lw=1.5, label="ours")
        axes.set_title(sample.name, fontsize=9)
        axes.set_xlabel("return", fontsize=8)
        dress(axes)
    figure.axes[0].set_ylabel("episodes", fontsize=8)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path)


def outcome(last: np.ndarray) -> np.ndarray:
    """1 landed, -1 crashed or away, 0 neither, from last rewards."""
    return np.where(last == 100, 1, np.where(last == -100, -1, 0))


def shares(last: np.ndarray) -> tuple[float, float]:
    """Shares of landings and of crashes."""
    return float(np.mean(outcome(last) == 1)), float(np.mean(outcome(last) == -1))


def main(options: Options) -> None:
    numbers, rows, samples = {}, [], []
    folders = [RunFolder(path) for path in options.runs]
    landers = [folder for folder in folders if env_of(folder) == "LunarLander-v3" and not remembers(folder)]
    pilots = [(pilot, False) for pilot in (RANDOM, HEURISTIC, *map(champion_of, landers))]
    for pilot, wind in (*pilots, (RANDOM, True), (HEURISTIC, True)):
        found, lines, sample = compare(range(options.episodes), pilot, wind)
        numbers |= found
        rows += lines
        samples.append(sample)
    columns = ("LunarLander-v3, the same draws", "return", "sd", "length", "landed", "crashed")
    table(f"{options.episodes} episodes, Gymnasium {gymnasium.__version__}", columns, rows)
    others = [compare_unseen(folder, options.run_episodes) for folder in folders if folder not in landers]
    if others:
        rows = [[s.name, *map(float, (s.theirs.mean(), s.theirs.std(), s.ours.mean(), s.ours.std()))] for s in others]
        columns = ("unseen episodes", "return there", "sd", "here", "sd")
        table(f"{options.run_episodes} episodes in each world", columns, rows)
    if options.figure:
        draw(samples + others, options.figure)
    finish(
        numbers,
        at_least={"heuristic_outcomes_agree": 0.93},
        at_most={
            "flight_error_max": 1e-2,
            "flight_error_median": 1e-4,
            "wind_error_max": 1e-2,
            "wind_error_median": 1e-4,
            "heuristic_mean_difference": 10.0,
            "heuristic_median_difference": 3.0,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
