import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import life
from neuralmutator.life import engine


@pytest.mark.parametrize("name", ["subleq", "rsubleq4", "forth", "forthtrivial"])
@pytest.mark.parametrize("number", [256, pytest.param(10_000, marks=pytest.mark.slow)])
def test_tapes_end_as_in_plain_python(plain, name, number):
    random = np.random.default_rng(2)
    tapes = random.integers(0, 256, (number, 128), dtype=np.uint8)
    # Small numbers are words of Forth and near addresses; jumps back make loops.
    tapes[::2] = np.where(random.random(tapes[::2].shape) < 0.1, tapes[::2], tapes[::2] % 80)
    machines = life.get_language(name).lanes
    after, operations = jax.jit(lambda tapes: engine.run(machines, tapes))(tapes)
    for tape, found, done in zip(tapes, np.asarray(after), np.asarray(operations), strict=True):
        expected = plain.run(name, tape.tobytes())
        assert bytes(expected.tape) == found.tobytes()
        assert expected.operations == done


def test_a_full_stack_halts():
    # A zero, then rounds of dup, if0 and a jump back to dup; the 128th dup finds no room.
    tape = np.full((1, 128), 0x3F, np.uint8)
    tape[0, :4] = (0x40, 0x04, 0x07, 0xC1)
    forth = life.get_language("forth")
    after, operations = jax.jit(lambda tapes: engine.run(forth.lanes, tapes))(tape)
    np.testing.assert_array_equal(after, tape)
    assert int(operations[0]) == 1 + 127 * 3 + 1


def incrementer() -> life.Language:
    """Byte 1 counts up the byte that a register names, and moves the register on; byte 2 goes back to the start."""

    def count(machine: life.Machine, byte: jax.Array) -> life.Machine:
        place = machine.registers[0]
        return machine._replace(tape=machine.tape.at[place].add(1), registers=machine.registers + 1)

    def back(machine: life.Machine, byte: jax.Array) -> life.Machine:
        return machine._replace(pc=jnp.int32(0))

    return life.language("incrementer", {"count": count, "back": back}, [None, "count", "back", *[None] * 253], 1)


def test_a_language_of_ones_own_lives_in_a_soup():
    own = incrementer()
    tape = np.zeros((2, 32), np.uint8)
    tape[0, :4] = (1, 0, 1, 1)
    tape[1, :4] = (1, 0, 0, 2)
    after, operations = engine.run(own.lanes, jnp.asarray(tape))
    # Three counts, of the first, second and third byte; then nothing to the end.
    np.testing.assert_array_equal(after[0, :5], [2, 1, 2, 1, 0])
    assert int(operations[0]) == 3
    # One count, two bytes of nothing, and back: the first byte is 2 by now, and goes back for ever.
    np.testing.assert_array_equal(after[1, :5], [2, 0, 0, 2, 0])
    assert int(operations[1]) == engine.LIMIT - 2
    soup = life.soup(own, 64, length=16)
    state, info = jax.jit(soup.step)(jax.random.key(1), soup.init(jax.random.key(0)))
    assert state.bytes.shape == (64, 16)
    assert int(info.pairs) == 32


def test_a_table_must_be_total_and_known():
    with pytest.raises(ValueError, match="table of language 'x' must name an operation for each of 256 bytes, got 3"):
        life.language("x", {}, [None] * 3)
    with pytest.raises(
        ValueError, match=r"table of language 'x' must name known operations \(a\) or None, got 'b' for byte 7"
    ):
        life.language("x", {"a": lambda machine, byte: machine}, [None] * 7 + ["b"] + [None] * 248)
    with pytest.raises(ValueError, match="symbols of language 'x' must be 256 texts of one length"):
        life.language("x", {}, [None] * 256, symbols=["a", "bc"] * 128)
    with pytest.raises(ValueError, match="codes of language 'x' must be different bytes within the mask 15"):
        life.bracket_language("x", life.Dialect({"+": 16}, 15, False))
    with pytest.raises(ValueError, match=r"codes of language 'x' must be for operations of \[\]\+-\.,<>{};, got \*"):
        life.bracket_language("x", life.Dialect({"*": 1}, 255, False))
    with pytest.raises(ValueError, match=r"language must be one of bff, .*, got 'brainfuck'"):
        life.get_language("brainfuck")
