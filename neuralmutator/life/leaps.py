"""Many iterations of a bracket loop at once.

A loop leaps if its body has no other loop, writes at most once, and moves each head by at most one. Iteration t then
writes at w(t) what stands at r(t), or counts there, and looks at x(t) for a null; all three stand still or move by one
a time. Every replicator's copy loop is one, and so are most of the loops that a random program runs for long.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.life import engine, masks
from neuralmutator.life.brackets import WRITES, Dialect, State, looking

_NEVER = engine.LIMIT


class _Track(NamedTuple):
    """A place that moves."""

    place: jax.Array  # i32[B] in iteration 0
    pace: jax.Array  # i32[B] -1, 0 or 1 an iteration


class _Loop(NamedTuple):
    """The loop that each machine stands in, at its start."""

    regular: jax.Array  # bool[B] whether the machine waits, and its loop is one that leaps
    end: jax.Array  # i32[B] place of the closing bracket
    pace: jax.Array  # i32[B] moves of the first head in an iteration
    pace1: jax.Array  # i32[B] of the second
    writes: jax.Array  # bool[B] whether there is a write
    counts: jax.Array  # i32[B] 1 or -1 where it is a count, 0 where it is a copy
    write: _Track
    read: _Track
    look: _Track


def leap(dialect: Dialect, state: State) -> State:
    """As many iterations as surely read nothing that they have written, and write nothing that they run."""
    loop = _loop(dialect, state)
    length = loop.end - state.pc + 1
    ends = _ends(dialect, state.tape, loop)
    most = jnp.minimum(_most(state, loop), jnp.maximum(engine.LIMIT - state.steps, 0) // length)
    out = loop.regular & (ends < most)
    made = jnp.where(loop.regular, jnp.minimum(most, ends + 1), 0)
    size = state.tape.shape[1]
    after = state._replace(
        tape=_tape(state.tape, loop, made),
        pc=jnp.where(out, loop.end + 1, state.pc),
        steps=state.steps + made * length,
        operations=state.operations + made * (masks.count(state.acts, state.pc, loop.end) + 1),
        head=(state.head + made * loop.pace) & (size - 1),
        head1=(state.head1 + made * loop.pace1) & (size - 1),
        # After a long way the next landing counts as the first again, and may leap at once.
        jumps=jnp.where(made >= 8, 0, state.jumps),
        waits=jnp.zeros_like(state.pc),
        dirty=state.dirty | ((made > 0) & loop.writes),
    )
    return looking(dialect, after)


def _loop(dialect: Dialect, state: State) -> _Loop:
    tape, pc, size = state.tape, state.pc, state.tape.shape[1]
    rows = jnp.arange(tape.shape[0])
    end = masks.next_bit(state.brackets, pc)
    writes = masks.packed(dialect.does(tape, WRITES))
    moves = [[masks.packed(dialect.does(tape, some)) for some in way] for way in ((">", "<"), ("};", "{"))]
    place = masks.next_bit(writes, pc)

    def travelled(stop: jax.Array) -> list[jax.Array]:
        """How far both heads go from the loop's start to a place."""
        return [masks.count(right, pc, stop) - masks.count(left, pc, stop) for right, left in moves]

    pace, pace1 = travelled(end)
    ahead, ahead1 = travelled(place)
    amount = masks.count(writes, pc, end)
    closing = dialect.does(tape[rows, jnp.minimum(end, size - 1)], "]")
    regular = (state.waits == 1) & (end < size) & closing
    regular &= (amount <= 1) & (jnp.abs(pace) <= 1) & (jnp.abs(pace1) <= 1)
    byte = tape[rows, jnp.minimum(place, size - 1)]
    counts = jnp.where(dialect.does(byte, "+"), 1, jnp.where(dialect.does(byte, "-"), -1, 0))
    first = _Track((state.head + ahead) & (size - 1), pace)
    second = _Track((state.head1 + ahead1) & (size - 1), pace1)
    to1 = dialect.does(byte, ".")
    return _Loop(
        regular,
        end,
        pace,
        pace1,
        writes=amount == 1,
        counts=counts,
        write=_either(to1, second, first),
        read=_either(to1, first, second),
        look=_Track((state.head + pace) & (size - 1), pace),
    )


def _either(condition: jax.Array, one: _Track, other: _Track) -> _Track:
    return _Track(*(jnp.where(condition, a, b) for a, b in zip(one, other, strict=True)))


def _own(loop: _Loop) -> jax.Array:
    """Whether each iteration looks at what it has just written itself, bool[B]."""
    return loop.writes & (loop.write.place == loop.look.place) & (loop.write.pace == loop.look.pace)


def _most(state: State, loop: _Loop) -> jax.Array:
    """How many iterations know all that they read, and leave the loop as it is, i32[B]."""
    pc, size = state.pc, state.tape.shape[1]
    write, writing = loop.write
    clash = jnp.where(loop.counts == 0, _meets(loop.read, loop.write, 1, size), _NEVER)
    # The loop, from its opening bracket on.
    within = (write >= pc - 1) & (write <= loop.end)
    reach = jnp.where(writing > 0, pc - 1 - write, write - loop.end) & (size - 1)
    reach = jnp.where(within, 0, jnp.where(writing == 0, _NEVER, reach))
    unsure = jnp.where(_own(loop), _NEVER, _meets(loop.look, loop.write, 0, size))
    least = jnp.minimum(jnp.minimum(clash, reach), jnp.minimum(unsure, size))
    return jnp.where(loop.writes, least, _NEVER)


def _meets(track: _Track, write: _Track, lag: int, size: int) -> jax.Array:
    """The first iteration that comes to where has been written in an iteration at least `lag` before, i32[B]."""
    ahead = ((track.place - write.place) * write.pace) & (size - 1)
    chased = jnp.where(ahead == 0, _NEVER if lag else 0, size - ahead)
    facing = (jnp.where(ahead < lag, ahead + size, ahead) + lag + 1) // 2
    moving = jnp.where(track.pace == write.pace, chased, jnp.where(track.pace == 0, ahead + lag, facing))
    passed = ((write.place - track.place) * track.pace) & (size - 1)
    passed = jnp.where(passed < lag, passed + size, passed)
    still = jnp.where(track.pace != 0, passed, jnp.where(track.place == write.place, lag, _NEVER))
    return jnp.where(write.pace != 0, moving, still)


def _ends(dialect: Dialect, tape: jax.Array, loop: _Loop) -> jax.Array:
    """The first iteration that finds a null, i32[B]."""
    rows, size = jnp.arange(tape.shape[0]), tape.shape[1]
    own, copies = _own(loop), loop.counts == 0
    place, pace = _either(own & copies, loop.read, loop.look)
    # Who counts looks at what it has made of the byte.
    shift = jnp.where(own, loop.counts, 0).astype(jnp.uint8)
    nulls = masks.packed(dialect.null(tape + shift[:, None]))
    right, left = masks.next_bit(nulls, place), masks.previous_bit(nulls, place)
    right = jnp.where(right == size, masks.next_bit(nulls, jnp.zeros_like(place)), right)
    left = jnp.where(left < 0, masks.previous_bit(nulls, jnp.full_like(place, size - 1)), left)
    stop = jnp.where(pace > 0, right, left)
    moving = jnp.where((stop < 0) | (stop == size), _NEVER, ((stop - place) * pace) & (size - 1))
    value = tape[rows, place].astype(jnp.int32)
    still = jnp.where(dialect.null(value), 0, _NEVER)
    still = jnp.where(own & ~copies, (-value * loop.counts - 1) & dialect.mask, still)
    return jnp.where(pace == 0, still, moving)


def _tape(tape: jax.Array, loop: _Loop, made: jax.Array) -> jax.Array:
    """The tapes after some iterations i32[B]."""
    size = tape.shape[1]
    places = jnp.arange(size, dtype=jnp.int32)
    write, writing = (x[:, None] for x in loop.write)
    read, reading = (x[:, None] for x in loop.read)
    times, stands = made[:, None], writing == 0
    when = jnp.where(stands, times - 1, ((places - write) * writing) & (size - 1))
    hit = jnp.where(stands, (places == write) & (times > 0), when < times) & loop.writes[:, None]
    copied = jnp.take_along_axis(tape, (read + reading * when) & (size - 1), axis=1, mode="promise_in_bounds")
    counted = tape + (loop.counts[:, None] * jnp.where(stands, times, 1)).astype(jnp.uint8)
    return jnp.where(hit, jnp.where(loop.counts[:, None] == 0, copied, counted), tape)
