"""Soups of programs in which replicators arise by themselves."""

from neuralmutator.life.brackets import Dialect
from neuralmutator.life.detectors import (
    REPLICATES,
    TAKEOVER,
    Ancestor,
    Descent,
    Entropy,
    Frequent,
    Parasitism,
    ancestry,
    descent,
    high_order_entropy,
    most_frequent,
    parasitism,
    replicate,
    replication,
)
from neuralmutator.life.language import Language, Machine, bracket_language, language
from neuralmutator.life.languages import LANGUAGES, get_language
from neuralmutator.life.pairing import Pairing, Pairs, grid, mixed
from neuralmutator.life.soup import Programs, Soup, SoupInfo, Stream, cubff, keyed, plant, soup
from neuralmutator.life.text import assemble, disassemble

__all__ = [
    "LANGUAGES",
    "REPLICATES",
    "TAKEOVER",
    "Ancestor",
    "Descent",
    "Dialect",
    "Entropy",
    "Frequent",
    "Language",
    "Machine",
    "Pairing",
    "Pairs",
    "Parasitism",
    "Programs",
    "Soup",
    "SoupInfo",
    "Stream",
    "ancestry",
    "assemble",
    "bracket_language",
    "cubff",
    "descent",
    "disassemble",
    "get_language",
    "grid",
    "high_order_entropy",
    "keyed",
    "language",
    "mixed",
    "most_frequent",
    "parasitism",
    "plant",
    "replicate",
    "replication",
    "soup",
]
