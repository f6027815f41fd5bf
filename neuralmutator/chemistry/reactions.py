"""Reactions: written as text, listed, and printed back.

``"A + B -> 2 B"`` is one reaction, ``"A <-> B"`` are two, ``"B ->"`` takes B away and ``"-> A"`` lets it in.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from math import gcd, lcm
from typing import NamedTuple

import numpy as np

from neuralmutator.core import check

_NAME = r"[A-Za-z_][\w@.']*"
_MOLECULES = re.compile(rf"(?:(\d+)\s*)?({_NAME})")
_ARROW = re.compile(r"<->|->")


class Reactions(NamedTuple):
    """Species, and how many molecules of each every reaction takes and gives.

    Rate constants are not a part of them: they are a vector f32[R] in the order of the reactions.
    """

    species: tuple[str, ...]  # S names
    reactants: np.ndarray  # i64[R, S] molecules that meet
    products: np.ndarray  # i64[R, S] molecules that part

    @property
    def stoichiometry(self) -> np.ndarray:
        """What one event of each reaction changes, i64[S, R]."""
        return (self.products - self.reactants).T

    @property
    def texts(self) -> tuple[str, ...]:
        """The reactions as `network` reads them."""
        pairs = zip(self.reactants, self.products, strict=True)
        return tuple(f"{self._side(a)} -> {self._side(b)}".strip() for a, b in pairs)

    def _side(self, counts: np.ndarray) -> str:
        names = zip(counts, self.species, strict=True)
        return " + ".join(name if count == 1 else f"{count} {name}" for count, name in names if count)


def network(*texts: str, species: Iterable[str] | None = None) -> Reactions:
    """Reads reactions.

    Args:
        texts: one reaction each, such as ``"A + B -> 2 B"``; with ``<->`` two, the forward one first. A side may be
            empty (or ``0``).
        species: names in the order of the concentrations; by default in that of their first appearance.

    Raises:
        ValueError: if a text cannot be read, changes nothing, is written twice, or names an unknown species.
    """
    if not texts:
        raise ValueError("network must have at least one reaction, got none")
    sides: list[tuple[dict[str, int], dict[str, int], str]] = []
    for text in texts:
        left, arrow, right = _split(text)
        a, b = _molecules(left, text), _molecules(right, text)
        sides.append((a, b, text))
        if arrow == "<->":
            sides.append((b, a, text))
    if species is None:
        names = tuple(dict.fromkeys(name for a, b, _ in sides for name in (*a, *b)))
    else:
        names = check_species(species)
    for a, b, text in sides:
        if unknown := [name for name in (*a, *b) if name not in names]:
            raise ValueError(f"reaction {text!r} must have species of {', '.join(names)}, got {unknown[0]}")
    counts = [np.array([[side.get(name, 0) for name in names] for side in pair[:2]], np.int64) for pair in sides]
    seen = set()
    for (before, after), (_, _, text) in zip(counts, sides, strict=True):
        if (before == after).all():
            raise ValueError(f"reaction must change something, got {text!r}")
        if (key := (*before, -1, *after)) in seen:
            raise ValueError(f"reactions must differ, got {text!r} twice")
        seen.add(key)
    pairs = np.stack(counts)
    return Reactions(names, pairs[:, 0], pairs[:, 1])


def all_reactions(species: Iterable[str], order: int = 2, conserve: bool = False) -> Reactions:
    """All reactions between complexes of at most `order` molecules: the candidates of a training.

    With 3 species and order 2 there are 90, or 36 if the number of molecules is conserved.

    Args:
        species: names; a string is one letter each.
        order: molecules on one side at most.
        conserve: whether to leave out those with another number of molecules after than before.

    Raises:
        ValueError: if the names are no names or not different, or `order` is not a whole number of at least 1.
    """
    names = check_species(species)
    check.whole(1, order=order)
    complexes = [
        np.bincount(chosen, minlength=len(names)) if chosen else np.zeros(len(names), np.int64)
        for size in range(order + 1)
        for chosen in combinations_with_replacement(range(len(names)), size)
    ]
    pairs = [(a, b) for a in complexes for b in complexes if (a != b).any() and (a.sum() == b.sum() or not conserve)]
    if not pairs:
        raise ValueError(f"species must be at least 2 where molecules are conserved, got {', '.join(names)}")
    return Reactions(names, np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]))


def take(reactions: Reactions, chosen: Sequence[int] | np.ndarray) -> Reactions:
    """The reactions of these numbers, or where a mask bool[R] is true; all species stay."""
    chosen = np.asarray(chosen)
    return reactions._replace(reactants=reactions.reactants[chosen], products=reactions.products[chosen])


def find(reactions: Reactions, *texts: str) -> np.ndarray:
    """The numbers of reactions that are given as text, i64[n].

    Raises:
        ValueError: if one is not among them.
    """
    wanted = network(*texts, species=reactions.species)
    places = {text: number for number, text in enumerate(reactions.texts)}
    for text in wanted.texts:
        if text not in places:
            raise ValueError(f"reaction must be one of the network's {len(places)}, got {text!r}")
    return np.array([places[text] for text in wanted.texts])


def describe(reactions: Reactions, rates: Sequence[float] | np.ndarray, least: float = 0.0) -> str:
    """The reactions with their rate constants, a line each, the fastest first.

    Args:
        reactions: which.
        rates: f32[R].
        least: rates up to this are left out.
    """
    rates = check_rates(reactions, rates)
    texts = reactions.texts
    order = [int(r) for r in np.argsort(-rates, kind="stable") if rates[r] > least]
    width = max((len(texts[r]) for r in order), default=0)
    return "\n".join(f"{texts[r]:{width}}  {rates[r]:.4g}" for r in order)


def conservation_laws(reactions: Reactions) -> np.ndarray:
    """Sums of concentrations that no reaction changes, i64[L, S]: a basis of the stoichiometry's left null space.

    Exact, by elimination in fractions: row l says that ``laws[l] @ x`` is constant.
    """
    rows = [[Fraction(int(v)) for v in row] for row in reactions.stoichiometry.T]  # S^T law = 0
    size = len(reactions.species)
    pivots: list[int] = []
    for column in range(size):
        depth = len(pivots)
        pivot = next((r for r in range(depth, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[depth], rows[pivot] = rows[pivot], rows[depth]
        rows[depth] = [v / rows[depth][column] for v in rows[depth]]
        for r in range(len(rows)):
            if r != depth and rows[r][column]:
                rows[r] = [a - rows[r][column] * b for a, b in zip(rows[r], rows[depth], strict=True)]
        pivots.append(column)
    laws = []
    for free in (c for c in range(size) if c not in pivots):
        law = [Fraction(0)] * size
        law[free] = Fraction(1)
        for depth, column in enumerate(pivots):
            law[column] = -rows[depth][free]
        whole = [int(v * lcm(*(v.denominator for v in law))) for v in law]
        laws.append([v // gcd(*whole) for v in whole])
    return np.array(laws, np.int64).reshape(-1, size)


def check_species(species: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        ValueError: if there are none, two are the same, or one is no name.
    """
    names = tuple(species)
    if not names:
        raise ValueError("species must have at least one name, got none")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise ValueError(f"species must be names that begin with a letter, got {name!r}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"species must differ, got {twice[0]} twice")
    return names


def check_rates(reactions: Reactions, rates: Sequence[float] | np.ndarray) -> np.ndarray:
    """Known rate constants as f64[R].

    Raises:
        ValueError: if they are not one finite number of at least 0 for each reaction.
    """
    found = np.asarray(rates, np.float64)
    if found.shape != (len(reactions.reactants),):
        raise ValueError(f"rates must have shape ({len(reactions.reactants)},), one a reaction, got {found.shape}")
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if bad.size:
        raise ValueError(f"rates must be finite and at least 0, got {found[bad[0]]:g} for {reactions.texts[bad[0]]!r}")
    return found


def _split(text: str) -> tuple[str, str, str]:
    if not isinstance(text, str) or len(_ARROW.findall(text)) != 1:
        raise ValueError(f"reaction must have one arrow, -> or <->, got {text!r}")
    arrow = _ARROW.findall(text)[0]
    left, right = text.split(arrow)
    return left.strip(), arrow, right.strip()


def _molecules(side: str, text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    if side in ("", "0"):
        return counts
    for part in side.split("+"):
        match = _MOLECULES.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"reaction {text!r} must be made of names and whole numbers, got {part.strip()!r}")
        number = int(match[1] or 1)
        if number < 1:
            raise ValueError(f"reaction {text!r} must have at least one molecule of what it names, got {number}")
        counts[match[2]] = counts.get(match[2], 0) + number
    return counts
