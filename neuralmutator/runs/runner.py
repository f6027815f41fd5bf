"""The runner: chunked scans with metrics, history, checkpoints and displays, for every kind of run.

While the host looks at one chunk of moments, the next one is already running.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from neuralmutator.core import PyTree, rollout
from neuralmutator.fitness.host import rollout_on_host
from neuralmutator.runs import hosts, serialise
from neuralmutator.runs.devices import compile_options, give_back
from neuralmutator.runs.errors import InterruptedRunError, RunError, UserError
from neuralmutator.runs.folder import Resumption, RunFolder, SharedFolder
from neuralmutator.runs.story import Columns, Rows, Run, Stop
from neuralmutator.runs.waiting import asked, beside, hearing, ready, stoppable

MOST_PROGRAMS = 4  # that are remembered
_programs: dict[tuple[Any, ...], Any] = {}

Sink = Callable[[int, dict[str, Any]], None]
"""``(moment, metrics)``: sees the metrics of every moment. Where it is a context manager, the runner enters it before
it compiles, once the run folder is there, and leaves it at the end."""


def execute(
    run: Run | Callable[[], Run],
    output: str | Path,
    *,
    resume: bool = False,
    save_every: float = 10.0,
    sinks: Sequence[Sink] = (),
    stop: Sequence[Stop] = (),
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs a run and leaves a run folder: configuration, metrics, history, checkpoints, products, result.

    Everything of moment t follows from the keys and t, chunks have the same bounds whenever a run is cut, and the state
    is saved whole: a run that is killed and resumed ends with the bits of an undisturbed one.

    Several processes (see `hosts`) call it alike, with a folder that all of them reach. The first one writes, the
    others write their parts of checkpoints; a signal to any of them ends all, after the chunk.

    Args:
        run: what is run, or a function that builds it.
        output: the run folder; must not exist yet, or with `resume` hold a run of the same configuration (its length
            may have grown).
        resume: go on from the newest checkpoint.
        save_every: seconds between two checkpoints.
        sinks: what sees the metrics of every moment; ``(moment, metrics) -> None``.
        stop: when the run ends early, see `target_fitness` and `time_limit`; looked at after every chunk.
        tell: is given what the user must know, line by line.

    Returns:
        The result, as in `result.json`. ``seconds`` is the time from the call to the end of the last moment,
        ``compile_seconds`` the part of it before the first moment.

    Raises:
        UserError: if `run` builds it from a configuration that is not valid.
        RunError: if the folder cannot be used, the run has failed, or another process of the run has ended.
        InterruptedRunError: on SIGINT, SIGTERM or SIGHUP, after saving.
    """
    began = time.perf_counter()
    with stoppable(at_once=not hosts.several()), _without_others(), ExitStack() as stack:
        built = beside(run)[0] if callable(run) else run
        stack.callback(built.close)
        (template,) = beside(lambda: _template(built))
        folder, found = _open_together(built, Path(output), template, resume)
        stack.callback(folder.close)
        for sink in sinks:
            if isinstance(sink, AbstractContextManager):
                stack.enter_context(sink)
        for note in found.notes:
            tell(note)
        stops = (*([built.should_stop] if built.should_stop else []), *stop)
        going = _Execution(built, folder, template, found, tuple(sinks), stops)
        try:
            finish, reason, compiled = going.to_the_end(began, save_every)
            seconds = going.clock - began
            (result,) = beside(lambda: finish(going.state, folder))
        except KeyboardInterrupt as interrupt:
            raise InterruptedRunError(going.moment, built.length, folder.path, hosts.leads()) from interrupt
        result = result | {"stopped": reason, "moments": going.moment, "compile_seconds": compiled, "seconds": seconds}
        folder.save_result(result)
        return result


def target_fitness(value: float, metric: str | None = None) -> Stop:
    """Ends a run after the first chunk in which a metric has reached a value.

    Args:
        value: that is to be reached.
        metric: by default ``champion_fitness``, the re-evaluated one of a hall of fame; without a hall
            ``fitness_best``, the luckiest single evaluation.
    """

    def reached(rows: Rows) -> str | None:
        name = metric or ("champion_fitness" if "champion_fitness" in rows[-1] else "fitness_best")
        best = max((row[name] for row in rows if is_finite(row.get(name))), default=-math.inf)
        return f"{name} has reached {value:g}" if best >= value else None

    return reached


def time_limit(seconds: float) -> Stop:
    """Ends a run after the first chunk that ends later than so many seconds from now."""
    end = time.perf_counter() + seconds

    def over(rows: Rows) -> str | None:
        return f"the time limit of {seconds:g} s is reached" if time.perf_counter() >= end else None

    return over


def is_finite(value: Any) -> bool:
    """Whether a metric, which is null in a file where it was not finite, is a finite number."""
    return isinstance(value, int | float | np.number) and math.isfinite(value)


class _Execution:
    """A run on its way."""

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        template: PyTree,
        found: Resumption,
        sinks: tuple[Sink, ...],
        stops: tuple[Stop, ...],
    ):
        self.run, self.folder, self.template, self.sinks, self.stops = run, folder, template, sinks, stops
        self.moment, self.state, self.saved = found.moment, found.state, found.moment
        self.lines = found.lines
        self.clock = time.perf_counter()  # when the last moment had been computed

    def to_the_end(self, began: float, save_every: float) -> tuple[Any, str | None, float]:
        """What finishes the run, why it has ended early if so, and the seconds until its first moment."""
        reason = self.why_stop(self.lines[-1:]) if self.lines else None
        if reason or self.moment == self.run.length:
            (finish,) = beside(self.run.prepare)
            self.clock = time.perf_counter()
            return finish, reason, self.clock - began
        # What divides both is the chunk of the first call, unless the length has grown since.
        chunk = 1 if self.run.on_host else chunk_size(math.gcd(self.moment, self.run.length))
        works = self.run.prepare, lambda: self.compile(chunk), self.begin
        # Several processes must start what they compute together in the same order.
        finish, program, _ = [beside(work)[0] for work in works] if hosts.several() else beside(*works)
        give_back()
        self.clock = time.perf_counter()
        compiled = self.clock - began
        try:
            with hearing():
                return finish, self.loop(program, chunk, save_every), compiled
        finally:
            if self.moment > self.saved:
                self.save()
            self.folder.wait()

    def begin(self) -> None:
        """Makes the first state, where there is none, and saves it: a folder with metrics can be resumed."""
        if self.state is None:
            placed = _shardings(self.template)
            self.state = jax.jit(self.run.init, out_shardings=placed)(self.run.keys[0])
            self.save()
            self.folder.wait()

    def compile(self, chunk: int) -> Any:
        if self.run.on_host:
            return partial(_one_moment, self.run.step)
        run = self.run
        return compile_chunk(run.step, run.keys[1], self.template, run.data, chunk, run.compiled_with)

    def loop(self, program: Any, chunk: int, save_every: float) -> str | None:
        """Computes the moments that are left; why it ended early if it did."""
        run, saved_at = self.run, self.clock
        ahead = not run.on_host and not hosts.several()
        moments = stream(program, run.keys[1], self.state, run.data, chunk, run.length, self.moment, ahead)
        for done, state, info in moments:
            ready(info)
            now = time.perf_counter()
            seconds, self.clock = now - self.clock, now
            rows = self.keep(jax.device_get(info), seconds)
            self.moment, self.state = done, state
            for row in rows:
                for sink in self.sinks:
                    sink(row[run.unit], row)
            reason = self.why_stop(rows)
            due = time.perf_counter() - saved_at > save_every
            stopped, ended, due = hosts.any_of(asked(), reason is not None, due)
            if stopped:
                raise KeyboardInterrupt
            if ended:
                return reason or "another host ends it"
            if due:
                self.save()
                saved_at = time.perf_counter()
        return None

    def keep(self, info: PyTree, seconds: float) -> Rows:
        """Writes what a chunk gave, infos of NumPy; its metrics, one dict per moment."""
        if history := self.run.history(info):
            self.folder.append_history(self.moment, dict(history))
        rows = rows_of(self.run.unit, self.run.columns(info, seconds), self.moment, seconds)
        self.folder.append_metrics(rows)
        return rows

    def why_stop(self, rows: Rows) -> str | None:
        return next((reason for stop in self.stops if (reason := stop(rows))), None)

    def save(self) -> None:
        """Writes a checkpoint and the products of this moment."""
        self.folder.save(self.moment, self.state)
        if self.run.products is not None:
            for name, values in self.run.products(jax.device_get(self.state)).items():
                self.folder.save_arrays(name, **values)
        self.saved = self.moment


@contextmanager
def _without_others() -> Iterator[None]:
    """What JAX says where another process is lost, as one line."""
    try:
        yield
    except (RunError, UserError, InterruptedRunError):
        raise
    except Exception as error:
        if hosts.is_loss(error):
            raise RunError(hosts.LOST) from error
        raise


def _template(run: Run) -> PyTree:
    """An abstract state, which says where its arrays are if they are on several devices."""
    state = jax.eval_shape(run.init, run.keys[0])
    if run.shardings is None:
        return state
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state, run.shardings(state)
    )


def _open_together(run: Run, path: Path, template: PyTree, resume: bool) -> tuple[RunFolder, Resumption]:
    """The folder, and where the run goes on, for one process or the first of several, and for the others."""
    hosts.check_alike(serialise.to_json(run.kind, run.config) + str(resume))
    if hosts.leads():
        folder, found = _open(run, path, template, resume)
        hosts.of_first(found.moment if found.state is not None else -1)
        return folder, found
    moment = hosts.of_first(0)
    shared = SharedFolder(path, run.keep)
    shared.wait_for_first()
    if moment < 0:
        return shared, Resumption(0, None, [], [], [], [], [])
    state = shared.restore(template, moment)[1]
    if state is None:
        raise RunError(f"{path} must be a folder that all hosts share: the checkpoint of {moment} is not there")
    return shared, Resumption(moment, state, [], [], [], [], [])


def _open(run: Run, path: Path, template: PyTree, resume: bool) -> tuple[RunFolder, Resumption]:
    """The locked folder of a run, and where it goes on. Nothing is written before all is verified."""
    if not resume:
        return RunFolder.create(path, run.kind, run.config, run.keep), Resumption(0, None, [], [], [], [], [])
    folder = RunFolder(path, run.keep)
    old = _recorded(run, folder)
    if differing := [name for name in serialise.changes(old, run.config) if name != run.length_name]:
        raise RunError(f"{path} was begun with another {differing[0]}: resume takes the options of the first call")
    if run.length < (least := int(serialise.as_dict(old).get(run.length_name, 0))):
        raise RunError(f"{run.length_name} must be at least {least} as in {path}, got {run.length}")
    try:
        folder.lock()
        found = folder.resumption(template, run.unit, run.length)
        folder.go_on(found)
        folder.save_config(run.kind, run.config)
    except OSError as error:
        folder.close()
        raise RunError(f"cannot write the run folder {path}: {error.strerror}") from error
    except RunError:
        folder.close()
        raise
    return folder, found


def _recorded(run: Run, folder: RunFolder) -> Any:
    """The configuration that a folder holds, in which what it does not say has its default."""
    if dataclasses.is_dataclass(run.config):
        return folder.config(type(run.config), run.kind)
    kind, old = folder.read_config()
    if kind != run.kind:
        raise RunError(f"{folder.path} holds a run of kind {kind!r}, not {run.kind!r}")
    return old


def chunk_size(length: int, most: int = 10) -> int:
    """The largest divisor of `length` that is at most `most`, so that one program serves all chunks."""
    return max(n for n in range(1, most + 1) if length % n == 0)


def compile_chunk(
    step: Any,
    key: jax.Array,
    state: PyTree,
    data: PyTree,
    chunk: int,
    options: Mapping[str, str | bool] = MappingProxyType({}),
) -> Any:
    """Compiles `chunk` moments of a step ``(key, state, data) -> (state, info)``.

    The program of a step that was compiled before is taken again: the seeds of one configuration share it.
    `options` are XLA's, besides those of `compile_options`.

    Returns:
        ``(key, state, first moment, data) -> (state, infos [chunk, ...])``.
    """
    leaves, structure = jax.tree.flatten((key, state, data))
    name = (step, chunk, structure, tuple(map(_kind, leaves)), tuple(jax.devices()), tuple(options.items()))
    if name not in _programs:

        def program(key: jax.Array, state: PyTree, start: jax.Array, data: PyTree) -> tuple[PyTree, PyTree]:
            return rollout(lambda key, state: step(key, state, data), key, state, chunk, start)

        placed = _shardings(state)
        # A program that is called with its own results must leave them where it finds them.
        out = None if placed is None else (placed, NamedSharding(jax.tree.leaves(placed)[0].mesh, PartitionSpec()))
        lowered = jax.jit(program, out_shardings=out).lower(key, state, 0, data)
        compiled = lowered.compile(compile_options(options))
        while len(_programs) >= MOST_PROGRAMS:
            _programs.pop(next(iter(_programs)))
        _programs[name] = compiled
    return _programs[name]


def _shardings(state: PyTree) -> PyTree:
    """Where the arrays of a state are, None if it does not say that they are on several devices."""
    leaves, structure = jax.tree.flatten(state)
    shardings = [getattr(leaf, "sharding", None) for leaf in leaves]
    spread = bool(shardings) and all(isinstance(sharding, NamedSharding) for sharding in shardings)
    return jax.tree.unflatten(structure, shardings) if spread else None


def _one_moment(step: Any, key: jax.Array, state: PyTree, start: int, data: PyTree) -> tuple[PyTree, PyTree]:
    """One moment of a step that cannot be traced; what a program of `compile_chunk` does."""
    return rollout_on_host(lambda key, state: step(key, state, data), key, state, 1, start)


def _kind(leaf: Any) -> tuple[Any, ...]:
    return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False), getattr(leaf, "sharding", None)


def stream(
    program: Any,
    key: jax.Array,
    state: PyTree,
    data: PyTree,
    chunk: int,
    length: int,
    start: int = 0,
    ahead: bool = True,
) -> Iterator[tuple[int, PyTree, PyTree]]:
    """Runs the moments start … length - 1 in chunks.

    Args:
        program: what `compile_chunk` gave.
        key: key of the whole run.
        state: state at moment `start`.
        data: what the step reads.
        chunk: moments per call.
        length: number of moments of the whole run; ``length - start`` is a multiple of `chunk`.
        start: first moment.
        ahead: whether the next chunk is started before this one is looked at.

    Yields:
        After each chunk the number of moments done, the state, and the stacked infos ``[chunk, ...]``.
    """
    if start >= length:
        return
    if not ahead:
        for begin in range(start, length, chunk):
            state, info = program(key, state, begin, data)
            yield begin + chunk, state, info
        return
    pending = program(key, state, start, data)
    for done in range(start + chunk, length, chunk):
        following = program(key, pending[0], done, data)
        yield done, *pending
        pending = following
    yield length, *pending


def rows_of(unit: str, columns: Columns, start: int, seconds: float) -> Rows:
    """Stacked metrics as one dict per moment.

    Args:
        unit: what a moment is called, "generation" say.
        columns: metrics ``[chunk]`` by their names, of NumPy.
        start: first moment of the chunk.
        seconds: that the chunk took; each moment is given its share, as ``seconds``.
    """
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    return [
        {unit: start + i} | {name: x[i] for name, x in arrays.items()} | {"seconds": seconds / count}
        for i in range(count)
    ]
