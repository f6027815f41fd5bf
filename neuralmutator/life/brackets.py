"""BFF and its dialects: two heads on a tape that is program and data at once, with loops in brackets.

Thousands of tapes step together, and three things make a step worth more than one instruction, without changing a bit
of the outcome:

- bytes that do nothing are jumped over, by masks of the bytes that do something;
- a loop that has come back to a state that it was in is not run to the limit (Brent's cycle detection);
- many iterations of a loop that only copies, counts or looks for a null are one move (`leaps`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.life import engine, masks

OPERATIONS = "[]+-.,<>{};"
"""What bytes can do.

- ``<`` ``>`` move the first head, ``{`` ``}`` the second;
- ``+`` ``-`` count at the first head;
- ``.`` copies from the first head to the second, ``,`` from the second to the first, and ``;`` too, with a step of the
  second behind it;
- ``[`` goes behind its closing bracket where the first head stands on a null, ``]`` goes back where it does not.
"""

WRITES = "+-.,;"
"""Operations that may change the tape, once each."""


class Dialect(NamedTuple):
    """A language of the family."""

    codes: Mapping[str, int]  # what each operation is written as
    mask: int  # which bits of a byte count
    heads: bool  # whether the first two bytes place the heads, and the third is the first instruction
    jump: int = 0  # how far brackets jump; 0: to the matching one

    def does(self, byte: jax.Array, operations: str) -> jax.Array:
        """Whether bytes stand for one of some operations, bool of their shape."""
        byte, found = byte & self.mask, jnp.zeros(byte.shape, bool)
        for operation in operations:
            if operation in self.codes:
                found |= byte == self.codes[operation]
        return found

    def null(self, byte: jax.Array) -> jax.Array:
        """Whether bytes end a loop, bool of their shape."""
        return byte & self.mask == 0


TRIES = 0b1001001001
"""After how many jumps back of a program a leap is tried: 1, 8, 64 and 512."""


class State(NamedTuple):
    """Machines in lanes: B of them, on tapes of T bytes, a power of two, with masks of W words."""

    tape: jax.Array  # u8[B, T]
    acts: jax.Array  # u32[W, B] which bytes do something
    brackets: jax.Array  # u32[W, B]
    at: jax.Array  # i32[B] the byte to look at next. Carried, or XLA would compute it anew for all who read it
    # All others are registers i32[B].
    pc: jax.Array
    steps: jax.Array
    operations: jax.Array
    head: jax.Array
    head1: jax.Array
    depth: jax.Array  # 0: runs; above: looks ahead for a closing bracket; below: back for an opening one
    jumps: jax.Array  # jumps back so far
    waits: jax.Array  # 1: at the start of a loop that may leap, and waits for it
    seen: jax.Array  # pc and heads at the last snapshot, -1 before the first
    seen_steps: jax.Array
    seen_operations: jax.Array
    dirty: jax.Array  # 1: the tape has changed since the snapshot


_REGISTERS = State._fields[State._fields.index("pc") :]


def start(dialect: Dialect, tape: jax.Array) -> jax.Array:
    """Registers i32[B, R] of machines that begin on tapes u8[B, T]."""
    size = tape.shape[1]
    zero = jnp.zeros(tape.shape[0], jnp.int32)
    first = dict.fromkeys(_REGISTERS, zero)
    first["seen"] = zero - 1
    if dialect.heads:
        first["pc"] = zero + 2
        first["head"], first["head1"] = (tape[:, place].astype(jnp.int32) & (size - 1) for place in (0, 1))
    return jnp.stack([first[name] for name in _REGISTERS], axis=1)


def load(dialect: Dialect, tape: jax.Array, registers: jax.Array) -> State:
    """Machines on tapes u8[B, T] with registers i32[B, R]."""
    named = {name: registers[:, number] for number, name in enumerate(_REGISTERS)}
    nothing = jnp.zeros((0, len(tape)), jnp.uint32)
    return looking(dialect, State(tape, nothing, nothing, named["pc"], **named))


def store(state: State) -> tuple[jax.Array, jax.Array]:
    """Tapes u8[B, T] and registers i32[B, R]."""
    return state.tape, jnp.stack([getattr(state, name) for name in _REGISTERS], axis=1)


def looking(dialect: Dialect, state: State) -> State:
    """The state with everything that follows from the tape, `pc` and `depth`."""
    acts, brackets = (masks.packed(dialect.does(state.tape, some)) for some in (OPERATIONS, "[]"))
    return state._replace(acts=acts, brackets=brackets, at=_find(acts, brackets, state.pc, state.depth))


def _find(acts: jax.Array, brackets: jax.Array, pc: jax.Array, depth: jax.Array) -> jax.Array:
    """The next byte that does something; for who looks for a bracket, the next bracket in his direction."""
    ahead = masks.next_bit(jnp.where((depth == 0)[None], acts, brackets), pc)
    return jnp.where(depth < 0, masks.previous_bit(brackets, pc), ahead)


def step(dialect: Dialect, state: State) -> State:
    """Every machine that runs goes to its next byte that does something, and does it, or looks for a bracket there."""
    does, rows, size = dialect.does, jnp.arange(state.tape.shape[0]), state.tape.shape[1]
    live = (state.pc >= 0) & (state.pc < size) & (state.waits == 0)
    backwards, runs, at = state.depth < 0, state.depth == 0, state.at
    found = (at >= 0) & (at < size)
    steps = state.steps + jnp.where(live & runs, jnp.minimum(at, size) - state.pc, 0)
    acts = live & found & ~(runs & (steps >= engine.LIMIT))
    byte = state.tape[rows, jnp.clip(at, 0, size - 1)]
    value = state.tape[rows, state.head]
    runs &= acts
    steps = jnp.where(runs, steps + 1, steps)

    step0 = does(byte, ">").astype(jnp.int32) - does(byte, "<")
    step1 = does(byte, "};").astype(jnp.int32) - does(byte, "{")
    written = _written(dialect, state, byte, value, runs)
    written = written._replace(
        steps=steps,
        operations=jnp.where(runs, state.operations + 1, state.operations),
        head=jnp.where(runs, (state.head + step0) & (size - 1), state.head),
        head1=jnp.where(runs, (state.head1 + step1) & (size - 1), state.head1),
    )

    opens, closes = does(byte, "["), does(byte, "]")
    leaves, again = runs & opens & dialect.null(value), runs & closes & ~dialect.null(value)
    if dialect.jump:
        depth = state.depth
        landed = again & (at + 1 >= dialect.jump)  # else it leaves the tape
        pc = at + 1 + jnp.where(leaves, dialect.jump, 0) - jnp.where(again, dialect.jump, 0)
        pc = jnp.where(live, jnp.where(acts, pc, size), state.pc)
    else:
        nesting = opens.astype(jnp.int32) - closes
        depth = jnp.where(acts & ~runs, state.depth + nesting, state.depth)
        depth = jnp.where(leaves, 1, jnp.where(again, -1, depth))
        landed = acts & backwards & (depth == 0)
        pc = jnp.where((backwards | again) & ~landed, at - 1, at + 1)
        pc = jnp.where(live, jnp.where(acts, pc, size), state.pc)
        pc = jnp.where(live & backwards & ~found, -1, pc)
    moved = written._replace(pc=pc, depth=depth, at=_find(written.acts, written.brackets, pc, depth))
    return _landed(moved, landed, leaps=not dialect.jump)


def _written(dialect: Dialect, state: State, byte: jax.Array, value: jax.Array, runs: jax.Array) -> State:
    """The state after what the bytes u8[B] write, in the lanes that run; `value` u8[B] stands at the first head."""
    does, rows, size = dialect.does, jnp.arange(state.tape.shape[0]), state.tape.shape[1]
    value1 = state.tape[rows, state.head1]
    to1, to0 = does(byte, "."), does(byte, ",;")
    where = jnp.where(to1, state.head1, state.head)
    old = jnp.where(to1, value1, value)
    counted = jnp.where(does(byte, "+"), value + 1, value - 1)
    new = jnp.where(to1, value, jnp.where(to0, value1, counted))
    changes = runs & does(byte, WRITES) & (new != old)
    hit = (jnp.arange(size, dtype=jnp.uint8) == where[:, None].astype(jnp.uint8)) & changes[:, None]
    return state._replace(
        tape=jnp.where(hit, new[:, None], state.tape),
        acts=masks.marked(state.acts, where, does(new, OPERATIONS), changes),
        brackets=masks.marked(state.brackets, where, does(new, "[]"), changes),
        dirty=state.dirty | changes,
    )


def _landed(state: State, landed: jax.Array, leaps: bool) -> State:
    """The state after jumps back, bool[B]: only they can close a cycle, whose laps are then taken at once."""
    size = state.tape.shape[1]
    here = (state.pc * size + state.head) * size + state.head1
    jumps = state.jumps + landed
    same = landed & (state.dirty == 0) & (here == state.seen)
    period = jnp.maximum(state.steps - state.seen_steps, 1)
    # Exact: a quotient of whole numbers below 2^23 in float32, which XLA computes far faster than of integers.
    laps = jnp.where(same, (engine.LIMIT - state.steps).astype(jnp.float32) / period.astype(jnp.float32), 0)
    laps = laps.astype(jnp.int32)
    steps = state.steps + laps * period
    operations = state.operations + laps * (state.operations - state.seen_operations)
    snapshot = landed & ((jumps & (jumps - 1)) == 0)
    return state._replace(
        steps=steps,
        operations=operations,
        jumps=jumps,
        waits=jnp.where(snapshot & (jumps & TRIES != 0), 1, state.waits) if leaps else state.waits,
        seen=jnp.where(snapshot, here, state.seen),
        seen_steps=jnp.where(snapshot, steps, state.seen_steps),
        seen_operations=jnp.where(snapshot, operations, state.seen_operations),
        dirty=jnp.where(snapshot, 0, state.dirty),
    )
