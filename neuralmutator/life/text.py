"""Programs as text, and back.

Bytes that act are written as their language's symbols. A byte that does nothing is a middle dot where people read it.
Where nothing may be lost, it is the character 256 places further up in Unicode, as in the reference program.
"""

import numpy as np

from neuralmutator.life.language import Language

NOTHING = "·"
"""What stands for a byte that does nothing."""


def disassemble(language: Language, program: np.ndarray | bytes, exact: bool = False) -> str:
    """A program as text.

    Args:
        language: of the program.
        program: u8[L].
        exact: whether bytes that do nothing, and further bytes of one symbol, are told apart; `assemble` then gives the
            same bytes back.
    """
    first = _first(language)

    def written(byte: int) -> str:
        symbol = language.symbols[byte]
        if exact and (not symbol or first[symbol] != byte):
            return chr(256 + byte)
        return symbol or NOTHING

    return "".join(written(byte) for byte in bytes(np.asarray(bytearray(program), np.uint8)))


def assemble(language: Language, text: str, length: int = 64) -> np.ndarray:
    """The program u8[length] of a text; what the text leaves open does nothing.

    Args:
        language: of the program.
        text: symbols of the language, middle dots or blanks for bytes that do nothing, or characters from 256 to 511
            for any byte; two hexadecimal digits a byte where these are the language's symbols.
        length: bytes of a program.

    Raises:
        ValueError: if a character is none of these, or the text is longer than a program.
    """
    first = _first(language)
    width = max(len(symbol) for symbol in first)
    found, place = [], 0
    while place < len(text):
        character, symbol = text[place], text[place : place + width].upper() if width > 1 else text[place]
        if symbol in first:
            found.append(first[symbol])
            place += width
        elif 256 <= ord(character) < 512 and character != NOTHING:
            found.append(ord(character) - 256)
            place += 1
        elif character in (NOTHING, " "):
            found.append(language.idle)
            place += 1
        else:
            symbols = " ".join(first) if width == 1 else "hexadecimal digits in pairs"
            raise ValueError(
                f"text holds {character!r} at place {place}, which is no symbol of {language.name}: {symbols}"
            )
    if len(found) > length:
        raise ValueError(f"text must be at most {length} bytes long, got {len(found)}")
    return np.array(found + [language.idle] * (length - len(found)), np.uint8)


def _first(language: Language) -> dict[str, int]:
    """The first byte of every symbol."""
    first: dict[str, int] = {}
    for byte, symbol in enumerate(language.symbols):
        if symbol:
            first.setdefault(symbol, byte)
    return first
