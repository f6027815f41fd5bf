"""``neuralmutator evolve ENV``: evolves a population and leaves a run folder."""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.experiment import presets
from neuralmutator.experiment.config import Config
from neuralmutator.experiment.evolve import evolve as run
from neuralmutator.experiment.progress import evolution_progress
from neuralmutator.experiment.run_folder import RunFolder, free_folder
from neuralmutator.experiment.runner import InterruptedRunError
from neuralmutator.plots.training import training_figure


@dataclass(frozen=True)
class Evolve:
    """Evolve a population of self-rewriting genomes on an environment; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), checkpoints, the champion, its score on fresh episodes
    and a figure. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    preset: presets.Name = "default"
    """Where defaults come from: what was measured to be best in classic control, smaller mutations (better on
    LunarLander), or the original program."""
    output: Path | None = None
    """The run folder; runs/ENV-1, -2 … if not given."""
    resume: bool = False
    """Go on with the run in --output, from its newest checkpoint."""
    test_episodes: int = 100
    """Fresh episodes that the champion plays at the end."""
    save_every: float = 10.0
    """Seconds between two checkpoints."""
    tensorboard: bool = False
    """Also write TensorBoard events."""
    quiet: bool = False
    """No progress display."""


def preset(argv: list[str]) -> Evolve:
    """The options of `evolve` as the preset that is named in the arguments has them."""
    named = [b for a, b in itertools.pairwise(argv) if a == "--preset"]
    named += [a.removeprefix("--preset=") for a in argv if a.startswith("--preset=")]
    config = presets.by_name.get(named[-1] if named else "default", presets.default)
    return Evolve(dataclasses.replace(config, env=tyro.MISSING))


def evolve(options: Evolve) -> int:
    """Runs the command; exit status 0, or 130 when it was interrupted and saved."""
    if options.test_episodes < 1:
        raise ValueError(f"test-episodes must be at least 1, got {options.test_episodes}")
    if options.resume and options.output is None:
        raise ValueError("--resume needs --output, the folder of the run to go on with")
    output = options.output or free_folder(options.config.env)
    try:
        result = run(
            options.config,
            output,
            resume=options.resume,
            display=None if options.quiet else evolution_progress,
            tensorboard=options.tensorboard,
            save_every=options.save_every,
            test_episodes=options.test_episodes,
        )
    except InterruptedRunError as stop:
        print(f"Stopped after {stop.moment} generations; the same command with --resume --output {output} goes on.")
        return 130
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
