"""A small Forth: a stack of bytes, and words that read and write the two halves of the tape."""

import jax
import jax.numpy as jnp

from neuralmutator.life.language import Language, Machine, Operation, language

STACK = 128
"""Bytes on the stack; one more halts the program. What is taken from an empty stack is 0."""

WORDS = ("read0", "read1", "write0", "write1", "dup", "drop", "swap", "if0", "inc", "dec", "add", "sub")
"""The words of bytes 0 to 11."""

COPIES = ("copy0", "copy1")
"""The words of bytes 12 and 13 in the trivial Forth: with them, one byte beside its address is a replicator."""


def _pop(machine: Machine) -> tuple[Machine, jax.Array]:
    stack, depth = machine.registers[1:], machine.registers[0]
    value = jnp.where(depth > 0, stack[jnp.maximum(depth - 1, 0)], 0)
    return machine._replace(registers=machine.registers.at[0].set(jnp.maximum(depth - 1, 0))), value


def _push(machine: Machine, value: jax.Array) -> Machine:
    depth = machine.registers[0]
    fits = depth < STACK
    registers = machine.registers.at[jnp.where(fits, depth + 1, STACK + 1)].set(value & 255, mode="drop")
    registers = registers.at[0].set(jnp.minimum(depth + 1, STACK))
    return machine._replace(registers=registers, pc=jnp.where(fits, machine.pc, machine.tape.shape[0]))


def _half(machine: Machine) -> int:
    return machine.tape.shape[0] // 2


def _read(side: int) -> Operation:
    def operation(machine: Machine, byte: jax.Array) -> Machine:
        machine, address = _pop(machine)
        place = side * _half(machine) + address % _half(machine)
        return _push(machine, machine.tape[place].astype(jnp.int32))

    return operation


def _write(side: int) -> Operation:
    def operation(machine: Machine, byte: jax.Array) -> Machine:
        machine, value = _pop(machine)
        machine, address = _pop(machine)
        place = side * _half(machine) + address % _half(machine)
        return machine._replace(tape=machine.tape.at[place].set(value.astype(jnp.uint8)))

    return operation


def _copy(side: int) -> Operation:
    def operation(machine: Machine, byte: jax.Array) -> Machine:
        machine, address = _pop(machine)
        half = _half(machine)
        place = address % half
        value = machine.tape[side * half + place]
        return machine._replace(tape=machine.tape.at[(1 - side) * half + place].set(value))

    return operation


def _dup(machine: Machine, byte: jax.Array) -> Machine:
    machine, value = _pop(machine)
    return _push(_push(machine, value), value)


def _swap(machine: Machine, byte: jax.Array) -> Machine:
    machine, first = _pop(machine)
    machine, second = _pop(machine)
    return _push(_push(machine, first), second)


def _if0(machine: Machine, byte: jax.Array) -> Machine:
    machine, value = _pop(machine)
    return _push(machine._replace(pc=machine.pc + (value != 0)), value)


def _counted(amount: int) -> Operation:
    def operation(machine: Machine, byte: jax.Array) -> Machine:
        machine, value = _pop(machine)
        return _push(machine, value + amount)

    return operation


def _summed(sign: int) -> Operation:
    def operation(machine: Machine, byte: jax.Array) -> Machine:
        machine, first = _pop(machine)
        machine, second = _pop(machine)
        return _push(machine, first + sign * second)

    return operation


def _literal(machine: Machine, byte: jax.Array) -> Machine:
    return _push(machine, byte & 63)


def _jump(machine: Machine, byte: jax.Array) -> Machine:
    far = (byte & 63) + 1
    return machine._replace(pc=machine.pc - 1 + jnp.where(byte & 64, -far, far))


def _forth(name: str, words: tuple[str, ...]) -> Language:
    operations: dict[str, Operation] = {
        "read0": _read(0),
        "read1": _read(1),
        "write0": _write(0),
        "write1": _write(1),
        "copy0": _copy(0),
        "copy1": _copy(1),
        "dup": _dup,
        "drop": lambda machine, byte: _pop(machine)[0],
        "swap": _swap,
        "if0": _if0,
        "inc": _counted(1),
        "dec": _counted(-1),
        "add": _summed(1),
        "sub": _summed(-1),
        "literal": _literal,
        "jump": _jump,
    }
    table = [*words, *[None] * (64 - len(words)), *["literal"] * 64, *["jump"] * 128]
    return language(name, operations, table, registers=1 + STACK, kernel=("forth", (len(words),)))


def forth() -> Language:
    """The Forth of the paper: words at 0 to 11, literals at 64 to 127, jumps forwards and back above."""
    return _forth("forth", WORDS)


def forthtrivial() -> Language:
    """The same with two words that copy a byte to the other half of the tape."""
    return _forth("forthtrivial", WORDS + COPIES)
