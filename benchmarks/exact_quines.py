"""Asks where homeostatic regeneration finds exact quines, and whether they repair themselves.

For every activation and size of the addresses: of how many projections the network becomes exact (relative error at
most 1e-6), in how many steps, and with what weights; where it does not, by continuation, or under another numbering.
Then the stability of ten exact quines: radial multiplier, largest eigenvalues with and without the norm held, and what
is left of damage.

    python benchmarks/exact_quines.py
"""

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from neuralmutator import quine

ACTIVATIONS = {"leaky ReLU": quine.leaky_relu, "GELU": jax.nn.gelu, "SELU": jax.nn.selu, "tanh": jnp.tanh}
CASES = (
    ("leaky ReLU", (100, 100), 0.03, ""),
    ("leaky ReLU", (100, 100), 0.1, ""),
    ("leaky ReLU", (50,), 0.03, ""),
    ("leaky ReLU", (30, 30, 30), 0.03, ""),
    ("leaky ReLU", (10, 10), 0.03, ""),
    ("GELU", (100, 100), 0.1, ""),
    ("SELU", (100, 100), 0.1, ""),
    ("SELU", (100, 100), 0.1, "continued"),
    ("SELU", (100, 100), 0.1, "renumbered"),
    ("SELU", (100, 100), 0.01, ""),
    ("SELU", (30, 30), 0.1, ""),
    ("SELU", (30, 30), 0.1, "renumbered"),
    ("tanh", (100, 100), 0.1, ""),
)
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    seeds: int = 20
    """Projections per case."""
    damaged: int = 10
    """Exact quines that are damaged."""


def born(seed: int, activation: str, hidden: tuple[int, ...], std: float) -> tuple[quine.Quine, jax.Array]:
    """A network and its first weights; all weights negative for SELU, which is where its quines are."""
    key_quine, key_weights = jax.random.split(jax.random.key(seed))
    encoding = quine.random_projection(hidden[0], std)
    q = quine.vanilla(key_quine, hidden, ACTIVATIONS[activation], encoding)
    params = q.init(key_weights)
    return q, -jnp.abs(params) if activation == "SELU" else params


def search(options: Options, case: tuple) -> dict[str, Any]:
    """Looks for an exact quine under every projection of a case."""
    activation, hidden, std, mended = case
    exact, follow, number = (
        jax.jit(quine.exact),
        jax.jit(quine.exact_by_continuation),
        jax.jit(quine.exact_with_renumbering),
    )
    errors, steps, seconds, stds, losses = [], [], [], [], []
    for seed in range(options.seeds):
        q, params = born(seed, activation, hidden, std)
        if seed == 0:
            jax.block_until_ready((number if mended == "renumbered" else exact)(q, params))
        clock = time.perf_counter()
        if mended == "renumbered":
            numbering, found = jax.block_until_ready(number(q, params))
            q = q.renumbered(numbering)
        else:
            found = jax.block_until_ready(exact(q, params))
        if mended == "continued" and not found.relative_error <= TOLERANCE:
            found = jax.block_until_ready(follow(q, params))
        seconds.append(time.perf_counter() - clock)
        weights = np.asarray(found.params, np.float64)
        missed = np.asarray(q.predict(found.params), np.float64) - weights
        errors.append(float(np.linalg.norm(missed) / np.linalg.norm(weights)))
        losses.append(float(np.sum(missed**2)))
        steps.append(int(found.steps))
        stds.append(float(weights.std()))
    good = [i for i, error in enumerate(errors) if error <= TOLERANCE and stds[i] > 1e-4]

    def middle(values: list) -> float:
        return float(np.median([values[i] for i in good])) if good else float("nan")

    return {
        "activation": ", ".join(filter(None, (activation, mended))),
        "hidden": hidden,
        "std": std,
        "exact": len(good),
        "of": options.seeds,
        "failed_seeds": [i for i in range(options.seeds) if i not in good],
        "worst_error": max((errors[i] for i in good), default=float("nan")),
        "worst_loss": max((losses[i] for i in good), default=float("nan")),
        "steps": middle(steps),
        "seconds": middle(seconds),
        "most_seconds": max((seconds[i] for i in good), default=float("nan")),
        "weight_std": middle(stds),
    }


def stability(options: Options) -> dict[str, Any]:
    """Eigenvalues of one exact quine, multipliers and repairs of several."""
    exact = jax.jit(quine.exact)
    damages = {
        "50 % zeroed": lambda key, w: quine.zeroed(key, w, 0.5),
        "90 % zeroed": lambda key, w: quine.zeroed(key, w, 0.9),
        "all shuffled": quine.shuffled,
        "noise 0.1": lambda key, w: quine.noisy(key, w, 0.1),
        "noise 1": lambda key, w: quine.noisy(key, w, 1.0),
        "noise 10": lambda key, w: quine.noisy(key, w, 10.0),
    }

    @partial(jax.jit, static_argnames="plain")
    def path(q: quine.Quine, damaged: jax.Array, params: jax.Array, plain: bool = False) -> jax.Array:
        step = quine.plain_regeneration(q) if plain else quine.homeostatic_regeneration(q)
        return quine.distance_after(step, params, damaged, 10 if plain else 80)

    multipliers, repaired, plainly = [], {name: [] for name in damages}, []
    for seed in range(options.damaged):
        q, params = born(seed, "leaky ReLU", (100, 100), 0.03)
        params = exact(q, params).params
        multipliers.append(float(quine.radial_multiplier(q.regenerate, params)))
        for name, damage in damages.items():
            damaged = damage(jax.random.key(100 + seed), params)
            repaired[name].append(float(path(q, damaged, params)[-1]))
        plainly.append(float(path(q, quine.zeroed(jax.random.key(seed), params, 0.5), params, plain=True)[-1]))
    step = quine.homeostatic_regeneration(q)
    return {
        "radial_multipliers": multipliers,
        "eigenvalues_plain": np.abs(quine.spectrum(q.regenerate, params, 3)).tolist(),
        "eigenvalues_homeostatic": np.abs(quine.spectrum(lambda w: step(jax.random.key(0), w)[0], params, 3)).tolist(),
        "distance_after_repair": repaired,
        "distance_after_plain_regeneration": plainly,
    }


def main(options: Options) -> None:
    table = Table(
        "network", "addresses", "exact", "failed", "steps", "s (most)", "worst error", "worst loss", "weights"
    )
    rows = []
    for case in CASES:
        row = search(options, case)
        rows.append(row)
        table.add_row(
            f"{row['activation']} {'-'.join(map(str, row['hidden']))}",
            f"{row['std']}",
            f"{row['exact']}/{row['of']}",
            ",".join(map(str, row["failed_seeds"][:8])),
            f"{row['steps']:.0f}",
            f"{row['seconds']:.2g} ({row['most_seconds']:.2g})",
            f"{row['worst_error']:.1e}",
            f"{row['worst_loss']:.1e}",
            f"{row['weight_std']:.2g}",
        )
    Console(width=130).print(table)
    numbers = stability(options)
    low, high = min(numbers["radial_multipliers"]), max(numbers["radial_multipliers"])
    print(f"radial multiplier {low:.3f} to {high:.3f}")
    for kind in ("plain", "homeostatic"):
        values = ", ".join(f"{x:.3f}" for x in numbers[f"eigenvalues_{kind}"])
        print(f"largest eigenvalues, {kind}: {values}")
    for name, distances in numbers["distance_after_repair"].items():
        healed = sum(x <= 1e-5 for x in distances)
        print(f"{name}: {healed} of {len(distances)} repaired, worst distance {max(distances):.1e}")
    nearest = min(numbers["distance_after_plain_regeneration"])
    print(f"50 % zeroed, ten plain regenerations: distance {nearest:.3g} at best")
    print(json.dumps({"cases": rows, "stability": numbers}))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
