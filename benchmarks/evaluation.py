"""Asks how fast a population is evaluated beside a bare rollout of the same policies.

``evolution.evaluate`` in the blocks that evolution uses, beside two hand-written ``vmap`` + ``scan`` rollouts: the
usual one (``env.step`` with its auto-reset, an alive mask) and a leaner one (``step_env``, the state frozen when the
episode is over). Of one population, and of 16 seeds × 80 members side by side, as a study evaluates them. Random
policies of CartPole fall after some 20 steps, so a program that stops early flatters itself; policies that balance for
all 500 steps show what a step costs, and so does Pendulum, which never ends. All programs must agree on the fitness
(but for a few of the policies, where rounding decides).

    python benchmarks/evaluation.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree
from timing import compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.core import default_block_size, evaluate

ENV = "CartPole-v1"
HIDDEN = 32
BALANCE = (0.1, 0.3, 1.0, 0.5)  # pushing to the side of this weighted sum of the observation balances the pole
SPREAD = 0.01  # std of what makes balancing policies differ
SAME = 0.95  # least share of the policies whose fitness all programs must agree on
FLOOR = 4.0


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    populations: tuple[int, ...] = (80, 1024)
    seeds: int = 16
    """Populations of 80 side by side."""
    episodes: int = 5
    rounds: int = 9


def policy(env: str = ENV) -> nm.networks.Network:
    task = nm.envs.task(env)
    return nm.networks.mlp(task.observation.size, task.num_outputs, (HIDDEN,))


def random_policies(key: jax.Array, size: int, env: str = ENV) -> jax.Array:
    """Parameters f32[size, P] as evolution starts with."""
    return jax.vmap(policy(env).init)(jax.random.split(key, size))


def balancing_policies(key: jax.Array, size: int, env: str = ENV, hidden: int = HIDDEN) -> jax.Array:
    """Parameters f32[size, P] of policies that survive: one linear solution in one hidden neuron, slightly varied."""
    layers = {
        "dense_0": {"kernel": jnp.zeros((4, hidden)).at[:, 0].set(jnp.array(BALANCE)), "bias": jnp.zeros(hidden)},
        "dense_1": {"kernel": jnp.zeros((hidden, 2)).at[0].set(jnp.array([-2.0, 2.0])), "bias": jnp.zeros(2)},
    }
    solution = ravel_pytree(layers)[0]
    return solution + SPREAD * jax.random.normal(key, (size, solution.size))


POLICIES = {"random": random_policies, "balancing": balancing_policies}
CASES = ((ENV, "random"), (ENV, "balancing"), ("Pendulum-v1", "random"))


def genomes(params: jax.Array) -> nm.Genome:
    """Genomes [..., N] that are nothing but their policies."""
    some = params.shape[:-1]
    return nm.Genome(params, jnp.zeros((*some, 0)), jnp.zeros((*some, 0)), jnp.zeros((*some, 0), int), jnp.zeros(some))


def bare_rollout(
    episodes: int, steps: int, frozen: bool = False, env: str = ENV
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A rollout without a library: ``(key, params f32[N, P]) -> mean return f32[N]``; every step runs for everyone.

    Args:
        episodes: episodes of each policy, the same ones for all.
        steps: length of every episode.
        frozen: `step_env` and a state that stands still after the end, instead of `step` with its reset.
        env: name of the environment.
    """
    task, apply = nm.envs.task(env), policy(env).apply
    environment, env_params = task.environment, task.params

    def episode(key: jax.Array, params: jax.Array) -> jax.Array:
        key_reset, key_steps = jax.random.split(key)
        observation, state = environment.reset(key_reset, env_params)

        def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            observation, state, total, alive = carry
            action = task.to_action(apply(params, observation))
            if frozen:
                *moved, reward, done, _ = environment.step_env(key, state, action, env_params)
                moved = jax.tree.map(partial(jnp.where, alive), tuple(moved), (observation, state))
            else:
                *moved, reward, terminated, truncated, _ = environment.step(key, state, action, env_params)
                done = terminated | truncated
            return (*moved, total + jnp.where(alive, reward, 0.0), alive & ~done), None

        start = (observation, state, jnp.float32(0), jnp.bool_(True))
        return jax.lax.scan(step, start, jax.random.split(key_steps, steps))[0][2]

    def population(key: jax.Array, params: jax.Array) -> jax.Array:
        keys = jax.random.split(key, episodes)
        return jax.vmap(lambda p: jnp.mean(jax.vmap(episode, (0, None))(keys, p)))(params)

    return population


def main(options: Options) -> None:
    rows: list[Any] = []
    ratios = {}
    for env, kind in CASES:
        steps = int(nm.envs.task(env).params.max_steps_in_episode)
        fitness = nm.fitness.episodes(env, policy(env), episodes=options.episodes)
        functions = {
            "bare: step, auto-reset": bare_rollout(options.episodes, steps, env=env),
            "bare: step_env, frozen": bare_rollout(options.episodes, steps, frozen=True, env=env),
            "neuralmutator evaluate": lambda key, params, fitness=fitness: evaluate(
                fitness, key, genomes(params), default_block_size()
            )[0],
        }
        bare, frozen, ours = functions
        for seeds, size in [*((1, size) for size in options.populations), (options.seeds, 80)]:
            params, key = POLICIES[kind](jax.random.key(1), seeds * size, env), jax.random.key(0)
            if seeds > 1:
                params, key = params.reshape(seeds, size, -1), jax.random.split(key, seeds)
            programs = {
                name: compile_ahead(jax.vmap(function) if seeds > 1 else function, key, params)
                for name, function in functions.items()
            }
            returns = [np.asarray(program.run()) for program in programs.values()]
            for name, other in zip(functions, returns, strict=True):
                if np.mean(np.isclose(other, returns[0], rtol=1e-3)) < SAME:
                    raise AssertionError(f"{name} and {bare} disagree on the fitness of {kind} policies of {env}")
            seconds = interleave(programs, options.rounds)
            full = seeds * size * options.episodes * steps
            case = f"{env}, {kind}, " + (f"{seeds} × {size}" if seeds > 1 else f"{size}")
            for name, program in programs.items():
                t = median(seconds[name])
                rows.append((case, name, program.compile_seconds, 1e3 * t, full / t / 1e6, speed(seconds, name, bare)))
            rows.append([""] * 6)
            ratios[case] = speed(seconds, ours, bare)
            ratios[f"{case}, to frozen"] = speed(seconds, ours, frozen)
    table(
        f"Evaluating policies of {HIDDEN} hidden units, {options.episodes} episodes",
        ("policies", "program", "compile s", "ms", "nominal M steps/s", "speed to bare"),
        rows[:-1],
    )
    finish(ratios, at_least={name: FLOOR for name in ratios if "frozen" not in name})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
