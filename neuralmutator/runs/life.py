"""Runs of soups of programs: from a configuration to a finished run folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import life
from neuralmutator.core import check
from neuralmutator.life.hashing import u64
from neuralmutator.runs.errors import UserError, construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.runner import is_finite
from neuralmutator.runs.serialise import check_types
from neuralmutator.runs.story import Columns, Finish, Rows, Run, Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLANTS = {"engine": "0\u0140[].>}[.>}]", "palindrome": "[[{.>]-]" + 48 * "·" + "]-]>.{[["}
"""Programs that can be planted by their names.

The engine copies itself, with 52 bytes that it may carry, in `bff`; the palindrome copies whatever stands on its left.
"""

CHECKED = 8192
"""Programs at most that are checked for replication when a run ends."""

SHOWN = 5
"""Frequent programs that a result names."""


@dataclass(frozen=True)
class LifeConfig:
    """A soup of programs without a purpose; in the default language replicators arise within some hundred epochs."""

    language: str = "bff_noheads_4bit"
    """What the programs are written in: bff, bff_noheads (the paper's), bff_perm, bff_noheads_4bit, bff8,
    bff8_noheads, bff_selfmove, subleq, rsubleq4, forth or forthtrivial."""
    programs: int = 8192
    """How many there are, an even number of at most 131,072."""
    epochs: int = 1000
    """Epochs; in each of them a program meets at most one other."""
    mutation: float = 1 / 4096
    """Probability of a byte to be drawn anew in an epoch."""
    pairing: Literal["mixed", "grid"] = "mixed"
    """Who meets whom: anybody, or neighbours on a grid."""
    height: int | None = None
    """Rows of the grid; without height and width it is as square as it can be."""
    width: int | None = None
    """Columns of the grid."""
    reach: int = 2
    """Largest distance between neighbours, in rows and in columns."""
    plant: str | None = None
    """A program that is planted at the start: its text, or engine (copies itself in bff) or palindrome."""
    copies: int = 1
    """How many of it are planted, at equal distances."""
    measure_every: int = 16
    """Epochs between two measurements of entropy and of the most frequent program."""
    until_takeover: bool = False
    """End when the high-order entropy is above 1 bit: replicators have taken over."""
    cubff: bool = False
    """Take the random numbers of the paper's program: the same soups, bit for bit, of the same seed."""
    engine: Literal["auto", "jax", "native"] = "auto"
    """What runs the programs: every bit is the same. Native is fast on CPUs and needs the extra life; auto takes it if
    it can."""
    seed: int = 0
    """Seed of everything random in the run."""


class Moment(NamedTuple):
    """What an epoch leaves."""

    info: life.SoupInfo
    epoch: jax.Array  # i32[] counted from 0
    bytes: jax.Array  # u8[n, L] the soup after it


def grid_shape(config: LifeConfig) -> tuple[int, int] | None:
    """Height and width of a configuration's grid; None if its soup has none.

    Raises:
        ValueError: if the sides do not fit the number of programs, or a soup without a grid has some.
    """
    sides = (config.height, config.width)
    if config.pairing != "grid":
        if sides != (None, None):
            raise ValueError(f"height and width need --pairing grid, got pairing {config.pairing!r}")
        return None
    if config.height is None and config.width is None:
        check.whole(2, programs=config.programs)
        height = next(side for side in range(isqrt(config.programs), 0, -1) if config.programs % side == 0)
        return height, config.programs // height
    if config.height is None or config.width is None:
        raise ValueError(f"height and width must both be given or neither, got {config.height} and {config.width}")
    return config.height, config.width


def make_soup(config: LifeConfig) -> life.Soup:
    """The soup of a configuration, with what it plants.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        check_types(config)
        check.whole(1, epochs=config.epochs, copies=config.copies, measure_every=config.measure_every)
        if not 0 <= config.seed < 2**32:
            raise ValueError(f"seed must lie between 0 and 2^32 - 1, got {config.seed!r}")
        shape = grid_shape(config)
        made, _ = _process(*_setting(config))
        if config.plant is None:
            if config.copies != 1:
                raise ValueError(f"copies must be 1 where nothing is planted, got {config.copies}")
            return made
        if config.copies > config.programs:
            raise ValueError(f"copies must be at most {config.programs}, the programs, got {config.copies}")
        program = planted(made.language, config.plant)
    middle = 0 if shape is None else shape[0] // 2 * shape[1] + shape[1] // 2
    places = [(middle + copy * config.programs // config.copies) % config.programs for copy in range(config.copies)]
    return made._replace(init=lambda key: life.plant(made.init(key), program, places))


def _setting(config: LifeConfig) -> tuple[str, int, float, tuple[int, int] | None, int, int | None, str]:
    """What a soup and its step depend on."""
    seed = config.seed if config.cubff else None
    return config.language, config.programs, config.mutation, grid_shape(config), config.reach, seed, config.engine


@lru_cache(8)
def _process(
    language: str,
    programs: int,
    mutation: float,
    shape: tuple[int, int] | None,
    reach: int,
    cubff: int | None,
    engine: str,
) -> tuple[life.Soup, Callable]:
    """A soup and the step of its runs. They are kept, so that seeds of one setting share a compiled program."""
    pairing = None if shape is None else life.grid(*shape, reach)
    stream = None if cubff is None else life.cubff(cubff)
    soup = life.soup(language, programs, mutation=mutation, pairing=pairing, stream=stream, engine=engine)

    def step(key: jax.Array, state: life.Programs, data: tuple[()]) -> tuple[life.Programs, Moment]:
        after, info = soup.step(key, state)
        return after, Moment(info, state.epoch, after.bytes)

    return soup, step


@lru_cache(8)
def _check(language: str, programs: int) -> Callable:
    """``(programs u8[n, 64], seed) -> i32[n]``: `life.replication`, compiled."""
    spoken = life.get_language(language)
    given = jax.ShapeDtypeStruct((programs, 64), jnp.uint8), u64(0)
    return jax.jit(lambda some, seed: life.replication(spoken, some, seed)).lower(*given).compile()


def planted(language: life.Language, text: str) -> np.ndarray:
    """The program u8[64] of a text or of one of `PLANTS`.

    Raises:
        ValueError: if it is none.
    """
    if not text:
        raise ValueError(f"plant must be the text of a program, or {' or '.join(PLANTS)}, got nothing")
    try:
        return life.assemble(language, PLANTS.get(text, text))
    except ValueError as error:
        raise ValueError(f"plant: {error}") from error


def build(config: LifeConfig) -> Run:
    """The run of a configuration.

    Raises:
        UserError: naming the field, its value and what is allowed; or if the package brotli is missing.
    """
    if find_spec("brotli") is None:
        raise UserError("entropy is measured with the package brotli: pip install 'neuralmutator[life]'")
    soup = make_soup(config)
    _, step = _process(*_setting(config))
    key_init, key_run = run_keys(config)
    return Run(
        kind="life",
        config=config,
        keys=(key_init, key_run),
        init=soup.init,
        step=step,
        length=config.epochs,
        columns=lambda moments, seconds: _columns(config.measure_every, moments),
        unit="epoch",
        length_name="epochs",
        should_stop=_taken_over if config.until_takeover else None,
        products=lambda state: {"soup": {"bytes": state.bytes, "epoch": state.epoch}},
        prepare=lambda: _finish(config, soup.language),
        keep=1,
    )


def run_keys(config: LifeConfig) -> tuple[jax.Array, jax.Array]:
    """The keys of the first soup and of the run."""
    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    return key_init, key_run


def _columns(every: int, moments: Moment) -> Columns:
    """Metrics of some epochs; what is measured in some of them only is NaN in the others."""
    length = len(moments.epoch)
    names = ("high_order_entropy", "shannon_entropy", "compressed_size", "distinct", "most_frequent")
    measured = {name: np.full(length, np.nan) for name in names}
    for place in np.flatnonzero(moments.epoch % every == 0):
        programs = np.asarray(moments.bytes[place])
        entropy, copies = life.high_order_entropy(programs), _copies(programs)
        for name, value in zip(names, (*entropy, len(copies), copies.max()), strict=True):
            measured[name][place] = value
    return moments.info._asdict() | measured


def _copies(programs: np.ndarray) -> np.ndarray:
    """How often every different program of u8[n, L] is there."""
    rows = np.ascontiguousarray(programs).view(np.dtype((np.void, programs.shape[1]))).ravel()
    return np.unique(rows, return_counts=True)[1]


def _taken_over(rows: Rows) -> str | None:
    epoch = takeover(rows)
    return None if epoch is None else f"replicators have taken over by epoch {epoch}"


def takeover(rows: Rows) -> int | None:
    """The first epoch whose high-order entropy is above `life.TAKEOVER`, None if there is none."""
    above = (row for row in rows if is_finite(row["high_order_entropy"]) and row["high_order_entropy"] > life.TAKEOVER)
    return next((row["epoch"] for row in above), None)


def _finish(config: LifeConfig, language: life.Language) -> Finish:
    every = -(-config.programs // CHECKED)
    checked = len(range(0, config.programs, every))
    check_all = _check(config.language, checked)

    def finish(state: life.Programs, folder: RunFolder) -> dict[str, Any]:
        programs = np.asarray(state.bytes)
        folder.save_arrays("soup", bytes=programs, epoch=state.epoch)
        entropy = life.high_order_entropy(programs)
        replicators = int((np.asarray(check_all(state.bytes[::every], u64(config.seed))) >= life.REPLICATES).sum())
        frequent = life.most_frequent(programs, SHOWN)
        return {
            "language": config.language,
            "programs": config.programs,
            "high_order_entropy": entropy.high_order,
            "shannon_entropy": entropy.shannon,
            "takeover_epoch": takeover(folder.metric_lines()),
            "replicators": replicators,
            "checked_for_replication": checked,
            "most_frequent": [
                {
                    "copies": copies,
                    "program": life.disassemble(language, program),
                    "exact": life.disassemble(language, program, exact=True),
                }
                for copies, program in frequent
            ],
        }

    return finish


class Inspected(NamedTuple):
    """A frequent program of a soup."""

    copies: int
    text: str  # for people
    replication: int  # bytes passed on beside noise, see `life.replication`
    beside: float  # share of it in the place of the most frequent one after a meeting
    kind: str  # "replicator", "parasite" or ""


class Inspection(NamedTuple):
    """What a run's newest soup holds."""

    epoch: int
    entropy: life.Entropy
    programs: int
    distinct: int
    frequent: list[Inspected]


PARASITE = 0.9
"""Share of a program that must stand in the host's place where it is a parasite."""


def inspect(folder: RunFolder, number: int = 10) -> Inspection:
    """The most frequent programs of a run's newest soup, and what they do.

    Args:
        folder: of the run.
        number: how many programs.

    Raises:
        ValueError: if the number is below 1.
        RunError: if the folder cannot be read or has no soup yet.
    """
    config = folder.config(LifeConfig, "life")
    language = life.get_language(config.language)
    data = folder.load_arrays("soup", ("bytes", "epoch"))
    programs = data["bytes"]
    frequent = life.most_frequent(programs, number)
    texts = [life.disassemble(language, program) for _, program in frequent]
    tapes = jnp.asarray(np.stack([program for _, program in frequent]))
    alone, beside = life.parasitism(language, tapes, tapes[0], config.seed)
    found: list[Inspected] = []
    for (copies, _), text, passed, share in zip(frequent, texts, alone.tolist(), beside.tolist(), strict=True):
        kind = "replicator" if passed >= life.REPLICATES else "parasite" if found and share >= PARASITE else ""
        found.append(Inspected(copies, text, passed, share, kind))
    entropy = life.high_order_entropy(programs)
    return Inspection(int(data["epoch"]), entropy, len(programs), len(_copies(programs)), found)


def _describe(metrics: dict[str, Any]) -> str:
    text = f"{metrics['operations']:.0f} operations a pair  {metrics['seconds']:.3f} s/epoch"
    if is_finite(metrics["high_order_entropy"]):
        return f"entropy {metrics['high_order_entropy']:.3f}  {text}"
    return text


def _figure(folders: list[RunFolder], title: str | None) -> "Figure":
    from neuralmutator.plots.life import course_figure

    configs = [folder.config(LifeConfig, "life") for folder in folders]
    courses = [(_label(config), folder.metrics()) for config, folder in zip(configs, folders, strict=True)]
    shares = [config.programs for config in configs]
    about = " and ".join(dict.fromkeys(config.language for config in configs))
    return course_figure(courses, shares, title or f"A soup of programs: {about}")


def _pictures(folder: RunFolder) -> Mapping[str, "Figure"]:
    """The soup at the end, its bytes coloured by what they do."""
    from neuralmutator.plots.life import soup_figure

    config = folder.config(LifeConfig, "life")
    data = folder.load_arrays("soup", ("bytes", "epoch"))
    language = life.get_language(config.language)
    title = f"{_label(config)}, after {int(data['epoch'])} epochs"
    return {"soup": soup_figure(data["bytes"], language.symbols, grid_shape(config), title)}


def _label(config: LifeConfig) -> str:
    return f"{config.language}, {config.programs:,} programs, seed {config.seed}"


def _summary(path: Path, result: dict[str, Any]) -> str:
    epoch, first = result["takeover_epoch"], result["most_frequent"][0]
    happened = "no takeover" if epoch is None else f"replicators took over by epoch {epoch}"
    share = result["replicators"] / result["checked_for_replication"]
    return (
        f"{path}: {result['moments']} epochs in {result['seconds']:.0f} s, {happened}\n"
        f"High-order entropy {result['high_order_entropy']:.3f} bits; {100 * share:.1f} % of the programs replicate\n"
        f"Most frequent, {first['copies']} of {result['programs']}: {first['program']}"
    )


STORY = Story(LifeConfig, build, _figure, _pictures, lambda config: f"soup {_label(config)}", _describe, _summary)
