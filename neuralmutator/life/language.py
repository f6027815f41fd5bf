"""Languages of programs: what the bytes of a tape do.

A language is a table: the name of an operation for each of 256 bytes, and a pure function for each operation. The
languages of the BFF family have a faster engine of their own (`brackets`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.life import brackets, engine
from neuralmutator.life.brackets import OPERATIONS, Dialect
from neuralmutator.life.leaps import leap


class Language(NamedTuple):
    """A language, ready to run."""

    name: str
    symbols: tuple[str, ...]  # what each of 256 bytes is written as; "": it does nothing
    lanes: engine.Lanes
    idle: int = 0  # a byte that does nothing, if there is one
    kernel: tuple | None = None  # (kind, constants) of the compiled kernel in `native`; None: it has none


class Machine(NamedTuple):
    """One program that runs."""

    tape: jax.Array  # u8[T]
    pc: jax.Array  # i32[] place of the byte that comes next; outside the tape: halted
    registers: jax.Array  # i32[R] the language's own


Operation = Callable[[Machine, jax.Array], Machine]
"""``(machine, byte i32[]) -> machine``; `pc` is already behind the byte."""


class _Lanes(NamedTuple):
    machine: Machine
    steps: jax.Array
    operations: jax.Array


def language(
    name: str,
    operations: Mapping[str, Operation],
    table: Sequence[str | None],
    registers: int = 0,
    symbols: Sequence[str] | None = None,
    kernel: tuple | None = None,
) -> Language:
    """A language of one's own.

    A program starts at the first byte with all registers at 0. It ends where `pc` leaves the tape, or after
    `engine.LIMIT` steps.

    Args:
        name: of the language.
        operations: pure functions by name.
        table: the operation of each of 256 bytes; None: the byte does nothing.
        registers: numbers that a machine has beside its tape and `pc`.
        symbols: a text for each byte, all of one length; two hexadecimal digits by default.
        kernel: see `Language`.

    Raises:
        ValueError: if the table has not 256 entries or names an unknown operation, or `symbols` are not 256 texts of
            one length.
    """
    if len(table) != 256:
        raise ValueError(f"table of language {name!r} must name an operation for each of 256 bytes, got {len(table)}")
    names = list(operations)
    for byte, operation in enumerate(table):
        if operation is not None and operation not in operations:
            known = f"known operations ({', '.join(names)}) or None"
            raise ValueError(f"table of language {name!r} must name {known}, got {operation!r} for byte {byte}")
    symbols = [f"{byte:02X}" for byte in range(256)] if symbols is None else symbols
    if len(symbols) != 256 or len({len(symbol) for symbol in symbols if symbol}) > 1:
        raise ValueError(f"symbols of language {name!r} must be 256 texts of one length, got {len(symbols)}: {symbols}")
    numbers = jnp.asarray([0 if operation is None else 1 + names.index(operation) for operation in table])
    branches = [lambda machine, byte: machine, *operations.values()]

    def start(tapes: jax.Array) -> jax.Array:
        return jnp.zeros((tapes.shape[0], 3 + registers), jnp.int32)

    def load(tapes: jax.Array, values: jax.Array) -> _Lanes:
        machine = Machine(tapes, values[:, engine.PC], values[:, 3:])
        return _Lanes(machine, values[:, engine.STEPS], values[:, engine.OPERATIONS])

    def store(state: _Lanes) -> tuple[jax.Array, jax.Array]:
        machine = state.machine
        head = jnp.stack([machine.pc, state.steps, state.operations], axis=1)
        return machine.tape, jnp.concatenate([head, machine.registers], axis=1)

    def advance(state: _Lanes) -> _Lanes:
        machine, steps, done = state
        size = machine.tape.shape[0]
        live = (machine.pc >= 0) & (machine.pc < size)
        byte = machine.tape[jnp.clip(machine.pc, 0, size - 1)].astype(jnp.int32)
        number = numbers[byte]
        after = jax.lax.switch(number, branches, machine._replace(pc=machine.pc + 1), byte)
        steps = steps + 1
        after = after._replace(pc=jnp.where(steps >= engine.LIMIT, size, after.pc))
        new = _Lanes(after, steps, done + (number > 0))
        return jax.tree.map(lambda new, old: jnp.where(live, new, old), new, state)

    machines = engine.Lanes(start, load, store, jax.vmap(advance), lambda state: state.machine.pc)
    return Language(name, tuple(symbols), machines, list(table).index(None) if None in table else 0, kernel)


def bracket_language(name: str, dialect: Dialect) -> Language:
    """A language of the BFF family.

    Raises:
        ValueError: if the dialect's table is not one: unknown operations, or two of them with one code.
    """
    codes, mask = dict(dialect.codes), dialect.mask
    if not set(codes) <= set(OPERATIONS):
        raise ValueError(f"codes of language {name!r} must be for operations of {OPERATIONS}, got {''.join(codes)}")
    if len(set(codes.values())) < len(codes) or any(code & mask != code for code in codes.values()):
        raise ValueError(f"codes of language {name!r} must be different bytes within the mask {mask}, got {codes}")
    written = {code: symbol for symbol, code in codes.items()}
    symbols = [written.get(byte & mask, "0" if byte & mask == 0 else "") for byte in range(256)]
    numbers = tuple(codes.get(operation, -1) for operation in OPERATIONS)
    kernel = ("brackets", (*numbers, mask, int(dialect.heads), dialect.jump))
    machines = engine.Lanes(
        partial(brackets.start, dialect),
        partial(brackets.load, dialect),
        brackets.store,
        partial(brackets.step, dialect),
        lambda state: state.pc,
        # Brackets that jump a fixed way make no loops with a body.
        None if dialect.jump else (lambda state: state.waits == 1, partial(leap, dialect)),
    )
    return Language(name, tuple(symbols), machines, symbols.index("") if "" in symbols else 0, kernel)
