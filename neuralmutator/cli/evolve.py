"""``neuralmutator evolve ENV``: evolves a population and leaves a run folder."""

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from neuralmutator.cli import hosts
from neuralmutator.cli.options import RunOptions, run_story
from neuralmutator.cli.status import status_of
from neuralmutator.runs import presets
from neuralmutator.runs.config import Config, without_unused
from neuralmutator.runs.errors import UserError

if TYPE_CHECKING:
    from neuralmutator.runs.story import Run


@dataclass(frozen=True, kw_only=True)
class Evolve(RunOptions):
    """Evolve a population of self-rewriting genomes on an environment; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), the pedigree (history), checkpoints, the champion, its
    score on fresh episodes and a figure. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    preset: presets.Name = "default"
    """Where defaults come from: what was measured to be best in classic control, learned speciation and heritable step
    sizes, stricter selection (better on LunarLander), or the original program."""
    seeds: int = 1
    """Runs, with the seeds --seed, --seed + 1 …; each has a folder in --output, beside one figure of all."""
    target_fitness: float | None = None
    """End the run as soon as the champion's fitness has reached this; without a hall of fame: the best of a
    generation."""
    workers: int = 0
    """With --host: processes that step Gymnasium's environments; 0: this one. Their number changes no result."""
    test_episodes: int = 100
    """Fresh episodes that the champion plays at the end."""
    tensorboard: bool = False
    """Also write TensorBoard events."""
    hosts: int | None = None
    """Processes that share each generation, one on each machine: all are given the same command, each its
    --host-index. If not given, SLURM's step or the indexed job of Kubernetes says; 1: this one alone."""
    host_index: int | None = None
    """Which of them this is, 0, 1 …"""
    coordinator: str | None = None
    """HOST:PORT of the first of them, as all can reach it; only they should be able to."""


def defaults(argv: list[str]) -> Evolve:
    """The options of `evolve` as the preset that is named in the arguments has them."""
    named = [b for a, b in itertools.pairwise(argv) if a == "--preset"]
    named += [a.removeprefix("--preset=") for a in argv if a.startswith("--preset=")]
    config = presets.by_name.get(named[-1] if named else "default", presets.default)
    return Evolve(config=dataclasses.replace(config, env=tyro.MISSING))


def evolve(options: Evolve) -> int:
    """Runs the command; exit status 0, or that of the process that does the work as one of several hosts."""
    if not _is_host(options):
        return _evolve(options)
    if options.output is None:
        raise UserError("several hosts need --output, a folder that all of them reach")
    if options.config.host:
        raise UserError("hosts must be 1 with --host: Gymnasium is played by the --workers of one machine")
    return hosts.supervised(partial(status_of, partial(_as_host, options)))


def _is_host(options: Evolve) -> bool:
    """Whether this process is one of several."""
    named = [getattr(options, name) is not None for name in ("hosts", "host_index", "coordinator")]
    if options.hosts == 1 and not options.host_index:
        return False
    if any(named):
        if not all(named):
            raise UserError("--hosts, --host-index and --coordinator must be given together")
        return True
    return hosts.are_scheduled()


def _as_host(options: Evolve) -> int:
    from neuralmutator.runs.hosts import join, join_scheduled, leads

    if options.hosts is None or options.host_index is None or options.coordinator is None:
        join_scheduled()
    else:
        join(options.hosts, options.host_index, options.coordinator)
    return _evolve(options if leads() else dataclasses.replace(options, quiet=True, tensorboard=False))


def _evolve(options: Evolve) -> int:
    for name in ("test_episodes", "seeds"):
        if (value := getattr(options, name)) < 1:
            raise UserError(f"{name.replace('_', '-')} must be at least 1, got {value}")
    config = without_unused(options.config, presets.by_name[options.preset])
    if options.seeds > 1:
        return _several(options, config, options.folder(f"{config.env}-seeds"))
    _one(options, config, options.folder(config.env), options.resume)
    return 0


def _one(options: Evolve, config: Config, output: Path, resume: bool, title: str | None = None) -> None:
    # tensorboardX is asked for before anything is computed.
    sinks = [_tensorboard(output)] if options.tensorboard else []
    stop = [] if options.target_fitness is None else [_target(options.target_fitness)]
    run_story(
        "evolution",
        config,
        options,
        output,
        title or config.env,
        config.generations,
        partial(_build, config, options.test_episodes, options.workers),
        sinks,
        stop,
        resume,
    )


def _several(options: Evolve, config: Config, output: Path) -> int:
    """One run for each seed, and the median of all with the interquartile band."""
    folders = []
    for seed in range(config.seed, config.seed + options.seeds):
        folder = output / f"seed-{seed}"
        going_on = options.resume and (folder / "config.json").exists()
        _one(options, dataclasses.replace(config, seed=seed), folder, going_on, f"{config.env}, seed {seed}")
        folders.append(folder)
    from neuralmutator.runs.folder import RunFolder
    from neuralmutator.runs.hosts import leads
    from neuralmutator.runs.stories import STORIES

    if not leads():
        return 0
    STORIES["evolution"].figure([RunFolder(folder) for folder in folders], None).savefig(
        output / "training.png", dpi=150
    )
    print(f"{output / 'training.png'}: {options.seeds} seeds")
    return 0


def _build(config: Config, test_episodes: int, workers: int) -> "Run":
    from neuralmutator.runs.evolve import build

    return build(config, test_episodes, workers)


def _target(value: float) -> Callable[..., str | None]:
    def reached(rows: Any) -> str | None:
        from neuralmutator.runs.runner import target_fitness

        return target_fitness(value)(rows)

    return reached


def _tensorboard(output: Path) -> Any:
    from neuralmutator.runs.sinks import TensorBoard

    return TensorBoard(output / "tensorboard")
