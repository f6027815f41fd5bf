"""Asks what automata on meshes can do: last, heal, run in 8 bits and on surfaces that they never saw.

Every number is `nca.textures.exact_distance` of windows on the surface to the target, as a share of what a grey surface
gives; by larger patches, other directions and other windows than those of the training.

    neuralmutator nca train mesh dots:10 --output runs/mesh-dots --quiet
    python benchmarks/meshes.py runs/mesh-dots
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from neuralmutator import nca, rollout
from neuralmutator.core import each
from neuralmutator.nca import textures
from neuralmutator.runs.automata import Model, load
from neuralmutator.runs.surfaces import read_surface

FLOOR, ELSEWHERE = 0.06, 1.5
WINDOWS, WINDOW, PIXEL = 24, 24, 0.75


@dataclass(frozen=True)
class Options:
    """What is measured, and how often."""

    runs: tyro.conf.Positional[tuple[str, ...]] = ("mesh-dots",)
    """Run folders, packed automata, or those that come with the package."""
    starts: int = 3
    """Runs per number; which vertices fire differs."""
    longest: int = 10_000
    """Updates of the longest runs."""
    surfaces: tuple[Path, ...] = ()
    """Triangle meshes of one's own, such as scanned ones, to run on as well (.obj, .ply, .glb, …)."""


def stone(frequency: int) -> nca.Surface:
    """A lumpy, flattened ball: edges differ threefold in length, as in scanned meshes."""
    sphere = nca.icosphere(frequency)
    points = np.asarray(sphere.vertices)
    bumps = sum(np.sin(points @ np.array(wave) + i) for i, wave in enumerate([(3, 1, 2), (-2, 3, 1), (1, -2, 4)]))
    return nca.surface(points * (1 + 0.12 * bumps[:, None]) * np.array([1.2, 0.8, 1.0]), sphere.faces)


def measure(options: Options, model: Model) -> dict[str, list[float]]:
    """Shares of every run, by what was done."""
    texture, keys = textures.held_out(jnp.asarray(model.target), 2), jax.random.split(jax.random.key(0), options.starts)

    def shares(surface: nca.Surface, run: Callable[[nca.Automaton, jax.Array, jax.Array], jax.Array]) -> list[float]:
        charts = nca.surface_charts(surface, jax.random.key(9), WINDOWS, WINDOW, PIXEL)
        grey = textures.exact_distance(texture, jnp.full((WINDOWS, WINDOW, WINDOW, 3), 0.5))

        def one(key: jax.Array, surface: nca.Surface) -> jax.Array:
            automaton = nca.mesh_automaton(surface, **model.settings)
            cells = run(automaton, key, automaton.start(key, (surface.num_vertices,)))
            return textures.exact_distance(texture, nca.chart_images(charts, automaton.look(cells))) / grey

        program = jax.jit(lambda keys, surface: each(lambda key: one(key, surface), keys))
        return np.asarray(program(keys, surface)).tolist()

    def paint(length: int, params: jax.Array) -> Callable[[nca.Automaton, jax.Array, jax.Array], jax.Array]:
        return lambda automaton, key, cells: rollout(automaton.step(params), key, cells, length)[0]

    assert model.surface is not None
    own, params = model.surface, model.params
    half = (own.vertices[:, 1] > float(jnp.median(own.vertices[:, 1])))[:, None]

    def healed(automaton: nca.Automaton, key: jax.Array, cells: jax.Array) -> jax.Array:
        cells = paint(1000, params)(automaton, key, cells) * half
        return rollout(automaton.step(params), key, cells, 500, start=1000)[0]

    in_bits = nca.dequantize(model.automaton(), nca.quantize(model.automaton(), params))
    return {
        "100 updates": shares(own, paint(100, params)),
        "1,000": shares(own, paint(1000, params)),
        f"{options.longest:,}": shares(own, paint(options.longest, params)),
        "half erased, 500 later": shares(own, healed),
        "8 bits": shares(own, paint(1000, in_bits)),
        "a finer sphere": shares(nca.icosphere(24), paint(1000, params)),
        "a torus": shares(nca.torus_surface(96, 48), paint(1000, params)),
        "a stone": shares(stone(24), paint(1000, params)),
        **{path.stem: shares(read_surface(path), paint(1000, params)) for path in options.surfaces},
    }


def main(options: Options) -> None:
    results = {run: measure(options, load(run)) for run in options.runs}
    table = Table("share of a grey surface: median (worst)", *next(iter(results.values())))
    for run, found in results.items():
        table.add_row(run, *(f"{np.median(values):.3f} ({np.max(values):.3f})" for values in found.values()))
    Console(width=180).print(table)
    for run, found in results.items():
        settled = float(np.median(found["1,000"]))
        later = {name: float(np.median(values)) / settled for name, values in found.items() if "100 " not in name}
        worst = max(later, key=lambda name: later[name])
        verdicts = ("holds" if settled <= FLOOR else "MISSED", "holds" if later[worst] <= ELSEWHERE else "MISSED")
        print(
            f"{run}: {settled:.3f} at 1,000 updates, at most {FLOOR}: {verdicts[0]}; "
            f"{later[worst]:.2f} times that for {worst}, at most {ELSEWHERE}: {verdicts[1]}"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
