"""SUBLEQ and its relative cousin: one instruction, subtract and branch if the result is not above zero.

In SUBLEQ no replicator has ever been seen to arise (Computational Life, section 3.3).
"""

import jax
import jax.numpy as jnp

from neuralmutator.life.language import Language, Machine, language


def _signed(byte: jax.Array) -> jax.Array:
    return byte.astype(jnp.int8).astype(jnp.int32)


def _ended(machine: Machine, pc: jax.Array, length: int) -> jax.Array:
    """The place of the next instruction; outside the tape where not all of its bytes are within."""
    size = machine.tape.shape[0]
    return jnp.where((pc < 0) | (pc + length > size), size, pc)


def subleq() -> Language:
    """``A B C``: subtract the byte at B from that at A; go to C if the result is not above zero as int8."""

    def step(machine: Machine, byte: jax.Array) -> Machine:
        tape, at, size = machine.tape, machine.pc - 1, machine.tape.shape[0]
        to, other = byte % size, tape[at + 1] % size
        tape = tape.at[to].add(-tape[other])
        pc = jnp.where(_signed(tape[to]) <= 0, tape[at + 2].astype(jnp.int32), at + 3)
        return machine._replace(tape=tape, pc=_ended(machine, pc, 3))

    return language("subleq", {"subleq": step}, ["subleq"] * 256, kernel=("subleq", ()))


def rsubleq4() -> Language:
    """``A B C D``: put the byte at B less that at C at A; move by D if the result is not above zero.

    All addresses count from the instruction; D is an int8.
    """

    def step(machine: Machine, byte: jax.Array) -> Machine:
        tape, at, size = machine.tape, machine.pc - 1, machine.tape.shape[0]
        to, first, second = ((at + tape[at + place].astype(jnp.int32)) % size for place in range(3))
        tape = tape.at[to].set(tape[first] - tape[second])
        pc = jnp.where(_signed(tape[to]) <= 0, at + _signed(tape[at + 3]), at + 4)
        return machine._replace(tape=tape, pc=_ended(machine, pc, 4))

    return language("rsubleq4", {"rsubleq4": step}, ["rsubleq4"] * 256, kernel=("rsubleq4", ()))
