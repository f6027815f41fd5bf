"""Chunked scans: while the host looks at one chunk of moments, the next one is already running."""

from collections.abc import Iterator
from typing import Any

import jax

from neuralmutator.core import PyTree, Step, rollout


class InterruptedRunError(Exception):
    """The run was stopped from outside; what it had is saved, `moment` moments."""

    def __init__(self, moment: int):
        super().__init__(f"stopped after {moment} moments")
        self.moment = moment


def chunk_size(length: int, most: int = 10) -> int:
    """The largest divisor of `length` that is at most `most`, so that one program serves all chunks."""
    return max(n for n in range(1, most + 1) if length % n == 0)


def compile_chunk(step: Step, key: jax.Array, state: PyTree, chunk: int) -> Any:
    """Compiles `chunk` moments of a step; `state` may be abstract. Takes (key, state, first moment)."""
    program = jax.jit(lambda key, state, start: rollout(step, key, state, chunk, start))
    return program.lower(key, state, 0).compile()


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
