"""Asks what a whole generation costs beside a bare rollout, and beside evosax on its own problem class.

One generation of 1,024 policies on CartPole-v1 with the default mutator, `safe`, and with `dual_mixture` (without
speciation, with it, with a hall of fame too); the bare rollout of `evaluation.py`; and a generation of evosax's
SimpleGA on evosax's GymnaxProblem with the same flax module and the argmax as its action, with and without the
observation normalisation that is evosax's default. Each from random policies (generation 0) and from policies that
balance for all 500 steps.

    python benchmarks/generation.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from evaluation import ENV, HIDDEN, POLICIES, bare_rollout, policy, random_policies
from evosax.algorithms import SimpleGA
from evosax.problems import GymnaxProblem
from timing import compile_ahead, finish, interleave, speed, table

import neuralmutator as nm

STD = 0.05  # of SimpleGA's mutation; its default, 1.0, solves nothing
BARE = "bare rollout"
OURS = "neuralmutator, default"
DUAL = "neuralmutator, dual"
SPECIATION = "neuralmutator, dual, speciation"
HALL = "neuralmutator, dual, speciation, hall"
PLAIN = "evosax SimpleGA, argmax"
NORMALISED = "evosax SimpleGA, argmax, norm"
TO_BARE, TO_EVOSAX = 0.6, 1.0  # least speed of the default; with all else, the first still holds


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    population: int = 1024
    episodes: int = 5
    steps: int = 500
    generations: int = 1
    """Generations per call, in one scan; after the first, mutation has felled some of the policies that balanced."""
    rounds: int = 9


class Act(nn.Module):
    """The policy as evosax takes it and its users write it: an action from an observation and a key."""

    @nn.compact
    def __call__(self, observation: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The action i32[]."""
        return jnp.argmax(nn.Dense(2, name="dense_1")(jnp.tanh(nn.Dense(HIDDEN, name="dense_0")(observation))))


def simple_ga(options: Options, normalise: bool) -> tuple[Callable, Callable]:
    """The loop of evosax's examples.

    Returns:
        ``(params f32[N, P], fitness f32[N]) -> state``, and ``(key, state) -> (state, (fitness [G, N], metrics))``.
    """
    problem = GymnaxProblem(
        ENV, Act(), episode_length=options.steps, num_rollouts=options.episodes, use_normalize_obs=normalise
    )
    template = problem.sample(jax.random.key(0))
    strategy = SimpleGA(options.population, template, std_schedule=optax.constant_schedule(STD))
    settings = strategy.default_params

    def init(params: jax.Array, fitness: jax.Array) -> Any:
        population = jax.vmap(strategy._unravel_solution)(params)  # the official examples do this, too
        return strategy.init(jax.random.key(1), population, -fitness, settings), problem.init(jax.random.key(2))

    def generation(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        state, problem_state = state
        key_ask, key_eval, key_tell = jax.random.split(key, 3)
        population, state = strategy.ask(key_ask, state, settings)
        fitness, problem_state, _ = problem.eval(key_eval, population, problem_state)
        state, metrics = strategy.tell(key_tell, population, -fitness, state, settings)
        return (state, problem_state), (fitness, metrics)

    def run(key: jax.Array, state: Any) -> Any:
        return jax.lax.scan(generation, state, jax.random.split(key, options.generations))

    return init, run


def main(options: Options) -> None:
    task = nm.fitness.episodes(ENV, policy(), episodes=options.episodes, max_steps=options.steps)

    def evolution(mutator: nm.mutators.Mutator, species: nm.speciation.Speciation) -> nm.Evolution:
        return nm.evolution(
            policy(),
            mutator,
            task,
            population_size=options.population,
            species=species,
            crossover_rate=0.3,
            limit=5.0,
        )

    key = jax.random.key(0)
    safe = nm.mutators.safe(policy(), nm.fitness.observe(ENV, policy(), key), inertia=0.5)
    dual, alone = nm.mutators.dual_mixture(), nm.speciation.none()
    ours = {
        OURS: evolution(safe, alone),
        DUAL: evolution(dual, alone),
        SPECIATION: evolution(dual, nm.speciation.learned()),
    }
    ours[HALL] = nm.hall_of_fame(ours[SPECIATION], task)
    rollout = bare_rollout(options.episodes, options.steps)

    def bare(key: jax.Array, params: jax.Array) -> jax.Array:
        return jax.lax.map(lambda key: rollout(key, params), jax.random.split(key, options.generations))

    rivals = {PLAIN: simple_ga(options, normalise=False), NORMALISED: simple_ga(options, normalise=True)}
    started = {name: jax.jit(each.init)(key) for name, each in ours.items()}

    def starts(params: jax.Array) -> dict[str, Any]:
        """What each program starts from with these policies."""
        states = {BARE: params}
        for name, state in started.items():
            inner = state.inner if name == HALL else state
            inner = inner._replace(population=inner.population._replace(policy=params))
            states[name] = state._replace(inner=inner) if name == HALL else inner
        returns = rollout(key, params)
        return states | {name: init(params, returns) for name, (init, _) in rivals.items()}

    functions = {BARE: bare}
    for name, each in ours.items():
        functions[name] = lambda key, state, step=each.step: nm.rollout(step, key, state, options.generations)
    functions |= {name: run for name, (_, run) in rivals.items()}
    states = starts(random_policies(key, options.population))
    programs = {name: compile_ahead(function, key, states[name]) for name, function in functions.items()}

    rows, numbers = [], {}
    for kind, make in POLICIES.items():
        states = starts(make(jax.random.key(1), options.population))
        programs = {name: program._replace(args=(key, states[name])) for name, program in programs.items()}
        seconds = interleave(programs, options.rounds)
        fitness = {name: program.run()[1] for name, program in programs.items() if name != BARE}
        fitness = {name: info.fitness if name in ours else info[0] for name, info in fitness.items()}
        fitness[BARE] = programs[BARE].run()
        for name, program in programs.items():
            t = median(seconds[name]) / options.generations
            lived = float(np.mean(fitness[name])) / options.steps
            against = [speed(seconds, name, other) for other in (BARE, PLAIN, NORMALISED)]
            rows.append((f"{kind}: {name}", program.compile_seconds, 1e3 * t, lived, *against))
        rows.append([""] * 7)
        numbers |= {
            f"{kind}_to_bare": speed(seconds, OURS, BARE),
            f"{kind}_to_evosax": speed(seconds, OURS, PLAIN),
            f"{kind}_to_evosax_default": speed(seconds, OURS, NORMALISED),
            f"{kind}_speciation_to_bare": speed(seconds, SPECIATION, BARE),
            f"{kind}_speciation_to_evosax": speed(seconds, SPECIATION, PLAIN),
            f"{kind}_dual_to_evosax": speed(seconds, DUAL, PLAIN),
            f"{kind}_speciation_costs": 1 / speed(seconds, SPECIATION, DUAL) - 1,
            f"{kind}_hall_costs": 1 / speed(seconds, HALL, SPECIATION) - 1,
        }
    table(
        f"{options.population} policies 4-{HIDDEN}-2 on {ENV}, a generation, {options.episodes}x{options.steps} steps",
        ("from: program", "compile s", "ms", "lived share", "to bare", "to evosax", "to norm"),
        rows[:-1],
    )
    bounds = {f"{kind}_to_bare": TO_BARE for kind in POLICIES} | {f"{kind}_to_evosax": TO_EVOSAX for kind in POLICIES}
    finish(numbers, at_least=bounds | {f"{kind}_speciation_to_bare": TO_BARE for kind in POLICIES})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
