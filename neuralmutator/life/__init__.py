"""Soups of programs in which replicators arise by themselves."""

from neuralmutator.life.brackets import Dialect
from neuralmutator.life.language import Language, Machine, bracket_language, language
from neuralmutator.life.languages import LANGUAGES, get_language
from neuralmutator.life.pairing import Pairing, grid, mixed
from neuralmutator.life.soup import Programs, Soup, SoupInfo, cubff, keyed, soup

__all__ = [
    "LANGUAGES",
    "Dialect",
    "Language",
    "Machine",
    "Pairing",
    "Programs",
    "Soup",
    "SoupInfo",
    "bracket_language",
    "cubff",
    "get_language",
    "grid",
    "keyed",
    "language",
    "mixed",
    "soup",
]
