"""Runs thousands of small machines side by side, each to its own end.

Machines stand in lanes that step together. Most programs halt after a few steps and a few run to the limit, so all
lanes take some steps first; then those that still run are gathered into blocks, for longer and longer phases.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

LIMIT = 8192
"""Steps after which a program is stopped, no-ops included (the reference program's)."""

PC, STEPS, OPERATIONS = 0, 1, 2
"""Registers that every machine has: where it is (outside the tape: halted), steps taken, and those that did something.
"""

_FIRST = 12  # steps of all lanes; some 5 % of random programs survive them, and replicators stand before their loop
_WAVE = 12  # steps between two leaps
_PHASE = 2 * _WAVE  # steps of the first phase of the survivors; then twice as many each time
_BLOCK = 1024
_SIZES = (256, 32)  # lanes of a block of survivors: the fewer are left, the smaller


class Lanes(NamedTuple):
    """A machine, many at a time: functions of tapes u8[B, T] and registers i32[B, R]."""

    start: Callable[[jax.Array], jax.Array]  # (tapes) -> registers
    load: Callable[[jax.Array, jax.Array], Any]  # (tapes, registers) -> lanes: with all that is derived from them
    store: Callable[[Any], tuple[jax.Array, jax.Array]]  # (lanes) -> (tapes, registers)
    step: Callable[[Any], Any]  # (lanes) -> lanes; those that have halted stay as they are
    pc: Callable[[Any], jax.Array]  # (lanes) -> i32[B]
    leap: tuple[Callable[[Any], jax.Array], Callable[[Any], Any]] | None = None
    """Many steps at once: (lanes) -> bool[B] who waits for it, (lanes) -> lanes after it. Who waits does not step."""


def _within(pc: jax.Array, size: int) -> jax.Array:
    return (pc >= 0) & (pc < size)


def run(lanes: Lanes, tapes: jax.Array, count: int | jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Runs tapes u8[P, T] to their end.

    Args:
        lanes: the machine.
        tapes: what it runs on.
        count: how many of them run, the others stay as they are; all by default.

    Returns:
        The tapes, and the number of operations i32[P] that each has done.
    """
    programs, size = tapes.shape
    block = min(_BLOCK, programs)
    sizes = tuple(min(lane, programs) for lane in _SIZES)
    padding = -programs % block

    def begin(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        tapes, runs = part
        registers = lanes.start(tapes)
        registers = registers.at[:, PC].set(jnp.where(runs, registers[:, PC], size))
        state = lanes.load(tapes, registers)
        return lanes.store(jax.lax.fori_loop(0, _FIRST, lambda _, state: lanes.step(state), state))

    padded = jnp.pad(tapes, ((0, padding), (0, 0))).reshape(-1, block, size)
    runs = jnp.arange(programs + padding).reshape(-1, block) < (programs if count is None else count)
    tapes, registers = (x.reshape(programs + padding, -1)[:programs] for x in jax.lax.map(begin, (padded, runs)))

    def spin(state: Any, steps: jax.Array) -> Any:
        def wave(carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            state, done = carry
            if lanes.leap is not None:
                waits, leap = lanes.leap
                state = jax.lax.cond(jnp.any(waits(state)), leap, lambda state: state, state)
            return jax.lax.fori_loop(0, _WAVE, lambda _, state: lanes.step(state), state), done + _WAVE

        def goes_on(carry: tuple[Any, jax.Array]) -> jax.Array:
            return (carry[1] < steps) & jnp.any(_within(lanes.pc(carry[0]), size))

        return jax.lax.while_loop(goes_on, wave, (state, jnp.int32(0)))[0]

    def phase(
        carry: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        tapes, registers, steps, _ = carry
        runs = _within(registers[:, PC], size)
        count = jnp.sum(runs)
        rank = jnp.where(runs, jnp.cumsum(runs) - 1, programs + sizes[0])
        who = jnp.full(programs + sizes[0], programs, jnp.int32)
        who = who.at[rank].set(jnp.arange(programs, dtype=jnp.int32), mode="drop")

        def in_blocks_of(width: int) -> Callable[[tuple[jax.Array, jax.Array]], tuple[jax.Array, jax.Array]]:
            def one(number: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                tapes, registers = carry
                rows = jax.lax.dynamic_slice(who, (number * width,), (width,))
                some = jnp.minimum(rows, programs - 1)
                taken = registers[some]
                taken = taken.at[:, PC].set(jnp.where(rows < programs, taken[:, PC], size))
                ran, left = lanes.store(spin(lanes.load(tapes[some], taken), steps))
                return tapes.at[rows].set(ran, mode="drop"), registers.at[rows].set(left, mode="drop")

            return lambda carry: jax.lax.fori_loop(0, (count + width - 1) // width, one, carry)

        which = sum((count <= 4 * width).astype(jnp.int32) for width in sizes[1:])
        tapes, registers = jax.lax.switch(which, [in_blocks_of(width) for width in sizes], (tapes, registers))
        return tapes, registers, steps * 2, count > 0

    carry = (tapes, registers, jnp.int32(_PHASE), jnp.bool_(True))
    tapes, registers, _, _ = jax.lax.while_loop(lambda carry: carry[3], phase, carry)
    return tapes, registers[:, OPERATIONS]
