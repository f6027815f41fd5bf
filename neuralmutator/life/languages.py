"""The languages that come with the library, by name."""

from collections.abc import Callable, Mapping

from neuralmutator.core import check
from neuralmutator.life.brackets import OPERATIONS, Dialect
from neuralmutator.life.forth import forth, forthtrivial
from neuralmutator.life.language import Language, bracket_language
from neuralmutator.life.subtraction import rsubleq4, subleq

_ASCII = {operation: ord(operation) for operation in OPERATIONS if operation != ";"}


def bff() -> Language:
    """The first two bytes place the heads, and the third is the first instruction."""
    return bracket_language("bff", Dialect(_ASCII, 255, heads=True))


def bff_noheads() -> Language:
    """Both heads start at 0: the language of the paper's experiments."""
    return bracket_language("bff_noheads", Dialect(_ASCII, 255, heads=False))


def bff_perm() -> Language:
    """`bff` with the operations at bytes 1 to 10."""
    return bracket_language("bff_perm", Dialect(dict(zip("<>{}+-.,[]", range(1, 11), strict=True)), 255, heads=True))


def bff_noheads_4bit() -> Language:
    """Only the low four bits of a byte count: ten of sixteen values act, so that replicators arise within minutes."""
    return bracket_language("bff_noheads_4bit", Dialect(dict(zip("[]+-.,<>{}", range(6, 16), strict=True)), 15, False))


def bff8() -> Language:
    """Brackets jump by eight bytes."""
    return bracket_language("bff8", Dialect(_ASCII, 255, heads=True, jump=8))


def bff8_noheads() -> Language:
    """Brackets jump by eight bytes, and both heads start at 0."""
    return bracket_language("bff8_noheads", Dialect(_ASCII, 255, heads=False, jump=8))


def bff_selfmove() -> Language:
    """Copies only to the first head, and the second moves on by itself (arXiv 2607.01483)."""
    return bracket_language("bff_selfmove", Dialect(dict(zip("><+-;[]", range(7), strict=True)), 255, heads=True))


LANGUAGES: Mapping[str, Callable[[], Language]] = {
    make.__name__: make
    for make in (
        *(bff, bff_noheads, bff_perm, bff_noheads_4bit, bff8, bff8_noheads, bff_selfmove),
        *(subleq, rsubleq4, forth, forthtrivial),
    )
}
"""Makers of languages by name."""


def get_language(name: str | Language) -> Language:
    """A language by its name; one that is a language already stays as it is.

    Raises:
        ValueError: if there is none of this name.
    """
    if isinstance(name, Language):
        return name
    check.one_of(list(LANGUAGES), language=name)
    return LANGUAGES[name]()
