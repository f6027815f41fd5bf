"""Asks what automata that paint textures can do: last, on other grids, after damage, in 8 bits.

Every number is `nca.textures.exact_distance` to the target as a share of what the target's shuffled pixels give: larger
patches and other directions than those of the training. Several starts, of which the median and the worst are shown.

    python benchmarks/textures.py --photographs images/            # three photographs of scikit-image, to train on
    neuralmutator nca train micro images/brick.png --output runs/micro-brick --quiet    # and so on
    python benchmarks/textures.py runs/micro-* runs/texture-*      # the table
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from neuralmutator import nca, rollout
from neuralmutator.core import each
from neuralmutator.nca import textures
from neuralmutator.runs.automata import Model, load

PHOTOGRAPHS = ("brick", "grass", "gravel")
FLOORS = {"micro": 0.17, "texture": 0.08, "reaction": 0.25}
SMALL_MICRO = 68  # parameters of the µNCA that the floor is for; larger ones must do as well as a texture automaton


@dataclass(frozen=True)
class Options:
    """What is measured, and how often."""

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Run folders or packed automata."""
    starts: int = 4
    """Starts per number."""
    size: int = 64
    """Height and width of the grid."""
    longest: int = 10_000
    """Updates of the longest runs."""
    photographs: Path | None = None
    """Write three photographs of scikit-image here, and do nothing else."""


def write_photographs(folder: Path) -> None:
    """Brick, grass and gravel, which are in the public domain, 256 pixels wide."""
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        picture = Image.fromarray(getattr(data, name)()).convert("RGB")
        picture.resize((256, 256), Image.Resampling.LANCZOS).save(folder / f"{name}.png")


def measure(options: Options, model: Model) -> dict[str, list[float]]:
    """Shares of every start, by what was done."""
    automaton, target, size = model.automaton(), jnp.asarray(model.target), options.size
    texture, keys = textures.held_out(target), jax.random.split(jax.random.key(0), options.starts)
    worst = textures.exact_distance(texture, textures.shuffled(jax.random.key(1), target))

    def shares(run: Callable[[jax.Array], jax.Array]) -> list[float]:
        def one(key: jax.Array) -> jax.Array:
            return textures.exact_distance(texture, automaton.look(run(key))) / worst

        return np.asarray(jax.jit(lambda keys: each(one, keys))(keys)).tolist()

    def paint(params: jax.Array, length: int, side: int = size) -> Callable[[jax.Array], jax.Array]:
        def run(key: jax.Array) -> jax.Array:
            start = automaton.start(jax.random.fold_in(key, 0), (side, side))
            return rollout(automaton.step(params), key, start, length)[0]

        return run

    def healed(key: jax.Array) -> jax.Array:
        half = (jnp.arange(size) < size // 2)[:, None, None]
        cells = paint(model.params, 1000)(key) * half
        return rollout(automaton.step(model.params), key, cells, 500, start=1000)[0]

    in_bits = nca.dequantize(automaton, nca.quantize(automaton, model.params))
    return {
        "100 updates": shares(paint(model.params, 100)),
        "1,000": shares(paint(model.params, 1000)),
        f"{options.longest:,}": shares(paint(model.params, options.longest)),
        "twice the grid": shares(paint(model.params, 1000, 2 * size)),
        "half erased, 500 later": shares(healed),
        "8 bits": shares(paint(in_bits, 1000)),
    }


def beside(options: Options, model: Model) -> dict[str, float]:
    """Shares of what is no automaton: noise, grey, and a crop of the target itself."""
    target, size = jnp.asarray(model.target), options.size
    texture = textures.held_out(target)
    worst = textures.exact_distance(texture, textures.shuffled(jax.random.key(1), target))
    images = {
        "noise": jax.random.uniform(jax.random.key(2), (size, size, 3)),
        "its mean colour": jnp.broadcast_to(target.mean((0, 1)), (size, size, 3)),
        "a crop": target[:size, :size],
    }
    return {name: float(textures.exact_distance(texture, image) / worst) for name, image in images.items()}


def main(options: Options) -> None:
    if options.photographs is not None:
        write_photographs(options.photographs)
        return
    results = {}
    for run in options.runs:
        model = load(run)
        results[run] = (model, measure(options, model), beside(options, model))
    if not results:
        raise SystemExit("name run folders of automata that paint textures")
    _, first, others = next(iter(results.values()))
    table = Table("share of shuffled pixels: median (worst)", *first, *others)
    for run, (model, found, controls) in results.items():
        cells = [f"{np.median(values):.3f} ({np.max(values):.3f})" for values in found.values()]
        name = f"{Path(run).stem} ({model.params.size:,})"
        table.add_row(name, *cells, *(f"{value:.3f}" for value in controls.values()))
    Console(width=180).print(table)
    for run, (model, found, _) in results.items():
        floor = FLOORS["texture" if model.kind == "micro" and model.params.size > SMALL_MICRO else model.kind]
        settled = float(np.median(found["1,000"]))
        later = max(float(np.median(values)) for name, values in found.items() if name not in ("100 updates", "1,000"))
        verdicts = ("holds" if settled <= floor else "MISSED", "holds" if later <= 1.5 * settled else "MISSED")
        print(
            f"{Path(run).stem}: {settled:.3f} at 1,000 updates, at most {floor}: {verdicts[0]}; "
            f"at worst {later / settled:.2f} times that elsewhere, at most 1.5: {verdicts[1]}"
        )
    print(json.dumps({Path(run).stem: found for run, (_, found, _) in results.items()}))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
