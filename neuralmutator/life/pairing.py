"""Who meets whom in an epoch: anybody with anybody, or neighbours on a grid.

Both are sequential procedures over the whole soup, computed here in a few dozen parallel rounds with the same result.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.life.hashing import U64, add, modulo, multiply, seeded, splitmix, u64, xor


class Pairs(NamedTuple):
    """The order of programs in an epoch: those at places 2k and 2k + 1 are pair k, on the left and on the right."""

    order: jax.Array  # i32[n] a permutation
    met: jax.Array  # i32[] how many pairs there are; the programs behind them meet nobody


class Pairing(NamedTuple):
    """A way of pairing."""

    pair: Callable[[U64, jax.Array, int], Pairs]  # (seed, epoch i32[], programs) -> pairs
    programs: int | None  # how many programs it takes; None: any even number


def fisher_yates(partners: jax.Array) -> jax.Array:
    """What swapping the entries i and partners[i] of 0 … n - 1 gives, for i from n - 1 down to 0.

    Entry i gets what stands in cell partners[i] when its turn comes: what the last to use that cell before has left
    there, which is what he had himself at his turn, and so on back. All these chains are followed at once.

    Args:
        partners: i32[n], 0 <= partners[i] <= i.

    Returns:
        The permutation i32[n].
    """
    n = partners.shape[0]
    places = jnp.arange(n, dtype=jnp.int32)

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        waiting, before, user = state
        turn = jnp.full(n, -1, jnp.int32).at[partners].max(jnp.where(waiting, places, -1))
        go = waiting & (turn[partners] == places)
        before = jnp.where(go, user[partners], before)
        return waiting & ~go, before, jnp.where(turn < 0, user, turn)

    none = jnp.full(n, -1, jnp.int32)
    state = (jnp.ones(n, bool), none, none)
    # before: who has used the same cell last before; user: who uses each cell as the last of all.
    _, before, user = jax.lax.while_loop(lambda state: jnp.any(state[0]), step, state)
    source = jnp.where(user == places, before, user)
    source = jnp.where(source < 0, places, source)
    doubled = jax.lax.while_loop(
        lambda pair: jnp.any(pair[0] != pair[1]), lambda pair: (pair[1], pair[1][pair[1]]), (source, source[source])
    )
    return jnp.where(before < 0, partners, doubled[0][before])


def _shuffle(seed: U64, epoch: jax.Array, programs: int) -> jax.Array:
    places = jnp.arange(programs, dtype=jnp.uint32)
    draws = splitmix(seeded(seed, add(multiply(u64(epoch), u64(programs)), u64(places))))
    return fisher_yates(modulo(draws, places + 1).astype(jnp.int32))


@cache
def mixed() -> Pairing:
    """Anybody meets anybody: a shuffle of the whole soup, the reference program's."""

    def pair(seed: U64, epoch: jax.Array, programs: int) -> Pairs:
        return Pairs(_shuffle(seed, epoch, programs), jnp.int32(programs // 2))

    return Pairing(pair, None)


def grid(height: int, width: int, reach: int = 2) -> Pairing:
    """Neighbours meet on a grid without wrap-around, as in the paper (there 240 x 135, reach 2).

    In random order every program chooses one of the places at most `reach` away in each direction. If neither has met
    anybody in this epoch they are a pair, the chooser on the left. The others stay alone until the next epoch.

    Computed by deterministic reservations (Blelloch et al. 2012): whoever still waits claims its own place and the one
    that it has chosen, and gets both if nobody before it claims one of them.

    Args:
        height: of the grid; program i stands in row ``i // width``, column ``i % width``.
        width: of the grid.
        reach: largest distance in rows and in columns.

    Raises:
        ValueError: if an argument is out of range, or the grid has an odd number of places.
    """
    check.whole(1, height=height, width=width, reach=reach)
    if height * width < 2 or height * width % 2:
        raise ValueError(f"height x width must be an even number of at least 2, got {height} x {width}")

    def pair(seed: U64, epoch: jax.Array, programs: int) -> Pairs:
        places = jnp.arange(programs, dtype=jnp.int32)
        turns = _shuffle(seed, epoch, programs)
        rank = jnp.zeros_like(places).at[turns].set(places, unique_indices=True)
        row, column = places // width, places % width
        top, bottom = jnp.maximum(row - reach, 0), jnp.minimum(row + reach, height - 1)
        left, right = jnp.maximum(column - reach, 0), jnp.minimum(column + reach, width - 1)
        span = right - left + 1
        choices = (bottom - top + 1) * span - 1
        draws = seeded(seed, xor(seeded(seed, u64(epoch)), seeded(seed, u64(places))))
        choice = modulo(draws, choices.astype(jnp.uint32)).astype(jnp.int32)
        choice += choice >= (row - top) * span + column - left
        chosen = (top + choice // span) * width + left + choice % span

        def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            partner, waiting, _ = state
            claim = jnp.where(waiting, rank, programs)
            first = jnp.minimum(claim, jnp.full(programs, programs, jnp.int32).at[chosen].min(claim))
            go = waiting & (first == rank) & (first[chosen] == rank)
            partner = partner.at[jnp.where(go, chosen, programs)].set(-1 - places, mode="drop")
            partner = jnp.where(go, chosen, partner)
            waiting = waiting & (partner == alone) & (partner[chosen] == alone)
            return partner, waiting, jnp.any(waiting)

        # What stands at a place: alone, the place it has chosen, or -1 minus the place it was chosen by.
        alone = programs
        start = (jnp.full(programs, alone, jnp.int32), jnp.ones(programs, bool), jnp.bool_(True))
        partner = jax.lax.while_loop(lambda state: state[2], step, start)[0]
        chooser = (partner >= 0) & (partner < alone)
        number = jnp.zeros_like(places).at[turns].set(jnp.cumsum(chooser[turns]) - 1, unique_indices=True)
        count = jnp.sum(chooser, dtype=jnp.int32)
        at = jnp.where(chooser, 2 * number, 2 * count + jnp.cumsum(partner == alone) - 1)
        at = jnp.where(partner < 0, 2 * number[-1 - partner] + 1, at)
        return Pairs(jnp.zeros_like(places).at[at].set(places, unique_indices=True), count)

    return Pairing(pair, height * width)
