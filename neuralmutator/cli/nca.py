"""``neuralmutator nca train``, ``film``, ``page``, ``pack`` and ``import``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator import nca as automata
from neuralmutator.cli.options import OUTPUT, RunOptions, prepare_jax, run_story
from neuralmutator.plots.nca import film_frames
from neuralmutator.plots.video import check_video, write_video
from neuralmutator.runs.automata import GROWING, PAINTED, Model, load, pack
from neuralmutator.runs.errors import construction
from neuralmutator.runs.film import FilmConfig, film
from neuralmutator.runs.foreign import Order, import_automaton
from neuralmutator.runs.nca_config import NcaConfig
from neuralmutator.runs.page import write_page
from neuralmutator.runs.painting_config import MeshConfig, MicroConfig, ReactionConfig, TextureConfig
from neuralmutator.runs.surfaces import make_surface
from neuralmutator.runs.targets import load_target


@dataclass(frozen=True, kw_only=True)
class Growing(RunOptions):
    """Train an automaton to grow an image from one cell; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), a checkpoint, the parameters, the loss curve, a film strip
    of the growth and a sheet of the pool. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[NcaConfig, tyro.conf.arg(name="")]
    save_every: float = 60.0
    """Seconds between two checkpoints; the pool of the article's size takes 340 MB."""


@dataclass(frozen=True, kw_only=True)
class Texture(RunOptions):
    """Train an automaton of twelve channels to paint a texture; leaves a run folder."""

    config: Annotated[TextureConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Micro(RunOptions):
    """Train a µNCA, 68 to 588 numbers, to paint a texture; leaves a run folder."""

    config: Annotated[MicroConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Reaction(RunOptions):
    """Train a reaction-diffusion, which knows no direction, to paint a texture; leaves a run folder."""

    config: Annotated[ReactionConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Mesh(RunOptions):
    """Train an automaton on a mesh to paint a texture, which it then paints on others; leaves a run folder."""

    config: Annotated[MeshConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Train:
    """Train an automaton: to grow an image from one cell, or to paint a texture."""

    what: Annotated[
        Annotated[Growing, tyro.conf.subcommand("growing", prefix_name=False)]
        | Annotated[Texture, tyro.conf.subcommand("texture", prefix_name=False)]
        | Annotated[Micro, tyro.conf.subcommand("micro", prefix_name=False)]
        | Annotated[Reaction, tyro.conf.subcommand("reaction", prefix_name=False)]
        | Annotated[Mesh, tyro.conf.subcommand("mesh", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


@dataclass(frozen=True)
class Film:
    """Film an automaton: how it begins, is damaged and recovers, or grows turned."""

    run: tyro.conf.Positional[str]
    """A run folder, a packed automaton, or a bundled one by name, such as regenerating or mesh-dots."""
    config: Annotated[FilmConfig, tyro.conf.arg(name="")]
    surface: str | None = None
    """Another surface for an automaton on a mesh or a reaction-diffusion: icosphere:N, torus:M,N, or a file."""
    output: Annotated[Path, OUTPUT] = Path("film.mp4")
    """The film, .mp4 or .gif."""
    scale: int | None = None
    """Pixels along the side of a cell; as many as make the film some 430 pixels wide if not given."""
    fps: int = 30


@dataclass(frozen=True)
class Page:
    """Write one self-contained web page on which automata grow, and are painted, erased and turned by hand."""

    runs: tyro.conf.Positional[tuple[str, ...]] = GROWING[::-1] + PAINTED
    """Run folders, packed automata, or bundled ones by name; all that are bundled if none is given."""
    output: Annotated[Path, OUTPUT] = Path("page.html")
    """The page."""
    size: int = 96
    """Height and width of its grid, cells."""
    labels: tuple[str, ...] = ()
    """What the automata are called on it, one for each; what they grow and how they were trained if not given."""


@dataclass(frozen=True)
class Pack:
    """Write the automaton of a run as one small file that film and page take: in 8 bits, unless --exact.

    A µNCA may also become a shader: name the file .glsl.
    """

    run: tyro.conf.Positional[str]
    """A run folder, a packed automaton, or a bundled one by name."""
    output: Annotated[Path, OUTPUT] = Path("automaton.npz")
    """The file, .npz, or .glsl for the text of a shader."""
    label: str | None = None
    """What the automaton is called; what it grows and how it was trained if not given."""
    exact: bool = False
    """Keep the parameters as they are: three times as large."""
    surface: str | None = None
    """Put an automaton on a mesh or a reaction-diffusion onto a surface: icosphere:N, torus:M,N, or a file."""


@dataclass(frozen=True)
class Import:
    """Turn the weights of an automaton that was trained elsewhere into a file that film and page take, without loss.

    Takes the JSON files of the page of "Growing Neural Cellular Automata" (bytes or floats), TensorFlow.js graph models
    of its notebook, and JSON or .npz files with w1, b1, w2 and b2, each of them floats or codes with scale and offset.
    """

    weights: tyro.conf.Positional[Path]
    """The file of weights."""
    output: Annotated[Path, OUTPUT] = Path("automaton.npz")
    """The file that is written, .npz."""
    label: Annotated[str | None, tyro.conf.arg(aliases=["--name"])] = None
    """What the automaton is called; the name of the file if not given."""
    target: str | None = None
    """What it was trained for: an image file with alpha, or an emoji; what it grows in 200 updates if not given."""
    size: int = 40
    """Longer side of the target, cells."""
    padding: int = 16
    """Empty cells on each side of it."""
    fire_rate: float = 0.5
    """Probability that a cell changes in an update."""
    order: Order | None = None
    """How the rows of w1 are sorted: all channels of one filter together, or all filters of one channel together (as
    depthwise convolutions give them); channels for a TensorFlow.js graph and filters for all others if not given."""


@dataclass(frozen=True)
class Nca:
    """Cellular automata that grow images, paint textures, react and diffuse."""

    command: Annotated[
        Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
        | Annotated[Film, tyro.conf.subcommand("film", prefix_name=False)]
        | Annotated[Page, tyro.conf.subcommand("page", prefix_name=False)]
        | Annotated[Pack, tyro.conf.subcommand("pack", prefix_name=False)]
        | Annotated[Import, tyro.conf.subcommand("import", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


def nca(options: Nca) -> int:
    """Runs the command; exit status 0."""
    if isinstance(options.command, Train):
        return _train(options.command.what)
    prepare_jax()
    with construction():
        if isinstance(options.command, Film):
            return _film(options.command)
        if isinstance(options.command, Page):
            return _page(options.command)
        if isinstance(options.command, Import):
            return _import(options.command)
        return _pack(options.command)


def _train(options: Growing | Texture | Micro | Reaction | Mesh) -> int:
    config = options.config
    if isinstance(config, NcaConfig):
        output = options.folder(f"nca-{config.regime}")
        run_story("nca", config, options, output, f"{config.regime} {config.target}", config.steps)
    else:
        output = options.folder(f"nca-{config.kind}")
        run_story(config.kind, config, options, output, f"{config.image}, {config.about}", config.steps)
    return 0


def _on(surface: str | None, model: Model) -> Model:
    return model if surface is None else replace(model, surface=make_surface(surface))


def _film(options: Film) -> int:
    check_video(options.output, options.fps)
    if options.scale is not None and options.scale < 1:
        raise ValueError(f"scale must be at least 1, got {options.scale}")
    frames = film(_on(options.surface, load(options.run)), options.config)
    scale = options.scale or max(round(430 / frames.shape[2]), 1)
    print(write_video(film_frames(frames, scale), options.output, options.fps))
    return 0


def _page(options: Page) -> int:
    if options.labels and len(options.labels) != len(options.runs):
        raise ValueError(f"labels must be one for each of {len(options.runs)} automata, got {len(options.labels)}")
    models = [load(run) for run in options.runs]
    if options.labels:
        models = [replace(model, label=label) for model, label in zip(models, options.labels, strict=True)]
    path = write_page(models, options.output, options.size)
    print(f"{path}: {len(models)} automata, {path.stat().st_size / 1000:.0f} kB")
    return 0


def _pack(options: Pack) -> int:
    if options.output.suffix == ".glsl":
        model = load(options.run)
        if model.kind != "micro":
            raise ValueError(f"only automata of kind micro become a shader, got one of kind {model.kind}")
        text = automata.micro_glsl(model.params, model.channels)
        options.output.write_text(text, "utf-8")
        print(f"{options.output}: {len(text):,} characters")
        return 0
    path = pack(_on(options.surface, load(options.run)), options.output, options.label, options.exact)
    print(f"{path}: {path.stat().st_size / 1000:.1f} kB")
    return 0


def _import(options: Import) -> int:
    target = None if options.target is None else load_target(options.target, options.size, options.padding)
    label = options.weights.stem if options.label is None else options.label
    model = import_automaton(options.weights, label, target, options.fire_rate, options.order)
    path = pack(model, options.output, exact=True)
    kind = "8 bits" if isinstance(model.weights, automata.Quantized) else "32 bits"
    print(
        f"{path}: {label}, {model.channels} channels, {model.params.size:,} parameters in {kind}, "
        f"{path.stat().st_size / 1000:.1f} kB"
    )
    return 0
