"""BFF and its dialects: two heads on a tape that is program and data at once, with loops in brackets.

Thousands of tapes step together, and three things make a step worth more than one instruction, without changing a bit
of the outcome:

- bytes that do nothing are jumped over, by masks of the bytes that do something;
- a loop that has come back to a state that it was in is not run to the limit (Brent's cycle detection);
- a loop that only copies, as every replicator's does, is one move of many bytes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.life import engine

OPERATIONS = "[]+-.,<>{};"
"""What bytes can do.

- ``<`` ``>`` move the first head, ``{`` ``}`` the second;
- ``+`` ``-`` count at the first head;
- ``.`` copies from the first head to the second, ``,`` from the second to the first, and ``;`` too, with a step of the
  second behind it;
- ``[`` goes behind its closing bracket where the first head stands on a null, ``]`` goes back where it does not.
"""


class Dialect(NamedTuple):
    """A language of the family."""

    codes: Mapping[str, int]  # what each operation is written as
    mask: int  # which bits of a byte count
    heads: bool  # whether the first two bytes place the heads, and the third is the first instruction
    jump: int = 0  # how far brackets jump; 0: to the matching one


_TRIES = 0b1001001001
"""After how many jumps back of a program a leap is tried: 1, 8, 64 and 512."""


class State(NamedTuple):
    """Machines in lanes."""

    tape: jax.Array  # u8[B, T]
    acts: jax.Array  # u32[W, B] which bytes do something
    brackets: jax.Array  # u32[W, B]
    at: jax.Array  # i32[B] the byte to look at next. Carried, or XLA would compute it anew for all who read it
    pc: jax.Array  # i32[B]
    steps: jax.Array
    operations: jax.Array
    head: jax.Array
    head1: jax.Array
    depth: jax.Array  # 0: runs; above: looks ahead for a closing bracket; below: back for an opening one
    jumps: jax.Array  # jumps back so far
    waits: jax.Array  # 1: at the start of a loop that may be a copy, waiting for `leap`
    seen: jax.Array  # pc and heads at the last snapshot, -1 before the first
    seen_steps: jax.Array
    seen_operations: jax.Array
    dirty: jax.Array  # 1: the tape has changed since the snapshot


_REGISTERS = State._fields[State._fields.index("pc") :]


def _packed(bits: jax.Array) -> jax.Array:
    """bool[B, T] -> u32[W, B]."""
    rows = bits.shape[0]
    fours = jax.lax.bitcast_convert_type(bits.astype(jnp.uint8).reshape(rows, -1, 8, 4), jnp.uint32)
    # Bits 0, 8, 16 and 24 come to lie side by side, and no two of the other products in one place.
    fours = (fours * jnp.uint32(1 << 21 | 1 << 14 | 1 << 7 | 1)) >> 21 & 15
    return jnp.sum(fours << jnp.arange(0, 32, 4, dtype=jnp.uint32), axis=2, dtype=jnp.uint32).T


def _next_bit(mask: jax.Array, place: jax.Array) -> jax.Array:
    """The lowest set bit at or behind a place; the tape's size where there is none."""
    found = jnp.full_like(place, 32 * mask.shape[0])
    for word in reversed(range(mask.shape[0])):
        skip = jnp.clip(place - 32 * word, 0, 32).astype(jnp.uint32)
        rest = jnp.where(skip > 31, jnp.uint32(0), mask[word] & (jnp.uint32(0xFFFFFFFF) << (skip & 31)))
        bit = jax.lax.population_count((rest & -rest) - 1).astype(jnp.int32) + 32 * word
        found = jnp.where(rest != 0, bit, found)
    return found


def _previous_bit(mask: jax.Array, place: jax.Array) -> jax.Array:
    """The highest set bit at or before a place, -1 where there is none."""
    found = jnp.full_like(place, -1)
    for word in range(mask.shape[0]):
        keep = jnp.clip(place + 1 - 32 * word, 0, 32).astype(jnp.uint32)
        rest = jnp.where(keep > 31, mask[word], mask[word] & ((jnp.uint32(1) << (keep & 31)) - 1))
        bit = 31 - jax.lax.clz(rest).astype(jnp.int32) + 32 * word
        found = jnp.where(rest != 0, bit, found)
    return found


def _below(place: jax.Array, words: int) -> jax.Array:
    """The bits below a place i32[B], u32[W, B]."""
    keep = jnp.clip(place - 32 * jnp.arange(words)[:, None], 0, 32).astype(jnp.uint32)
    return jnp.where(keep > 31, jnp.uint32(0xFFFFFFFF), (jnp.uint32(1) << (keep & 31)) - 1)


def _find(acts: jax.Array, brackets: jax.Array, pc: jax.Array, depth: jax.Array) -> jax.Array:
    """The next byte that does something; for who looks for a bracket, the next bracket in his direction."""
    ahead = _next_bit(jnp.where((depth == 0)[None], acts, brackets), pc)
    return jnp.where(depth < 0, _previous_bit(brackets, pc), ahead)


def lanes(dialect: Dialect) -> engine.Lanes:
    """Machines of a dialect for `engine.run`."""

    def does(byte: jax.Array, operations: str) -> jax.Array:
        """Whether bytes stand for one of some operations."""
        byte, found = byte & dialect.mask, jnp.zeros(byte.shape, bool)
        for operation in operations:
            if operation in dialect.codes:
                found |= byte == dialect.codes[operation]
        return found

    def null(byte: jax.Array) -> jax.Array:
        return byte & dialect.mask == 0

    def start(tape: jax.Array) -> jax.Array:
        size = tape.shape[1]
        zero = jnp.zeros(tape.shape[0], jnp.int32)
        first = dict.fromkeys(_REGISTERS, zero)
        first["seen"] = zero - 1
        if dialect.heads:
            first["pc"] = zero + 2
            first["head"], first["head1"] = (tape[:, place].astype(jnp.int32) & (size - 1) for place in (0, 1))
        return jnp.stack([first[name] for name in _REGISTERS], axis=1)

    def masks(tape: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _packed(does(tape, OPERATIONS)), _packed(does(tape, "[]"))

    def load(tape: jax.Array, registers: jax.Array) -> State:
        acts, brackets = masks(tape)
        named = {name: registers[:, number] for number, name in enumerate(_REGISTERS)}
        return State(tape, acts, brackets, _find(acts, brackets, named["pc"], named["depth"]), **named)

    def store(state: State) -> tuple[jax.Array, jax.Array]:
        return state.tape, jnp.stack([getattr(state, name) for name in _REGISTERS], axis=1)

    def step(state: State) -> State:
        rows = jnp.arange(state.tape.shape[0])
        size = state.tape.shape[1]
        live = (state.pc >= 0) & (state.pc < size) & (state.waits == 0)
        backwards, runs, at = state.depth < 0, state.depth == 0, state.at
        found = (at >= 0) & (at < size)
        steps = state.steps + jnp.where(live & runs, jnp.minimum(at, size) - state.pc, 0)
        acts = live & found & ~(runs & (steps >= engine.LIMIT))
        byte = state.tape[rows, jnp.clip(at, 0, size - 1)]
        value, value1 = state.tape[rows, state.head], state.tape[rows, state.head1]
        runs &= acts

        # Writes.
        to1, to0 = does(byte, "."), does(byte, ",;")
        where = jnp.where(to1, state.head1, state.head)
        old = jnp.where(to1, value1, value)
        counted = jnp.where(does(byte, "+"), value + 1, value - 1)
        new = jnp.where(to1, value, jnp.where(to0, value1, counted))
        changes = runs & does(byte, "+-.,;") & (new != old)
        hit = (jnp.arange(size, dtype=jnp.uint8) == where[:, None].astype(jnp.uint8)) & changes[:, None]
        tape = jnp.where(hit, new[:, None], state.tape)
        bit = jnp.uint32(1) << (where & 31).astype(jnp.uint32)
        word = (jnp.arange(state.acts.shape[0])[:, None] == where >> 5) & changes

        def marked(mask: jax.Array, on: jax.Array) -> jax.Array:
            return jnp.where(word, jnp.where(on, mask | bit, mask & ~bit), mask)

        found_acts, brackets = marked(state.acts, does(new, OPERATIONS)), marked(state.brackets, does(new, "[]"))

        # Heads.
        step0 = does(byte, ">").astype(jnp.int32) - does(byte, "<")
        step1 = does(byte, "};").astype(jnp.int32) - does(byte, "{")
        head = jnp.where(runs, (state.head + step0) & (size - 1), state.head)
        head1 = jnp.where(runs, (state.head1 + step1) & (size - 1), state.head1)

        # Brackets.
        opens, closes = does(byte, "["), does(byte, "]")
        leaves, again = runs & opens & null(value), runs & closes & ~null(value)
        steps = jnp.where(runs, steps + 1, steps)
        operations = jnp.where(runs, state.operations + 1, state.operations)
        if dialect.jump:
            depth = state.depth
            landed = again & (at + 1 >= dialect.jump)  # else it leaves the tape
            pc = at + 1 + jnp.where(leaves, dialect.jump, 0) - jnp.where(again, dialect.jump, 0)
        else:
            nesting = opens.astype(jnp.int32) - closes
            depth = jnp.where(acts & ~runs, state.depth + nesting, state.depth)
            depth = jnp.where(leaves, 1, jnp.where(again, -1, depth))
            landed = acts & backwards & (depth == 0)
            pc = jnp.where((backwards | again) & ~landed, at - 1, at + 1)
        pc = jnp.where(live, jnp.where(acts, pc, size), state.pc)
        if not dialect.jump:
            pc = jnp.where(live & backwards & ~found, -1, pc)

        # Cycles: only a jump back can close one.
        dirty = state.dirty | changes
        here = (pc * size + head) * size + head1
        jumps = state.jumps + landed
        same = landed & (dirty == 0) & (here == state.seen)
        period = jnp.maximum(steps - state.seen_steps, 1)
        # Exact: a quotient of whole numbers below 2^23 in float32, which XLA computes far faster than of integers.
        laps = jnp.where(same, (engine.LIMIT - steps).astype(jnp.float32) / period.astype(jnp.float32), 0)
        laps = laps.astype(jnp.int32)
        steps = steps + laps * period
        operations = operations + laps * (operations - state.seen_operations)
        snapshot = landed & ((jumps & (jumps - 1)) == 0)
        return State(
            tape,
            found_acts,
            brackets,
            _find(found_acts, brackets, pc, depth),
            pc,
            steps,
            operations,
            head,
            head1,
            depth,
            jumps,
            state.waits if dialect.jump else jnp.where(snapshot & (jumps & _TRIES != 0), 1, state.waits),
            jnp.where(snapshot, here, state.seen),
            jnp.where(snapshot, steps, state.seen_steps),
            jnp.where(snapshot, operations, state.seen_operations),
            jnp.where(snapshot, 0, dirty),
        )

    def leap(state: State) -> State:
        """Whole iterations of loops that write at most once in their body and move each head by at most one.

        Iteration t writes at w(t) what stands at r(t), or counts there, and then looks at x(t) for a null; all three
        stand still or move by one a time. As many iterations are made as surely read nothing that they have written and
        write nothing that they run.
        """
        tape, pc, steps = state.tape, state.pc, state.steps
        rows, size = jnp.arange(tape.shape[0]), tape.shape[1]
        places = jnp.arange(size, dtype=jnp.int32)
        never = engine.LIMIT

        def wrapped(place: jax.Array) -> jax.Array:
            return place & (size - 1)

        end = _next_bit(state.brackets, pc)
        writes = _packed(does(tape, "+-.,;"))
        place = _next_bit(writes, pc)

        def number(mask: jax.Array, stop: jax.Array) -> jax.Array:
            """How many bits are set from the loop's start to a place."""
            inside = _below(stop, mask.shape[0]) & ~_below(pc, mask.shape[0])
            return jnp.sum(jax.lax.population_count(mask & inside), axis=0, dtype=jnp.int32)

        right, left = _packed(does(tape, ">")), _packed(does(tape, "<"))
        right1, left1 = _packed(does(tape, "};")), _packed(does(tape, "{"))
        pace, pace1 = number(right, end) - number(left, end), number(right1, end) - number(left1, end)
        ahead, ahead1 = number(right, place) - number(left, place), number(right1, place) - number(left1, place)
        amount = number(writes, end)
        closing = does(tape[rows, jnp.minimum(end, size - 1)], "]")
        regular = (state.waits == 1) & (end < size) & closing
        regular &= (amount <= 1) & (jnp.abs(pace) <= 1) & (jnp.abs(pace1) <= 1)

        byte = tape[rows, jnp.minimum(place, size - 1)]
        counts = jnp.where(does(byte, "+"), 1, jnp.where(does(byte, "-"), -1, 0))
        first, second = wrapped(state.head + ahead), wrapped(state.head1 + ahead1)
        to1 = does(byte, ".")
        write, writing = jnp.where(to1, second, first), jnp.where(to1, pace1, pace)
        read, reading = jnp.where(to1, first, second), jnp.where(to1, pace, pace1)
        look, looking = wrapped(state.head + pace), pace

        def meets(place: jax.Array, pace: jax.Array, lag: int) -> jax.Array:
            """The first iteration that comes to what has been written up to `lag` iterations before."""
            ahead = wrapped((place - write) * writing)
            chased = jnp.where(size - ahead < lag + (ahead == 0) * size, never, size - ahead)
            chased = jnp.where((ahead == 0) & (lag == 0), 0, jnp.where(ahead == 0, never, chased))
            facing = jnp.where(ahead < lag, ahead + size, ahead)
            facing = (facing + lag + 1) // 2
            moving = jnp.where(pace == writing, chased, jnp.where(pace == 0, ahead + lag, facing))
            passed = wrapped((write - place) * pace)
            passed = jnp.where(passed < lag, passed + size, passed)
            still = jnp.where(pace != 0, passed, jnp.where(place == write, lag, never))
            return jnp.where(writing != 0, moving, still)

        copies = (amount == 1) & (counts == 0)
        clash = jnp.where(copies, meets(read, reading, 1), never)
        # The first iteration that would overwrite the loop, from its opening bracket on.
        within = (write >= pc - 1) & (write <= end)
        reach = jnp.where(writing > 0, wrapped(pc - 1 - write), wrapped(write - end))
        reach = jnp.where(within, 0, jnp.where(writing == 0, never, reach))
        # The first that would look at what another has written. What it has just written itself is known.
        own = (amount == 1) & (write == look) & (writing == looking)
        unsure = jnp.where(own, never, meets(look, looking, 0))
        most = jnp.where(amount == 1, jnp.minimum(jnp.minimum(clash, reach), jnp.minimum(unsure, size)), never)

        # The first that finds a null.
        seen, seeing = jnp.where(own & copies, read, look), jnp.where(own & copies, reading, looking)
        shift = jnp.where(own, counts, 0)
        nulls = _packed(null(tape + shift.astype(jnp.uint8)[:, None]))
        ahead_of, behind = _next_bit(nulls, seen), _previous_bit(nulls, seen)
        ahead_of = jnp.where(ahead_of == size, _next_bit(nulls, jnp.zeros_like(pc)), ahead_of)
        behind = jnp.where(behind < 0, _previous_bit(nulls, jnp.full_like(pc, size - 1)), behind)
        stop = jnp.where(seeing > 0, ahead_of, behind)
        ends = jnp.where((stop < 0) | (stop == size), never, wrapped((stop - seen) * seeing))
        value = tape[rows, seen].astype(jnp.int32)
        ends = jnp.where(seeing == 0, jnp.where(null(value), 0, never), ends)
        counted = (-value * counts - 1) & dialect.mask
        ends = jnp.where(own & (counts != 0) & (seeing == 0), counted, ends)

        length = end - pc + 1
        most = jnp.minimum(most, jnp.maximum(engine.LIMIT - steps, 0) // length)
        out = regular & (ends < most)
        made = jnp.where(regular, jnp.minimum(most, ends + 1), 0)

        when = wrapped((places - write[:, None]) * writing[:, None])
        still = (writing == 0)[:, None]
        hit = jnp.where(still, (places == write[:, None]) & (made > 0)[:, None], when < made[:, None])
        hit &= (amount == 1)[:, None]
        when = jnp.where(still, made[:, None] - 1, when)
        source = wrapped(read[:, None] + reading[:, None] * when)
        copied = jnp.take_along_axis(tape, source, axis=1, mode="promise_in_bounds")
        count = (counts * jnp.where(writing == 0, made, 1)).astype(jnp.uint8)
        new = jnp.where(hit, jnp.where(copies[:, None], copied, tape + count[:, None]), tape)
        acts, brackets = masks(new)
        operations = state.operations + made * (number(state.acts, end) + 1)
        pc = jnp.where(out, end + 1, pc)
        return state._replace(
            tape=new,
            acts=acts,
            brackets=brackets,
            at=_find(acts, brackets, pc, state.depth),
            pc=pc,
            steps=steps + made * length,
            operations=operations,
            head=wrapped(state.head + made * pace),
            head1=wrapped(state.head1 + made * pace1),
            # After a long way the next landing counts as the first again, and may leap at once.
            jumps=jnp.where(made >= 8, 0, state.jumps),
            waits=jnp.zeros_like(pc),
            dirty=state.dirty | ((made > 0) & (amount == 1)),
        )

    leaps = None if dialect.jump else (lambda state: state.waits == 1, leap)
    return engine.Lanes(start, load, store, step, lambda state: state.pc, leaps)
