"""``neuralmutator life run``, ``inspect``, ``film`` and ``page``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.cli.options import OUTPUT, RunOptions, prepare_jax, run_story
from neuralmutator.runs.errors import construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.life import Inspection, LifeConfig, grid_shape, inspect
from neuralmutator.runs.life_film import LifeFilmConfig, film


@dataclass(frozen=True, kw_only=True)
class RunSoup(RunOptions):
    """Let a soup of programs run, and see whether replicators arise; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), a checkpoint, the soup, a result with the most frequent
    programs, and two figures. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[LifeConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Inspect:
    """Show the most frequent programs of a run, what they pass on alone, and what beside the most frequent one."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    number: int = 10
    """How many programs."""


@dataclass(frozen=True)
class Film:
    """Film a run's soup: bytes coloured by what they do, and the entropy beside them. The run is computed again."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    config: Annotated[LifeFilmConfig, tyro.conf.arg(name="")]
    output: Annotated[Path, OUTPUT] = Path("film.mp4")
    """The film, .mp4 or .gif."""
    fps: int = 24


@dataclass(frozen=True)
class Page:
    """Write one self-contained web page in which a soup runs, and programs are planted by hand."""

    output: Annotated[Path, OUTPUT] = Path("soup.html")
    """The page."""


@dataclass(frozen=True)
class Life:
    """Soups of programs in which replicators arise."""

    command: Annotated[
        Annotated[RunSoup, tyro.conf.subcommand("run", prefix_name=False)]
        | Annotated[Inspect, tyro.conf.subcommand("inspect", prefix_name=False)]
        | Annotated[Film, tyro.conf.subcommand("film", prefix_name=False)]
        | Annotated[Page, tyro.conf.subcommand("page", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


def life(options: Life) -> int:
    """Runs the command; exit status 0."""
    if isinstance(options.command, RunSoup):
        return _run(options.command)
    if isinstance(options.command, Page):
        from neuralmutator.runs.life_page import write_page

        path = write_page(options.command.output)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        return 0
    prepare_jax()
    return _inspect(options.command) if isinstance(options.command, Inspect) else _film(options.command)


def _run(options: RunSoup) -> int:
    config = options.config
    title = f"{config.language}, {config.programs:,} programs"
    run_story("life", config, options, options.folder(f"life-{config.language}"), title, config.epochs)
    return 0


def _inspect(options: Inspect) -> int:
    with construction():
        _show(inspect(RunFolder(options.run), options.number))
    return 0


def _show(found: Inspection) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(
        f"After {found.epoch:,} epochs: {found.distinct:,} different programs of {found.programs:,}; "
        f"high-order entropy {found.entropy.high_order:.3f} bits"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("copies", justify="right")
    table.add_column("program", min_width=32, overflow="fold")
    table.add_column("alone", justify="right")
    table.add_column("beside", justify="right")
    table.add_column("")
    for program in found.frequent:
        table.add_row(
            f"{program.copies:,}",
            Text(program.text),
            str(program.replication),
            f"{100 * program.beside:.0f} %",
            program.kind,
        )
    console.print(table)
    console.print("alone: bytes passed on beside noise, 5 and more make a replicator;")
    console.print("beside: how much of it stands in the place of the most frequent program after a meeting.")


def _film(options: Film) -> int:
    from neuralmutator import life as soups
    from neuralmutator.plots.life import film_frames
    from neuralmutator.plots.video import check_video, write_video

    with construction():
        check_video(options.output, options.fps)
        folder = RunFolder(options.run)
        config = folder.config(LifeConfig, "life")
        frames = film(folder, options.config)
        lines = [row for row in folder.metric_lines() if row["high_order_entropy"] is not None]
        last = options.config.epochs or config.epochs
        entropies = {row["epoch"] + 1: row["high_order_entropy"] for row in lines if row["epoch"] < last}
        symbols = soups.get_language(config.language).symbols
        title = f"{config.language}, {config.programs:,} programs"
        pictures = film_frames(frames, entropies, symbols, title, grid_shape(config))
        print(write_video(pictures, options.output, options.fps))
    return 0
