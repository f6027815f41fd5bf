"""Rollouts that compute no more than the part of a grid in which there is life.

What is not alive is empty after an update: while all life stays within a window, no more than that need be computed,
and the result is the same. This is three times as fast where rollouts run one after another (`core.each` on a CPU).
Nothing outside of this file knows of it but the training, which tries windows.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check, on_cpu
from neuralmutator.nca.cells import Automaton
from neuralmutator.nca.growth import ALPHA

Result = TypeVar("Result")

SLACK = 2
"""Cells by which life may come nearer to the border of the grid in the next rollout before it costs time."""

AROUND = (4, 6, 8, 10)
"""Cells between a target and the border of a window."""


class Developed(NamedTuple):
    """Cells after some updates."""

    cells: jax.Array  # f32[..., C]
    room: jax.Array  # i32[] least number of cells that were between life and the border of the grid


def default_margins(target: jax.Array | np.ndarray) -> tuple[int, ...]:
    """Cells between the border of the grid and each window to try: windows that hold a target and a little more.

    None on accelerators, where rollouts run all at once.

    Args:
        target: f32[H, W, 4]; one that is traced is taken to be as large as the article's, 5/9 of the grid.
    """
    if not on_cpu():
        return ()
    height, width = target.shape[:2]
    if check.is_traced(target):
        border = min(height, width) * 2 // 9
    else:
        rows, columns = np.nonzero(np.asarray(target)[..., ALPHA])
        if not len(rows):
            return ()
        border = int(min(rows.min(), height - 1 - rows.max(), columns.min(), width - 1 - columns.max()))
    return tuple(border - cells for cells in AROUND if border > cells)


def windowed(automaton: Automaton, margin: int) -> Automaton:
    """The automaton on the window of a grid that leaves out `margin` cells on each side.

    In it fire the cells that fire in an update of the whole grid by the same key.
    """
    whole = automaton.fire
    if whole is None:
        return automaton

    def fire(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        height, width = shape
        fires = whole(key, (height + 2 * margin, width + 2 * margin))
        return fires[margin : margin + height, margin : margin + width]

    return automaton._replace(fire=fire)


def develop(
    automaton: Automaton,
    key: jax.Array,
    params: jax.Array,
    cells: jax.Array,
    length: jax.Array,
    most: int,
    margin: int = 0,
) -> Developed:
    """Updates cells a number of times that may differ from call to call of one program.

    Where life has left the window (``room <= margin``), updates stop, and the cells are not to be used.

    Args:
        automaton: what grows; one without `alive` has no room.
        key: of all the updates; that of update t is ``fold_in(key, t)``.
        params: f32[P].
        cells: f32[..., C]; a grid f32[H, W, C] if there is a window.
        length: i32[] number of updates.
        most: static bound of `length`.
        margin: cells between the border of the grid and the window; 0 computes all.
    """
    inner = windowed(automaton, margin) if margin else automaton
    border = ((margin, margin), (margin, margin), (0, 0))
    if on_cpu() and inner.move_few is not None:
        inner = inner._replace(move=inner.move_few)

    def room(grid: jax.Array) -> jax.Array:
        if automaton.alive is None:
            return jnp.int32(0)
        living = automaton.alive(grid)
        rows, columns = living.any(axis=1), living.any(axis=0)
        ends = jnp.array([jnp.argmax(x) for x in (rows, rows[::-1], columns, columns[::-1])])
        return jnp.where(rows.any(), ends.min(), max(cells.shape[:2])).astype(jnp.int32)

    def moment(state: Developed, t: jax.Array) -> tuple[Developed, None]:
        def update() -> Developed:
            after = inner.update(jax.random.fold_in(key, t), params, state.cells)
            return Developed(after, jnp.minimum(state.room, room(after) + margin))

        within = (state.room > margin) | (margin == 0)
        return jax.lax.cond((t < length) & within, update, lambda: state), None

    window = cells[margin : cells.shape[0] - margin, margin : cells.shape[1] - margin] if margin else cells
    developed, _ = jax.lax.scan(moment, Developed(window, room(cells)), jnp.arange(most))
    return developed._replace(cells=jnp.pad(developed.cells, border)) if margin else developed


def in_smallest_window(
    attempt: Callable[[int], tuple[jax.Array, Result]], margins: Sequence[int], room: jax.Array
) -> tuple[jax.Array, Result]:
    """What `attempt` gives in the smallest window that would have done last time; in the whole grid if life left it.

    Args:
        attempt: ``(margin) -> (room i32[], result)``, where a room of no more than the margin says that life has left
            the window and the result is not to be used.
        margins: of the windows that may be tried, from the largest margin to the smallest.
        room: i32[] what `attempt` gave last time.
    """
    choices = np.array([*margins, -1 - SLACK])
    window = jnp.argmax(choices < room - SLACK)  # the first, which is the largest margin
    first = jax.lax.switch(window, [partial(attempt, margin) for margin in (*margins, 0)])
    left = (first[0] <= jnp.asarray(choices)[window]) & (window < len(margins))
    return jax.lax.cond(left, lambda: attempt(0), lambda: first)
