"""Chunked scans: while the host looks at one chunk of moments, the next one is already running."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from neuralmutator.core import PyTree, Step, rollout
from neuralmutator.runs.devices import compile_options
from neuralmutator.runs.folder import RunFolder


class Display(Protocol):
    """What shows a run while it goes on."""

    def update(self, moment: int, metrics: dict[str, Any]) -> None:
        """Shows the newest metrics after `moment` moments."""


class InterruptedRunError(Exception):
    """A run of `length` moments was stopped from outside after `moment`; what it had is saved in the folder `path`."""

    def __init__(self, moment: int, length: int, path: Path):
        super().__init__(f"stopped after {moment} of {length}; what it had is saved in {path}")
        self.moment, self.length, self.path = moment, length, path


def chunk_size(length: int, most: int = 10) -> int:
    """The largest divisor of `length` that is at most `most`, so that one program serves all chunks."""
    return max(n for n in range(1, most + 1) if length % n == 0)


def compile_chunk(step: Step, key: jax.Array, state: PyTree, chunk: int) -> Any:
    """Compiles `chunk` moments of a step; `state` may be abstract. Takes (key, state, first moment)."""
    program = jax.jit(lambda key, state, start: rollout(step, key, state, chunk, start))
    return program.lower(key, state, 0).compile(compile_options())


def stream(
    program: Any, key: jax.Array, state: PyTree, chunk: int, length: int, start: int = 0
) -> Iterator[tuple[int, PyTree, PyTree]]:
    """Runs the moments start … length - 1 in chunks.

    Args:
        program: what `compile_chunk` gave.
        key: key of the whole run.
        state: state at moment `start`.
        chunk: moments per call.
        length: number of moments of the whole run; ``length - start`` is a multiple of `chunk`.
        start: first moment.

    Yields:
        After each chunk the number of moments done, the state, and the stacked infos ``[chunk, ...]``; the next chunk
        is running by then.
    """
    if start >= length:
        return
    pending = program(key, state, start)
    for done in range(start + chunk, length, chunk):
        following = program(key, pending[0], done)
        yield done, *pending
        pending = following
    yield length, *pending


def rows_of(
    unit: str, columns: Mapping[str, jax.Array | np.ndarray], start: int, seconds: float
) -> list[dict[str, Any]]:
    """Stacked metrics as one dict per moment.

    Args:
        unit: what a moment is called, "generation" say.
        columns: metrics ``[chunk]`` by their names.
        start: first moment of the chunk.
        seconds: that the chunk took; each moment is given its share, as ``seconds``.
    """
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    return [
        {unit: start + i} | {name: x[i] for name, x in arrays.items()} | {"seconds": seconds / count}
        for i in range(count)
    ]


Rows = Callable[[PyTree, int, float], list[dict[str, Any]]]
"""``(infos [chunk, ...], first moment, seconds) -> one dict of metrics per moment``."""


def drive(
    folder: RunFolder,
    program: Any,
    key: jax.Array,
    state: PyTree,
    *,
    chunk: int,
    length: int,
    moment: int,
    rows: Rows,
    save_every: float,
    display: AbstractContextManager[Display] | None = None,
    check: Callable[[list[dict[str, Any]]], bool | None] | None = None,
    beside: Callable[[PyTree], None] | None = None,
) -> PyTree:
    """Runs a whole run with its metrics and checkpoints on disk, and saves when it is stopped from outside.

    Args:
        folder: of the run.
        program: what `compile_chunk` gave.
        key: key of the whole run.
        state: state at moment `moment`.
        chunk: moments per call.
        length: number of moments of the whole run.
        moment: first moment.
        rows: makes metrics of infos.
        save_every: seconds between two checkpoints.
        display: shows the newest metrics.
        check: sees the metrics of every chunk after they are written; may raise, or say with True that the run is over.
        beside: sees the state whenever it is saved; for what others should be able to read of a run that goes on.

    Returns:
        The last state; it is saved.

    Raises:
        InterruptedRunError: on SIGINT or SIGTERM, after saving.
    """
    saved, saved_at = moment, time.perf_counter()

    def save() -> None:
        folder.save(moment, state)
        if beside:
            beside(state)

    with _signals_raise(), display or nullcontext() as shown:
        try:
            clock = time.perf_counter()
            for done, newest, info in stream(program, key, state, chunk, length, moment):
                jax.block_until_ready(info)
                metrics = rows(info, moment, time.perf_counter() - clock)
                clock = time.perf_counter()
                folder.append_metrics(metrics)
                state, moment = newest, done
                if shown:
                    shown.update(done, metrics[-1])
                if check and check(metrics):
                    break
                if time.perf_counter() - saved_at > save_every:
                    save()
                    saved, saved_at = moment, time.perf_counter()
        except KeyboardInterrupt as stop:
            raise InterruptedRunError(moment, length, folder.path) from stop
        finally:
            if moment > saved:
                save()
            folder.close()
    return state


class _signals_raise(AbstractContextManager):  # noqa: N801 (reads as a statement)
    """SIGTERM, too, raises KeyboardInterrupt; what was there is put back."""

    def __enter__(self) -> None:
        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        try:
            self._old = signal.signal(signal.SIGTERM, stop)
        except ValueError:  # not in the main thread: signals are the caller's business
            self._old = None

    def __exit__(self, *_: Any) -> None:
        if self._old is not None:
            signal.signal(signal.SIGTERM, self._old)
