"""Has life begun? What tells a soup of replicators from a soup of noise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Step, check
from neuralmutator.life import engine
from neuralmutator.life.hashing import U64, add, multiply, seeded, splitmix, u64, xor
from neuralmutator.life.language import Language
from neuralmutator.life.soup import Programs, Soup

REPLICATES = 5
"""Bytes that a program must pass on to count as a replicator, of 64 (the reference program's)."""

TAKEOVER = 1.0
"""High-order entropy, in bits, above which replicators own a soup (the paper's)."""


class Entropy(NamedTuple):
    """What the bytes of a soup say, and how much of it is order between them."""

    high_order: float  # bits of a byte: `shannon` less what is left of them after compression
    shannon: float  # bits of a byte, as if they were drawn one by one
    size: int  # bytes of the compressed soup


def high_order_entropy(programs: np.ndarray) -> Entropy:
    """Shannon entropy of the bytes less their entropy after compression (Computational Life, section 2.1).

    Near 0 in noise, where nothing can be compressed that the frequencies do not say; several bits where programs are
    copies of each other. Brotli of at least 1.1 gives the numbers of the reference program's logs to the last digit.

    Args:
        programs: u8[n, L].

    Raises:
        ImportError: if the package brotli is missing; ``pip install 'neuralmutator[life]'``.
    """
    import brotli  # an optional package

    data = np.asarray(programs, np.uint8)
    counts = np.bincount(data.ravel(), minlength=256)
    share = counts[counts > 0] / data.size
    shannon = float(-(share * np.log2(share)).sum())
    size = len(brotli.compress(data.tobytes(), mode=brotli.MODE_GENERIC, quality=2, lgwin=24))
    return Entropy(shannon - 8 * size / data.size, shannon, size)


def replication(
    language: Language,
    programs: jax.Array,
    seed: int | U64 = 0,
    epoch: int | jax.Array = 0,
    tries: int = 13,
    generations: int = 5,
) -> jax.Array:
    """How many bytes each program passes on: the reference program's check for replicators, bit for bit.

    A program runs beside random bytes, then what has become of these runs beside the same bytes, and so on. This is
    tried several times. A byte counts where at least a quarter of the tries agree on it in the end; on the left, where
    it must be the program's own.

    Args:
        language: of the programs.
        programs: u8[n, L].
        seed: of the random bytes.
        epoch: another number that they depend on.
        tries: number of tries.
        generations: runs of a try.

    Returns:
        i32[n]: the least of both halves. `REPLICATES` and above: a replicator.
    """
    n, length = programs.shape
    start = multiply(seeded(u64(seed) if isinstance(seed, int) else seed, u64(epoch)), u64(n))
    own = splitmix(add(start, u64(jnp.arange(n, dtype=jnp.uint32))))
    places = jnp.arange(length, length * (tries + 1), dtype=jnp.uint32)
    draws = splitmix(u64(places))
    later = jnp.arange(tries)[:, None] < jnp.arange(tries)

    def check_some(part: tuple[jax.Array, U64]) -> jax.Array:
        some, own = part
        noise = splitmix(xor(U64(own.high[:, None], own.low[:, None]), draws)).low.astype(jnp.uint8)
        noise = noise.reshape(-1, length)

        def generation(_: jax.Array, tapes: jax.Array) -> jax.Array:
            ran, _ = engine.run(language.lanes, jnp.concatenate([tapes[:, length:], noise], axis=1))
            return ran

        first = jnp.repeat(some, tries, axis=0)
        tapes = jax.lax.fori_loop(0, generations, generation, jnp.concatenate([noise, first], axis=1))
        tapes = tapes.reshape(-1, tries, 2 * length)
        agree = 1 + jnp.sum((tapes[:, :, None] == tapes[:, None]) & later[:, :, None], axis=2)
        right = tapes[:, :, :length] == some[:, None]
        counted = jnp.concatenate([right, jnp.ones_like(right)], axis=2) & (agree > tries // 4)
        return jnp.min(jnp.sum(jnp.any(counted, axis=1).reshape(-1, 2, length), axis=2), axis=1)

    batch = min(n, 1024)
    padding = -n % batch
    padded = jax.tree.map(
        lambda x: jnp.pad(x, ((0, padding),) + ((0, 0),) * (x.ndim - 1)).reshape(-1, batch, *x.shape[1:]),
        (programs, own),
    )
    return jax.lax.map(check_some, padded).reshape(-1)[:n]


def replicate(language: Language) -> Step:
    """``(key, parents u8[N, L]) -> (children u8[N, L], parents)``: each runs beside random bytes, on the left.

    For the measures of `neuralmutator.measures`: a child is what then stands on the right.
    """

    def step(key: jax.Array, parents: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = jax.random.bits(key, parents.shape, jnp.uint8)
        tapes, _ = engine.run(language.lanes, jnp.concatenate([parents, noise], axis=1))
        return tapes[:, parents.shape[1] :], parents

    return step


class Frequent(NamedTuple):
    """A program and how often it is there."""

    copies: int
    program: np.ndarray  # u8[L]


def most_frequent(programs: np.ndarray, number: int = 10) -> list[Frequent]:
    """The most frequent programs of u8[n, L], the most frequent first; equal ones by their bytes."""
    check.whole(1, number=number)
    found, counts = np.unique(np.asarray(programs), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:number]
    return [Frequent(int(counts[place]), found[place]) for place in order]


class Parasitism(NamedTuple):
    """How a program fares by itself and with a host."""

    alone: jax.Array  # i32[n] bytes passed on beside noise, see `replication`
    beside: jax.Array  # f32[n] share of its bytes in the host's place after a meeting, the better of both sides


def parasitism(language: Language, programs: jax.Array, host: jax.Array, seed: int = 0) -> Parasitism:
    """Whether programs u8[n, L] live by a host u8[L]: a parasite is copied beside it, and copies nothing alone."""
    hosts = jnp.broadcast_to(host, programs.shape)
    length = programs.shape[1]
    tapes = jnp.concatenate([jnp.concatenate([programs, hosts], 1), jnp.concatenate([hosts, programs], 1)])
    ran, _ = engine.run(language.lanes, tapes)
    first, second = jnp.split(ran, 2)
    onto_right = jnp.mean(first[:, length:] == programs, axis=1)
    onto_left = jnp.mean(second[:, :length] == programs, axis=1)
    return Parasitism(replication(language, programs, seed), jnp.maximum(onto_right, onto_left))


class Descent(NamedTuple):
    """Who came from whom, epoch by epoch."""

    programs: jax.Array  # u8[epochs + 1, n, L] from the first moment on
    parents: jax.Array  # i32[epochs, n] the place that the program at each place comes from


def descent(soup: Soup, key: jax.Array, state: Programs, epochs: int, start: int = 0) -> Descent:
    """Runs a soup and follows its programs: one comes from whoever of its pair it has more bytes of.

    For soups that fit in memory once per epoch. With the key and the moment of a run, its own epochs are run again.

    Args:
        soup: the process.
        key: of the whole run, as for `rollout`.
        state: at the first moment.
        epochs: number of epochs.
        start: the first moment.
    """

    def moment(state: Programs, t: jax.Array) -> tuple[Programs, tuple[jax.Array, jax.Array]]:
        now = jax.random.fold_in(key, t)
        pairs = soup.pair(now, state)
        n = pairs.order.shape[0]
        order = pairs.order.reshape(-1, 2)
        met = (jnp.arange(n // 2) < pairs.met)[:, None]
        mates = jnp.where(met, order[:, ::-1], order).reshape(-1)
        mate = jnp.zeros(n, jnp.int32).at[pairs.order].set(mates, unique_indices=True)
        after, _ = soup.step(now, state)
        own = jnp.sum(after.bytes == state.bytes, axis=1)
        other = jnp.sum(after.bytes == state.bytes[mate], axis=1)
        return after, (after.bytes, jnp.where(other > own, mate, jnp.arange(n)))

    _, (programs, parents) = jax.lax.scan(moment, state, start + jnp.arange(epochs))
    return Descent(jnp.concatenate([state.bytes[None], programs]), parents)


class Ancestor(NamedTuple):
    """A program on the way to a later one."""

    epoch: int  # since the first moment
    place: int
    program: np.ndarray  # u8[L]


def ancestry(lines: Descent, place: int) -> list[Ancestor]:
    """The line of the program that stands at a place in the end: the first moment first, one entry per change of it."""
    programs, parents = np.asarray(lines.programs), np.asarray(lines.parents)
    found = [Ancestor(len(parents), place, programs[-1, place])]
    for epoch in range(len(parents) - 1, -1, -1):
        place = int(parents[epoch, place])
        program = programs[epoch, place]
        if np.array_equal(program, found[-1].program):
            found.pop()
        found.append(Ancestor(epoch, place, program))
    return found[::-1]
