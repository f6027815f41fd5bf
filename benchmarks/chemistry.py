"""Asks whether reaction networks hold what they promise: laws, positivity, closed forms, and what they can learn.

Floors of the integrator; its speed and error beside diffrax; an oscillator of a given period, a majority gate and, if
asked for, an exclusive or, each learnt from several seeds and pruned.

    python benchmarks/chemistry.py
    python benchmarks/chemistry.py --parts oscillator --seeds 1      # diffrax is left out where missing
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from scipy.integrate import solve_ivp
from timing import compile_ahead, finish, interleave, table

from neuralmutator import chemistry
from neuralmutator.chemistry import Reactions

Part = Literal["floors", "integrators", "oscillator", "majority", "xor"]
run = jax.jit(chemistry.integrate, static_argnums=(3, 4, 5))


@dataclass(frozen=True)
class Options:
    """What to measure."""

    parts: tuple[Part, ...] = ("floors", "integrators", "oscillator", "majority")
    """An exclusive or is left out unless it is asked for: it takes longer than all others."""
    seeds: int = 3
    """Of what is learnt."""
    networks: int = 2000
    """Random ones that must stay positive."""
    rounds: int = 5
    """Of timing."""


def floors(options: Options) -> tuple[dict, dict]:
    course = run(chemistry.mass_action(chemistry.network("A <-> B")), jnp.array([2, 0.5]), jnp.eye(2)[0], 0.05, 400, 1)
    exact = 0.2 + 0.8 * np.exp(-2.5 * np.asarray(course.times, np.float64))
    numbers = {"reversible_error": float(np.abs(course.concentrations[:, 0] - exact).max())}

    kinetics = chemistry.mass_action(chemistry.network("A -> 2 A", "A + B -> 2 B", "B ->"))
    course = run(kinetics, jnp.ones(3), jnp.array([0.5, 1.0]), 0.05, 13_200, 1)
    x = np.asarray(course.concentrations, np.float64)
    invariant = x.sum(axis=1) - np.log(x).sum(axis=1)
    numbers["lotka_volterra_periods"] = float(chemistry.rhythm(course.times, x[:, 0]).cycles)
    numbers["lotka_volterra_drift"] = float(np.ptp(invariant) / invariant[0])

    circle = chemistry.network("A + B -> 2 B", "B + C -> 2 C", "C + A -> 2 A")
    course = run(chemistry.mass_action(circle), jnp.array([1.0, 1.3, 0.7]), jnp.array([0.5, 0.3, 0.2]), 0.1, 10**6, 500)
    sums = np.asarray(course.concentrations, np.float64).sum(axis=1)
    numbers["conservation_million_steps"] = float(np.abs(sums - 1).max())

    candidates = chemistry.all_reactions("ABC")
    kinetics, size = chemistry.mass_action(candidates), len(candidates.texts)
    conserving = jnp.asarray(candidates.stoichiometry.sum(axis=0) == 0)

    @jax.jit
    @jax.vmap
    def random_run(key: jax.Array) -> tuple[jax.Array, ...]:
        keys = jax.random.split(key, 5)
        there = jax.random.bernoulli(keys[0], jax.random.uniform(keys[1], maxval=0.5), (size,))
        leaking = jax.random.bernoulli(keys[2])
        rates = 10 ** jax.random.uniform(keys[3], (size,), minval=-4, maxval=5) * there * (conserving | leaking)
        start = jax.random.exponential(keys[4], (3,)) * jnp.array([1.0, 1.0, 0.0])
        course = chemistry.integrate(kinetics, rates, start, 0.2, 500)
        x = course.concentrations
        off = jnp.max(jnp.abs((x[:, 0] - start[0]) + (x[:, 1] - start[1]) + x[:, 2])) / jnp.sum(start)
        return jnp.all(x >= 0), jnp.where(leaking, 0.0, off), jnp.isinf(x[-1, 0]), course.limited

    chunks = [random_run(keys) for keys in jax.random.split(jax.random.key(0), (options.networks // 250, 250))]
    positive, off, exploded, limited = (np.concatenate([chunk[i] for chunk in chunks]) for i in range(4))
    numbers |= {
        "positive": float(positive.mean()),
        "conservation_random_networks": float(off.max()),
        "random_networks_exploded": float(exploded.mean()),
        "random_networks_limited_steps": float(limited.mean()),
    }
    return numbers, {
        "at_least": {"positive": 1.0, "lotka_volterra_periods": 100},
        "at_most": {
            "reversible_error": 1e-5,
            "lotka_volterra_drift": 1e-3,
            "conservation_million_steps": 1e-6,
            "conservation_random_networks": 1e-6,
        },
    }


def integrators(options: Options) -> tuple[dict, dict]:
    """Eight periods of an oscillator of 90 reactions: the scan beside diffrax, forwards and with a gradient."""
    candidates = chemistry.all_reactions("ABC")
    kinetics, size, period = chemistry.mass_action(candidates), len(candidates.texts), 10.0
    found = chemistry.hopf_start(candidates, period, others=1e-4)
    rates, start = jnp.asarray(found[:size]), jnp.asarray(found[size:])
    stoichiometry, reactants = candidates.stoichiometry, candidates.reactants
    times = np.linspace(0, 80, 401)[1:]
    exact = solve_ivp(
        lambda _, x: stoichiometry @ (found[:size].astype(float) * np.prod(x**reactants, axis=1)),
        (0, 80),
        found[size:].astype(float),
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
        method="DOP853",
    ).y.T
    solvers: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
        f"scan, {every * 50} steps a period": partial(_scan, kinetics, every) for every in (1, 2, 4)
    }
    solvers |= _diffrax(kinetics, jnp.asarray(times, jnp.float32))
    batches = {name: jax.vmap(solve, (0, 0)) for name, solve in solvers.items()}
    several = jnp.tile(rates, (16, 1)), start * jnp.exp(0.01 * jax.random.normal(jax.random.key(0), (16, 3)))

    def gradient(solve: Callable) -> Callable:
        return jax.grad(lambda rates, start: jnp.mean(solve(rates, start) ** 2))

    programs = {}
    for name, solve in solvers.items():
        programs[name, "forward"] = compile_ahead(solve, rates, start)
        programs[name, "gradient"] = compile_ahead(gradient(solve), rates, start)
        programs[name, "16 gradients"] = compile_ahead(gradient(batches[name]), *several)
    seconds = interleave(programs, options.rounds)
    rows, numbers = [], {}
    for name in solvers:
        error = float(np.abs(programs[name, "forward"].run() - exact).max())
        taken = [1e3 * median(seconds[name, kind]) for kind in ("forward", "gradient", "16 gradients")]
        compiling = sum(programs[name, kind].compile_seconds for kind in ("forward", "gradient"))
        rows.append([name, error, *taken, compiling])
        numbers |= {f"{name}: error": error, f"{name}: gradient ms": taken[1]}
    table(
        "Eight periods of 90 reactions, 400 concentrations kept",
        ("integrator", "largest error", "forward ms", "gradient ms", "16 gradients ms", "compile s"),
        rows,
    )
    return numbers, {}


def _scan(kinetics: chemistry.Kinetics, every: int, rates: jax.Array, start: jax.Array) -> jax.Array:
    return chemistry.integrate(kinetics, rates, start, 0.2 / every, 400 * every, every).concentrations


def _diffrax(kinetics: chemistry.Kinetics, times: jax.Array) -> dict[str, Callable[[jax.Array, jax.Array], jax.Array]]:
    """Its explicit solvers of order 5, adaptive and of fixed step; nothing without diffrax."""
    try:
        import diffrax
    except ImportError:
        return {}

    def solve(controller: Any, first: float | None, rates: jax.Array, start: jax.Array) -> jax.Array:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, rates: chemistry.field(kinetics, rates, x)),
            diffrax.Tsit5(),
            0.0,
            times[-1],
            first,
            start,
            rates,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=controller,
            max_steps=4096,
        ).ys

    return {
        "diffrax Tsit5, 50 steps a period": partial(solve, diffrax.ConstantStepSize(), 0.2),
        "diffrax Tsit5, rtol 1e-4": partial(solve, diffrax.PIDController(rtol=1e-4, atol=1e-6), None),
        "diffrax Tsit5, rtol 1e-6": partial(solve, diffrax.PIDController(rtol=1e-6, atol=1e-8), None),
    }


def oscillator(options: Options) -> tuple[dict, dict]:
    """From the smallest Hopf network among 90 candidates, its rates off by 10 %, all others about 0.001."""
    period, horizon, steps = 10.0, 8, 500
    candidates = chemistry.all_reactions("ABC")
    kinetics, size = chemistry.mass_action(candidates), len(candidates.texts)
    losses = {periods: chemistry.rhythm_loss(kinetics, period, periods) for periods in (2, 4, horizon)}
    trainers = [chemistry.trainer(loss, size, chemistry.descent(1e-2, steps), 1e-5) for loss in losses.values()]
    again = chemistry.trainer(losses[horizon], size, chemistry.descent(5e-3, 300))
    judge = partial(losses[horizon], jax.random.key(0))
    follow = jax.jit(lambda numbers: chemistry.follow(kinetics, numbers, period, 3 * horizon))
    first = jnp.asarray(chemistry.hopf_start(candidates, period))

    def learn(key: jax.Array) -> tuple[jax.Array, list]:
        numbers = first.at[:size].multiply(jnp.exp(0.1 * jax.random.normal(key, (size,))))
        for number, each in enumerate(trainers):
            numbers, _ = chemistry.fit(each, jax.random.fold_in(key, number), numbers, steps)
        pruned = chemistry.prune(again, judge, key, numbers, size, 300)
        times, courses = (np.asarray(x) for x in follow(pruned.numbers))
        seen = chemistry.rhythm(times, courses[:, 0])
        late = times > horizon * period
        after = chemistry.rhythm(times[late], courses[late, 0])
        return pruned, [abs(seen.period / period - 1), abs(after.period / period - 1), seen.cycles, seen.amplitude]

    names = ("period error", "… after the training", "cycles", "amplitude")
    return _learnt("oscillator", options, candidates, learn, names, {"period error": 0.05, "left": 12})


def gate(
    title: str, candidates: Reactions, draw: chemistry.Draw, steps: int, options: Options, least: float
) -> tuple[dict, dict]:
    """From all candidates with rates about 0.0025: so slow that nothing happens yet, and the answer is the question."""
    kinetics, size = chemistry.mass_action(candidates), len(candidates.texts)
    loss = chemistry.answer_loss(kinetics, draw)
    first = chemistry.trainer(loss, size, chemistry.descent(3e-2, steps), 1e-4)
    again = chemistry.trainer(loss, size, chemistry.descent(2e-2, 200), 1e-4)
    judge = partial(chemistry.answer_loss(kinetics, draw, count=64), jax.random.key(2**20))
    held_out = draw(jax.random.key(2**20 + 1), 1000)
    answers = jax.jit(lambda rates: chemistry.answers(kinetics, rates, held_out.starts, 0.2, 150))

    def learn(key: jax.Array) -> tuple[jax.Array, list]:
        rates = jnp.exp(0.5 * jax.random.normal(key, (size,)) - 6)
        rates, _ = chemistry.fit(first, key, rates, steps)
        pruned = chemistry.prune(again, judge, key, rates, size, 200)
        right = [float(chemistry.accuracy(answers(x), held_out.answers)) for x in (rates, pruned.numbers)]
        return pruned, right[::-1]

    numbers, bounds = _learnt(title, options, candidates, learn, ("accuracy", "… before pruning"), {})
    return numbers, {"at_least": {f"{title} accuracy": least}, **bounds}


def _learnt(
    title: str,
    options: Options,
    candidates: Reactions,
    learn: Callable[[jax.Array], tuple[Any, list]],
    names: tuple[str, ...],
    at_most: dict[str, float],
) -> tuple[dict, dict]:
    """A row a seed; of every number the worst one is compared with its floor."""
    rows, size = [], len(candidates.texts)
    for seed in range(options.seeds):
        clock = time.perf_counter()
        pruned, measured = learn(jax.random.key(seed))
        left = int((pruned.numbers[:size] > 0).sum())
        taken = time.perf_counter() - clock
        rows.append([seed, left, pruned.loss, pruned.unpruned, pruned.loss / pruned.unpruned, *measured, taken])
        print(f"{title}, seed {seed}: {left} of {size} reactions")
        print(chemistry.describe(candidates, pruned.numbers[:size]), flush=True)
    columns = ("seed", "left", "loss", "unpruned", "ratio", *names, "s")
    table(f"{title}, {size} candidates", columns, rows)
    worst = {name: max(row[columns.index(name)] for row in rows) for name in ("left", "ratio", *at_most)}
    worst |= {name: min(row[columns.index(name)] for row in rows) for name in names if name.endswith("accuracy")}
    numbers = {f"{title} {name}": float(value) for name, value in worst.items()}
    return numbers, {"at_most": {f"{title} {name}": bound for name, bound in {"ratio": 1.1, **at_most}.items()}}


def main(options: Options) -> None:
    triple, quadruple = (chemistry.all_reactions(names, conserve=True) for names in ("XYB", "ABCD"))
    parts: dict[Part, Callable[[], tuple[dict, dict]]] = {
        "floors": partial(floors, options),
        "integrators": partial(integrators, options),
        "oscillator": partial(oscillator, options),
        "majority": partial(gate, "majority", triple, chemistry.majority(triple), 600, options, 0.95),
        "xor": partial(
            gate, "xor", quadruple, chemistry.logic(quadruple, (0, 1, 1, 0), supplies={"D": 1.0}), 1000, options, 0.95
        ),
    }
    numbers: dict = {}
    at_least: dict = {}
    at_most: dict = {}
    for part in options.parts:
        measured, bounds = parts[part]()
        numbers |= measured
        at_least |= bounds.get("at_least", {})
        at_most |= bounds.get("at_most", {})
    finish(numbers, at_least, at_most)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
