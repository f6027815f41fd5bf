"""``neuralmutator nca train``, ``film``, ``page`` and ``pack``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.cli.options import RunOptions, prepare_jax, run_story
from neuralmutator.plots.nca import film_frames
from neuralmutator.plots.video import check_video, write_video
from neuralmutator.runs.automata import BUNDLED, load, pack
from neuralmutator.runs.errors import construction
from neuralmutator.runs.film import FilmConfig, film
from neuralmutator.runs.nca import NcaConfig
from neuralmutator.runs.page import write_page


@dataclass(frozen=True, kw_only=True)
class Train(RunOptions):
    """Train an automaton to grow an image from one cell; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), a checkpoint, the parameters, the loss curve, a film strip
    of the growth and a sheet of the pool. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[NcaConfig, tyro.conf.arg(name="")]
    save_every: float = 60.0
    """Seconds between two checkpoints; the pool of the article's size takes 340 MB."""


@dataclass(frozen=True)
class Film:
    """Film an automaton: how it grows, is damaged and recovers, or grows turned."""

    run: tyro.conf.Positional[str]
    """A run folder, a packed automaton, or growing, persistent or regenerating, which are bundled."""
    config: Annotated[FilmConfig, tyro.conf.arg(name="")]
    output: Path = Path("film.mp4")
    """The film, .mp4 or .gif."""
    scale: int = 6
    """Pixels along the side of a cell."""
    fps: int = 30


@dataclass(frozen=True)
class Page:
    """Write one self-contained web page on which automata grow, and are painted, erased and turned by hand."""

    runs: tyro.conf.Positional[tuple[str, ...]] = BUNDLED[::-1]
    """Run folders, packed automata, or bundled ones by name; all that are bundled if none is given."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("page.html")
    """The page."""
    size: int = 96
    """Height and width of its grid, cells."""


@dataclass(frozen=True)
class Pack:
    """Write the automaton of a run as one small file, in 8 bits, that film and page take."""

    run: tyro.conf.Positional[str]
    """The run folder."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("automaton.npz")
    """The file, .npz."""


@dataclass(frozen=True)
class Nca:
    """Cellular automata that grow, persist and regenerate."""

    command: Annotated[
        Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
        | Annotated[Film, tyro.conf.subcommand("film", prefix_name=False)]
        | Annotated[Page, tyro.conf.subcommand("page", prefix_name=False)]
        | Annotated[Pack, tyro.conf.subcommand("pack", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


def nca(options: Nca) -> int:
    """Runs the command; exit status 0."""
    if isinstance(options.command, Train):
        return _train(options.command)
    prepare_jax()
    with construction():
        if isinstance(options.command, Film):
            return _film(options.command)
        if isinstance(options.command, Page):
            return _page(options.command)
        return _pack(options.command)


def _train(options: Train) -> int:
    config = options.config
    output = options.folder(f"nca-{config.regime}")
    run_story("nca", config, options, output, f"{config.regime} {config.target}", config.steps)
    return 0


def _film(options: Film) -> int:
    check_video(options.output, options.fps)
    if options.scale < 1:
        raise ValueError(f"scale must be at least 1, got {options.scale}")
    config, target, params = load(options.run)
    frames = film(config, params, target.shape[:2], options.config)
    print(write_video(film_frames(frames, options.scale), options.output, options.fps))
    return 0


def _page(options: Page) -> int:
    models = [load(run) for run in options.runs]
    path = write_page(models, options.output, options.size)
    print(f"{path}: {len(models)} automata, {path.stat().st_size / 1000:.0f} kB")
    return 0


def _pack(options: Pack) -> int:
    path = pack(load(options.run), options.output)
    print(f"{path}: {path.stat().st_size / 1000:.1f} kB")
    return 0
