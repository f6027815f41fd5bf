"""Asks how close the evaluation of a population comes to a bare rollout of the same policies.

``evolution.evaluate`` on CartPole-v1, in the blocks that evolution uses, beside two hand-written ``vmap`` + ``scan``
rollouts: the usual one (``env.step`` with its auto-reset, an alive mask) and a leaner one (``step_env``, the state
frozen when the episode is over). Random policies fall after some 20 steps, so a program that stops early flatters
itself; policies that balance for all 500 steps show what a step costs. Both are measured, and all programs must agree
on the fitness (but for a few of the policies, where rounding decides).

    python benchmarks/evaluation.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree
from timing import compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.core import default_block_size, evaluate

ENV = "CartPole-v1"
HIDDEN = 64
BALANCE = (0.1, 0.3, 1.0, 0.5)  # pushing to the side of this weighted sum of the observation balances the pole
SPREAD = 0.01  # std of what makes balancing policies differ
SAME = 0.95  # least share of the policies whose fitness all programs must agree on
FLOOR = 0.9


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    populations: tuple[int, ...] = (80, 1024)
    episodes: int = 5
    steps: int = 500
    rounds: int = 9


def policy() -> nm.networks.Network:
    return nm.networks.mlp(4, 2, (HIDDEN,))


def random_policies(key: jax.Array, size: int) -> jax.Array:
    """Parameters f32[size, P] as evolution starts with."""
    return jax.vmap(policy().init)(jax.random.split(key, size))


def balancing_policies(key: jax.Array, size: int) -> jax.Array:
    """Parameters f32[size, P] of policies that survive: one linear solution in one hidden neuron, slightly varied."""
    layers = {
        "dense_0": {"kernel": jnp.zeros((4, HIDDEN)).at[:, 0].set(jnp.array(BALANCE)), "bias": jnp.zeros(HIDDEN)},
        "dense_1": {"kernel": jnp.zeros((HIDDEN, 2)).at[0].set(jnp.array([-2.0, 2.0])), "bias": jnp.zeros(2)},
    }
    solution = ravel_pytree(layers)[0]
    return solution + SPREAD * jax.random.normal(key, (size, solution.size))


POLICIES = {"random": random_policies, "balancing": balancing_policies}


def genomes(params: jax.Array) -> nm.Genome:
    """Genomes [N] that are nothing but their policies."""
    n = params.shape[0]
    return nm.Genome(params, jnp.zeros((n, 0)), jnp.zeros((n, 0)), jnp.zeros((n, 0), jnp.int32), jnp.zeros(n))


def bare_rollout(episodes: int, steps: int, frozen: bool = False) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A rollout without a library: ``(key, params f32[N, P]) -> mean return f32[N]``; every step runs for everyone.

    Args:
        episodes: episodes of each policy, the same ones for all.
        steps: length of every episode.
        frozen: `step_env` and a state that stands still after the end, instead of `step` with its reset.
    """
    env, env_params = gymnax.make(ENV)
    apply = policy().apply

    def episode(key: jax.Array, params: jax.Array) -> jax.Array:
        key_reset, key_steps = jax.random.split(key)
        observation, state = env.reset(key_reset, env_params)

        def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            observation, state, total, alive = carry
            action = jnp.argmax(apply(params, observation))
            if frozen:
                *moved, reward, done, _ = env.step_env(key, state, action, env_params)
                moved = jax.tree.map(partial(jnp.where, alive), tuple(moved), (observation, state))
            else:
                *moved, reward, terminated, truncated, _ = env.step(key, state, action, env_params)
                done = terminated | truncated
            return (*moved, total + jnp.where(alive, reward, 0.0), alive & ~done), None

        start = (observation, state, jnp.float32(0), jnp.bool_(True))
        return jax.lax.scan(step, start, jax.random.split(key_steps, steps))[0][2]

    def population(key: jax.Array, params: jax.Array) -> jax.Array:
        keys = jax.random.split(key, episodes)
        return jax.vmap(lambda p: jnp.mean(jax.vmap(episode, (0, None))(keys, p)))(params)

    return population


def main(options: Options) -> None:
    fitness = nm.fitness.episodes(ENV, policy(), episodes=options.episodes, max_steps=options.steps)
    key = jax.random.key(0)
    functions = {
        "bare: step, auto-reset": bare_rollout(options.episodes, options.steps),
        "bare: step_env, frozen": bare_rollout(options.episodes, options.steps, frozen=True),
        "neuralmutator evaluate": lambda key, params: evaluate(fitness, key, genomes(params), default_block_size())[0],
    }
    bare, frozen, ours = functions
    rows, ratios = [], {}
    for size in options.populations:
        params = random_policies(key, size)
        programs = {name: compile_ahead(function, key, params) for name, function in functions.items()}
        for kind, make in POLICIES.items():
            params = make(jax.random.key(1), size)
            programs = {name: program._replace(args=(key, params)) for name, program in programs.items()}
            returns = [np.asarray(program.run()) for program in programs.values()]
            for name, other in zip(functions, returns, strict=True):
                if np.mean(np.isclose(other, returns[0], rtol=1e-3)) < SAME:
                    raise AssertionError(f"{name} and {bare} disagree on the fitness of {kind} policies")
            seconds = interleave(programs, options.rounds)
            lived = float(returns[0].sum()) * options.episodes
            full = size * options.episodes * options.steps
            for name, program in programs.items():
                t = median(seconds[name])
                ratio = speed(seconds, name, bare)
                rows.append(
                    (f"{kind}, {size}", name, program.compile_seconds, 1e3 * t, lived / t / 1e6, full / t / 1e6, ratio)
                )
            rows.append([""] * 7)
            ratios[f"{kind}_{size}"] = speed(seconds, ours, bare)
            ratios[f"{kind}_{size}_to_frozen"] = speed(seconds, ours, frozen)
            ratios[f"{kind}_{size}_lived_share"] = lived / full
    table(
        f"Evaluating policies 4-{HIDDEN}-2 on {ENV}, {options.episodes} episodes of up to {options.steps} steps",
        ("policies", "program", "compile s", "ms", "lived M steps/s", "nominal M steps/s", "speed to bare"),
        rows[:-1],
    )
    finish(ratios, at_least={f"{kind}_{size}": FLOOR for kind in POLICIES for size in options.populations})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
