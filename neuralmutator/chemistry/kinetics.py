"""Mass action: how fast reactions run, and chambers between which molecules pass through membranes.

A reaction's flux is its rate constant times the concentrations of the molecules that meet in it, and concentrations
change by ``dx/dt = stoichiometry @ flux``.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.chemistry.reactions import Reactions, check_species


class Kinetics(NamedTuple):
    """Reactions as arrays.

    Reactions in which the same molecules meet share a product of concentrations. There are Q of these *complexes*, few
    beside the R reactions of a large network, and a program computes with them as long as it can. M is the largest
    number of molecules that meet. Concentrations are picked by products with 0 and 1: backwards, an index would be a
    scatter.
    """

    stoichiometry: jax.Array  # f32[S, R]
    complexes: jax.Array  # f32[R, Q] 1 where reaction r is one of complex q
    meets: jax.Array  # f32[M, Q, S] 1 where the m-th molecule of complex q is of species s
    absent: jax.Array  # f32[M, Q] 1 where a complex has no m-th molecule
    first: jax.Array  # f32[M, Q, S] as `meets`, but only for the first molecule of its species


def mass_action(reactions: Reactions) -> Kinetics:
    """The kinetics of reactions."""
    rows, numbers = np.unique(reactions.reactants, axis=0, return_inverse=True)
    complexes = np.eye(len(rows), dtype=np.float32)[numbers.ravel()]
    most = max(int(rows.sum(axis=1).max()), 1)
    meets = np.zeros((most, *rows.shape), np.float32)
    first = np.zeros_like(meets)
    for q, row in enumerate(rows):
        molecules = np.repeat(np.arange(len(row)), row)
        meets[np.arange(len(molecules)), q, molecules] = 1
        present = np.flatnonzero(row)
        first[np.searchsorted(molecules, present), q, present] = 1
    arrays = (reactions.stoichiometry.astype(np.float32), complexes, meets, 1 - meets.sum(axis=2), first)
    return Kinetics(*(jnp.asarray(x) for x in arrays))


def product(table: jax.Array, x: jax.Array) -> jax.Array:
    """``table @ x`` as a sum, which XLA fuses: with so few numbers it takes two thirds of the time of a dot."""
    return jnp.sum(table * x, axis=-1)


def concentration_products(kinetics: Kinetics, x: jax.Array) -> jax.Array:
    """The product of the concentrations that meet in each complex, f32[Q], at concentrations x f32[S]."""
    return reduce(jnp.multiply, product(kinetics.meets, x) + kinetics.absent)


def fluxes(kinetics: Kinetics, rates: jax.Array, x: jax.Array) -> jax.Array:
    """Events per time and volume of every reaction, f32[R], at concentrations x f32[S]."""
    return rates * (kinetics.complexes @ concentration_products(kinetics, x))


def field(kinetics: Kinetics, rates: jax.Array, x: jax.Array) -> jax.Array:
    """``dx/dt``, f32[S], at concentrations x f32[S]."""
    return kinetics.stoichiometry @ fluxes(kinetics, rates, x)


class Chambers(NamedTuple):
    """Chambers as one large network: a species in a chamber is a species of its own, a membrane is a reaction.

    So whatever holds for a well-mixed network, holds for chambers.
    """

    reactions: Reactions  # species "A@left", chamber by chamber; then a membrane's two directions, by edge and species
    rates: Callable[..., jax.Array]  # (rates [R] or [C, R], permeability [S] or [E, S]) -> those of the large network
    names: tuple[str, ...]  # C chambers

    def stack(self, x: jax.Array) -> jax.Array:
        """Concentrations [..., C S] of the large network as [..., C, S]."""
        return x.reshape(*x.shape[:-1], len(self.names), -1)


def chambers(reactions: Reactions, names: Iterable[str], edges: Sequence[tuple[str, str]]) -> Chambers:
    """The same reactions in several chambers of one volume, with membranes along edges.

    Through the membrane between two chambers, species i flows at ``permeability_i (x_i - x'_i)``.

    Args:
        reactions: what happens in every chamber.
        names: of the chambers.
        edges: pairs of chambers with a membrane between them.

    Raises:
        ValueError: if names are no names or not different, or an edge does not join two of them, or is given twice.
    """
    names = check_species(names)
    for edge in edges:
        if len(edge) != 2 or edge[0] == edge[1] or not set(edge) <= set(names):
            raise ValueError(f"edges must join two of the chambers {', '.join(names)}, got {edge!r}")
    if len({frozenset(edge) for edge in edges}) < len(edges):
        raise ValueError(f"edges must differ, got {list(edges)!r}")
    count, (size, width) = len(names), reactions.reactants.shape
    species = tuple(f"{s}@{name}" for name in names for s in reactions.species)
    inside = [np.kron(np.eye(count, dtype=np.int64), x) for x in (reactions.reactants, reactions.products)]
    ends = [(names.index(a), names.index(b)) for a, b in edges]
    one = np.eye(count * width, dtype=np.int64)
    here = [one[c * width + s] for a, b in ends for s in range(width) for c in (a, b)]
    there = [one[c * width + s] for a, b in ends for s in range(width) for c in (b, a)]
    large = Reactions(species, np.vstack([inside[0], *here]), np.vstack([inside[1], *there]))

    def rates_of(rates: jax.Array, permeability: jax.Array) -> jax.Array:
        in_all = jnp.broadcast_to(rates, (count, size)).ravel()
        through = jnp.broadcast_to(permeability, (len(ends), width)).ravel()
        return jnp.concatenate([in_all, jnp.repeat(through, 2)])

    return Chambers(large, rates_of, names)
