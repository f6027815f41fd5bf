import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator import life

LANGUAGES = {name: life.get_language(name) for name in life.LANGUAGES}


@given(st.sampled_from(sorted(LANGUAGES)), st.binary(min_size=1, max_size=64))
def test_exact_text_gives_the_bytes_back(name, program):
    language = LANGUAGES[name]
    text = life.disassemble(language, program, exact=True)
    assert life.assemble(language, text, len(program)).tobytes() == program


def test_people_read_symbols_and_dots():
    bff, four = LANGUAGES["bff"], LANGUAGES["bff_noheads_4bit"]
    assert life.disassemble(bff, b"\x00@[].>}[.>}]") == "0·[].>}[.>}]"
    # In the language of four bits the high ones do not count.
    assert life.disassemble(four, bytes([0, 16, 6, 22, 15, 255, 1, 241])) == "00[[}}··"
    assert life.disassemble(LANGUAGES["forth"], b"\x00\x41\xff") == "0041FF"


def test_what_is_left_open_does_nothing():
    program = life.assemble(LANGUAGES["bff"], "[ ·]")
    assert program.shape == (64,)
    assert life.disassemble(LANGUAGES["bff"], program) == "[··]" + 60 * "·"
    # Bytes 12 to 63 do nothing in Forth.
    np.testing.assert_array_equal(life.assemble(LANGUAGES["forth"], "0c 41", 3), [12, 12, 0x41])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bff", "[.x]", r"text holds 'x' at place 2, which is no symbol of bff: 0 \+ , - \. < > \[ \] { }"),
        ("forth", "0c4", "text holds '4' at place 2, which is no symbol of forth: hexadecimal digits in pairs"),
        ("bff", "+" * 65, "text must be at most 64 bytes long, got 65"),
    ],
)
def test_bad_text_is_refused_in_one_line(name, text, message):
    with pytest.raises(ValueError, match=message):
        life.assemble(LANGUAGES[name], text)
