"""What a run is: a step with all that the runner needs to know of it, and a story that makes one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from neuralmutator.core import PyTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuralmutator.runs.folder import RunFolder

Columns = Mapping[str, Any]
"""Arrays ``[moments, ...]`` by their names."""

Rows = list[dict[str, Any]]
"""Metrics, one dict per moment."""

Stop = Callable[[Rows], str | None]
"""``(newest metrics) -> why the run ends here``, None if it goes on. Raises RunError where it has failed."""

Finish = Callable[[PyTree, "RunFolder"], dict[str, Any]]
"""``(last state, folder) -> result``; writes what a finished run leaves beside its result."""


def _nothing(*_: Any) -> dict[str, Any]:
    return {}


def _close_nothing() -> None:
    pass


def _no_work() -> Finish:
    return _nothing


class Run(NamedTuple):
    """A step that is run for `length` moments; what it gives is kept in a run folder.

    All functions that take infos are given NumPy arrays. They must compute with NumPy: an operation on the device would
    wait for the next chunk of moments, which is running already.
    """

    kind: str  # name in `stories.STORIES`, or another for a run of one's own
    config: Any  # dataclass or mapping, written into the folder; a run is resumed with the same one
    keys: tuple[jax.Array, jax.Array]  # of the initial state, and of the run
    init: Callable[[jax.Array], PyTree]  # (key) -> state
    step: Callable[[jax.Array, PyTree, PyTree], tuple[PyTree, PyTree]]  # (key, state, data) -> (state, info), pure
    length: int  # number of moments
    columns: Callable[[PyTree, float], Columns]  # (infos [chunk, ...], seconds) -> metrics [chunk] each
    unit: str = "step"  # what a moment is called
    length_name: str = "length"  # the field of `config` that holds `length`; it alone may grow when resuming
    data: PyTree = ()  # large arrays that the step reads: arguments of the program, not constants in it
    history: Callable[[PyTree], Columns] = _nothing  # (infos) -> what is kept of every moment, [chunk, ...]
    should_stop: Stop | None = None
    products: Callable[[PyTree], Mapping[str, Columns]] | None = None  # (state) -> files written with every checkpoint
    prepare: Callable[[], Finish] = _no_work  # compiles what the end needs, while the step is compiled
    keep: int = 3  # checkpoints kept
    compiled_with: Mapping[str, str | bool] = MappingProxyType({})  # more options of XLA for the step
    shardings: Callable[[PyTree], PyTree] | None = None  # (state) -> where its arrays are, if on several devices
    on_host: bool = False  # whether the step cannot be traced; moments are then computed one by one
    close: Callable[[], None] = _close_nothing  # called when the run has ended, however


class Story(NamedTuple):
    """A kind of run that the command knows."""

    config: type  # frozen dataclass of options
    build: Callable[[Any], Run]  # (config) -> Run; ValueError where an option is bad
    figure: Callable[[list["RunFolder"], str | None], "Figure"]  # (folders, title) -> the course of these runs
    pictures: Callable[["RunFolder"], Mapping[str, "Figure"]] = _nothing  # (folder) -> others, by file name
    name: Callable[[Any], str] = str  # (config) -> what the display calls it
    describe: Callable[[dict[str, Any]], str] = str  # (newest metrics) -> a few words
    summary: Callable[[Path, dict[str, Any]], str] = lambda path, result: str(path)  # what is said at the end
