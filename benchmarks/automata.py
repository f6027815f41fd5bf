"""Asks what trained automata can do: grow, persist, recover, be turned, live on in 8 bits.

Every number is the log10 of the loss, the median over several growths with the worst behind it. Recovery: 200 updates,
the damage, 200 more.

    python benchmarks/automata.py                                      # the automata that come with the package
    python benchmarks/automata.py runs/nca-growing-1 --figure strip.png
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from neuralmutator import nca, rollout
from neuralmutator.core import each
from neuralmutator.plots.nca import film_strip
from neuralmutator.runs.automata import GROWING, Model, load
from neuralmutator.runs.film import FilmConfig, film

MOMENTS = (64, 80, 96, 200, 500, 1000, 10_000)
ANGLES = (30, 45, 90)
SHOWN = (16, 32, 48, 64, 96, 200, 1000)
HEALED = (20, 50, 200)
HEALED_BELOW = -2.6
LONG_AFTER, FURTHEST = 800, 3
"""Updates after which a pattern may have come back up to that many cells from where it was."""


@dataclass(frozen=True)
class Options:
    """What is measured, and how often."""

    runs: tyro.conf.Positional[tuple[str, ...]] = GROWING
    """Run folders, packed automata, or bundled ones by name."""
    trials: int = 10
    """Growths per number."""
    long_trials: int = 3
    """Growths of 10,000 updates."""
    figure: Path | None = None
    """Where to draw them growing, and losing a half."""


def measure(options: Options, model: Model) -> dict[str, list[float]]:
    """log10 losses of every trial, by what was done."""
    automaton, params, target = model.automaton(), model.params, jnp.asarray(model.target)
    shape = target.shape[:2]

    def trials(function: Callable[[jax.Array], jax.Array], count: int = options.trials) -> np.ndarray:
        return np.log10(
            np.asarray(jax.jit(lambda keys: each(function, keys))(jax.random.split(jax.random.key(0), count)))
        )

    def grow(params: jax.Array, length: int) -> Callable[[jax.Array], jax.Array]:
        step = nca.step_with_loss(automaton, params, target)
        return lambda key: rollout(step, key, nca.seed_grid(shape, model.channels), length)[1]

    found: dict[str, list[float]] = {}
    growth = trials(grow(params, 1000))
    bits = nca.dequantize(automaton, nca.quantize(automaton, params))
    in_bits = trials(grow(bits, 1000))
    longest = trials(grow(params, MOMENTS[-1]), options.long_trials)
    for moment in MOMENTS:
        found[f"at {moment}"] = (growth if moment <= 1000 else longest)[:, moment - 1].tolist()
    for moment in (96, 1000):
        found[f"8 bits, at {moment}"] = in_bits[:, moment - 1].tolist()
    for damage in get_args(nca.Damage):
        mask = nca.cut(damage, *shape)
        found[f"{damage} erased"] = trials(
            lambda key, mask=mask: nca.recovery(automaton, key, params, target, mask).after
        ).tolist()

    def disc(key: jax.Array) -> jax.Array:
        return nca.recovery(automaton, key, params, target, nca.random_disc(jax.random.fold_in(key, 1), *shape)).after

    found["a random disc erased"] = trials(disc).tolist()
    large = nca.disc(*shape, radius=0.4)
    found["a disc of 0.4 erased"] = trials(
        lambda key: nca.recovery(automaton, key, params, target, large).after
    ).tolist()

    def displaced(key: jax.Array) -> jax.Array:
        grown, _ = rollout(automaton.step(params), key, nca.seed_grid(shape, model.channels), 200)
        halved = grown * nca.cut("right", *shape)
        healed, _ = rollout(automaton.step(params), key, halved, LONG_AFTER, start=200)
        moves = jnp.stack(jnp.meshgrid(*[jnp.arange(-FURTHEST, FURTHEST + 1)] * 2), axis=-1).reshape(-1, 2)
        return jnp.min(jax.vmap(lambda move: nca.growth_loss(healed, jnp.roll(target, move, (0, 1))))(moves))

    found[f"right, {LONG_AFTER} later, wherever it is"] = trials(displaced).tolist()

    def turned(angle: jax.Array) -> nca.Automaton:
        return nca.growing(**{**model.settings, "angle": angle})

    for angle in ANGLES:
        found[f"turned by {angle}°"] = trials(
            lambda key, angle=angle: nca.rotation_loss(turned, key, params, target, np.deg2rad(angle))
        ).tolist()
    return found


def draw(models: dict[str, Model], path: Path) -> None:
    """A row for each automaton: it grows, and loses its right half after 200 updates."""
    frames, labels = [], []
    for model in models.values():
        alone = film(model, FilmConfig(steps=max(SHOWN)))
        halved = film(model, FilmConfig(steps=200 + max(HEALED), damage="right", damage_at=200))
        wounded = alone[200].copy()
        wounded[:, wounded.shape[1] // 2 :] = 255
        frames += [alone[t] for t in SHOWN] + [wounded] + [halved[200 + t] for t in HEALED]
        labels += [f"{t} updates" for t in SHOWN] + ["half erased"] + [f"{t} later" for t in HEALED]
    columns = len(SHOWN) + 1 + len(HEALED)
    strip = film_strip([frame / 255 for frame in frames], labels, "", columns, list(models))
    strip.savefig(path)


def main(options: Options) -> None:
    models = {run: load(run) for run in options.runs}
    if options.figure is not None:
        draw(models, options.figure)
    results = {run: measure(options, model) for run, model in models.items()}
    table = Table(f"log10 loss: median (worst); healed: {HEALED_BELOW} or less", *results)
    for name in next(iter(results.values())):
        cells = [f"{np.median(found[name]):.2f} ({np.max(found[name]):.2f})" for found in results.values()]
        if "erased" in name:
            healed = [np.sum(np.array(found[name]) <= HEALED_BELOW) for found in results.values()]
            cells = [f"{cell}, {count} of {options.trials}" for cell, count in zip(cells, healed, strict=True)]
        table.add_row(name, *cells)
    Console(width=120).print(table)
    print(
        json.dumps({run: {n: [round(x, 3) for x in xs] for n, xs in found.items()} for run, found in results.items()})
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
