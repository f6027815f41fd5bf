"""``neuralmutator evolve ENV``: evolves a population and leaves a run folder."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Annotated

import tyro

from neuralmutator.cli.options import RunOptions
from neuralmutator.plots.training import training_figure
from neuralmutator.runs import presets
from neuralmutator.runs.config import Config
from neuralmutator.runs.evolve import evolve as run
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.progress import evolution_progress


@dataclass(frozen=True, kw_only=True)
class Evolve(RunOptions):
    """Evolve a population of self-rewriting genomes on an environment; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), checkpoints, the champion, its score on fresh episodes
    and a figure. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    preset: presets.Name = "default"
    """Where defaults come from: what was measured to be best in classic control, stricter selection (better on
    LunarLander), or the original program."""
    test_episodes: int = 100
    """Fresh episodes that the champion plays at the end."""
    tensorboard: bool = False
    """Also write TensorBoard events."""


def preset(argv: list[str]) -> Evolve:
    """The options of `evolve` as the preset that is named in the arguments has them."""
    named = [b for a, b in itertools.pairwise(argv) if a == "--preset"]
    named += [a.removeprefix("--preset=") for a in argv if a.startswith("--preset=")]
    config = presets.by_name.get(named[-1] if named else "default", presets.default)
    return Evolve(config=dataclasses.replace(config, env=tyro.MISSING))


def evolve(options: Evolve) -> int:
    """Runs the command; exit status 0."""
    if options.test_episodes < 1:
        raise ValueError(f"test-episodes must be at least 1, got {options.test_episodes}")
    output = options.folder(options.config.env)
    result = run(
        options.config,
        output,
        resume=options.resume,
        display=None if options.quiet else evolution_progress,
        tensorboard=options.tensorboard,
        save_every=options.save_every,
        test_episodes=options.test_episodes,
    )
    metrics = RunFolder(output).metrics()
    training_figure([metrics], title=f"{options.config.env}, seed {options.config.seed}").savefig(
        output / "training.png", dpi=150
    )
    print(f"{output}: {options.config.generations} generations in {result['seconds']:.0f} s")
    print(
        f"Champion on {result['test_episodes']} fresh episodes of {result['env']}: "
        f"{result['champion_mean']:.1f} ± {result['champion_std']:.1f} (mean ± std)"
    )
    return 0
