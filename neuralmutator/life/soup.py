"""A soup: programs without a purpose that meet in pairs, run as one tape, and part again.

After "Computational Life: How Well-formed, Self-replicating Programs Emerge from Simple Interaction" (Agüera y Arcas et
al. 2024). With `cubff` the random numbers are those of the authors' program, and every bit of the soup is the same.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.life.engine import run
from neuralmutator.life.hashing import U64, add, multiply, seeded, splitmix, u64
from neuralmutator.life.language import Language
from neuralmutator.life.languages import get_language
from neuralmutator.life.pairing import Pairing, Pairs, mixed

LENGTHS = (16, 32, 64)
"""How many bytes a program can have."""

ENGINES = ("auto", "jax", "native")
"""What runs the programs: XLA's code, or the compiled kernels of `native`, whichever is there."""


class Programs(NamedTuple):
    """A soup at a moment."""

    bytes: jax.Array  # u8[n, L]
    epoch: jax.Array  # i32[] epochs so far


class SoupInfo(NamedTuple):
    """What has happened in an epoch."""

    pairs: jax.Array  # i32[] that have met
    operations: jax.Array  # f32[] of a pair, in the mean; bytes that do nothing are not counted


class Soup(NamedTuple):
    """A process: ``init(key) -> Programs`` and ``step(key, Programs) -> (Programs, SoupInfo)``, for `rollout`."""

    init: Callable[[jax.Array], Programs]
    step: Callable[[jax.Array, Programs], tuple[Programs, SoupInfo]]
    pair: Callable[[jax.Array, Programs], Pairs]  # (key, programs) -> who meets whom in the step of the same key
    language: Language


class Stream(NamedTuple):
    """Where the random numbers of a soup come from."""

    seed: Callable[[jax.Array], U64]  # (key) -> seed of the hashes of a moment


def keyed() -> Stream:
    """Random numbers from JAX's keys."""

    def seed(key: jax.Array) -> U64:
        words = jax.random.bits(key, (2,), jnp.uint32)
        return U64(words[0], words[1])

    return Stream(seed)


def cubff(seed: int) -> Stream:
    """The random numbers of cubff, the authors' program, for a seed; keys play no part.

    Raises:
        ValueError: if `seed` is not a whole number of at least 0.
    """
    check.whole(0, seed=seed)
    return Stream(lambda key: u64(seed))


def soup(
    language: str | Language,
    programs: int = 131_072,
    *,
    length: int = 64,
    mutation: float = 1 / 4096,
    pairing: Pairing | None = None,
    stream: Stream | None = None,
    engine: str = "auto",
) -> Soup:
    """A soup of programs in a language. One step is an epoch: every program meets at most one other.

    Of a pair, each byte is drawn anew with a small probability. Then the two run as one tape of twice their length,
    from the first byte of the left one, for at most `engine.LIMIT` steps, and part again. Nothing else happens: there
    is no fitness and no selection.

    Args:
        language: name of one of `LANGUAGES`, or a language.
        programs: even, at most 131,072.
        length: bytes of a program.
        mutation: probability of a byte to be drawn anew in an epoch; rounded to a multiple of 2^-30.
        pairing: who meets whom; `pairing.mixed()` by default.
        stream: of random numbers; `keyed()` by default.
        engine: one of `ENGINES`; every bit of the soup is the same. "native" is several times as fast on a CPU, takes
            all its cores and needs the extra ``neuralmutator[life]``, but cannot be exported. "auto": native where it
            can run, else JAX.

    Raises:
        ValueError: if an argument is out of range, `pairing` is for another number of programs, or the engine is native
            and cannot run here.
    """
    spoken = get_language(language)
    check.whole(2, programs=programs)
    if programs % 2 or programs > 131_072:
        raise ValueError(f"programs must be an even number of at most 131072, got {programs}")
    check.one_of(LENGTHS, length=length)
    check.number(0, 1, mutation=mutation)
    check.one_of(ENGINES, engine=engine)
    pairing = mixed() if pairing is None else pairing
    stream = keyed() if stream is None else stream
    if pairing.programs not in (None, programs):
        raise ValueError(f"programs must be {pairing.programs} for this pairing, got {programs}")
    rate = round(mutation * 2**30)
    size = 2 * length

    @jax.jit  # op by op, the hashes of 2^17 programs would need hundreds of MiB
    def init(key: jax.Array) -> Programs:
        first = multiply(seeded(stream.seed(key), u64(0)), u64(length * programs))
        places = jnp.arange(length * programs, dtype=jnp.uint32)
        drawn = splitmix(add(first, u64(places))).low.astype(jnp.uint8)
        return Programs(drawn.reshape(programs, length), jnp.int32(0))

    def pair(key: jax.Array, state: Programs) -> Pairs:
        return pairing.pair(stream.seed(key), state.epoch, programs)

    def step(key: jax.Array, state: Programs) -> tuple[Programs, SoupInfo]:
        seed = stream.seed(key)
        pairs = pair(key, state)
        tapes = state.bytes[pairs.order].reshape(programs // 2, size)
        moment = multiply(seeded(seed, u64(state.epoch)), u64(programs * size))
        places = jnp.arange(programs // 2 * size, dtype=jnp.uint32).reshape(-1, size)
        drawn = splitmix(add(moment, u64(places)))
        # Bits 8 to 37 decide, and bits 0 to 7 are the new byte.
        mutates = ((drawn.low >> 8) | ((drawn.high & 0x3F) << 24)) < rate
        tapes = jnp.where(mutates, drawn.low.astype(jnp.uint8), tapes)
        ran, operations = run(spoken.lanes, tapes, pairs.met)
        after = jnp.zeros_like(state.bytes).at[pairs.order].set(ran.reshape(programs, length), unique_indices=True)
        return after_epoch(state, after, pairs.met, jnp.sum(operations))

    def after_epoch(
        state: Programs, after: jax.Array, met: jax.Array, operations: jax.Array
    ) -> tuple[Programs, SoupInfo]:
        # All operations of 2^16 pairs are less than 2^31, so that the mean does not depend on the order of the sum.
        mean = operations.astype(jnp.float32) / jnp.maximum(met, 1)
        return Programs(after, state.epoch + 1), SoupInfo(met, mean)

    host = _native(spoken, rate, engine)
    if host is None:
        return Soup(init, step, pair, spoken)

    def native_step(key: jax.Array, state: Programs) -> tuple[Programs, SoupInfo]:
        seed = stream.seed(key)
        # The host has a shuffle of its own.
        pairs = None if pairing == mixed() else pair(key, state)
        count = jax.ShapeDtypeStruct((), jnp.int32)
        shapes = jax.ShapeDtypeStruct((programs, length), jnp.uint8), count
        given = (state.bytes, seed.high, seed.low, state.epoch, *(pairs or ()))
        made = jax.pure_callback(host, shapes, *given, vmap_method="sequential")
        met = jnp.int32(programs // 2) if pairs is None else pairs.met
        return after_epoch(state, made[0], met, made[1])

    return Soup(init, native_step, pair, spoken)


def _native(language: Language, rate: int, engine: str) -> Callable | None:
    """The host's part of a native step; None: JAX does it all."""
    missing = ""
    if engine == "jax":
        return None
    if find_spec("numba") is None:
        missing = "numba, which comes with the extra neuralmutator[life]"
    elif jax.default_backend() != "cpu":
        missing = f"a CPU as JAX's default backend, got {jax.default_backend()}"
    elif language.kernel is None:
        missing = f"a language with a compiled kernel, got {language.name!r}"
    if missing and engine == "native":
        raise ValueError(f"engine 'native' needs {missing}")
    if missing:
        return None
    from neuralmutator.life import native

    return native.callback(native.kernel(language), rate)


def plant(state: Programs, program: np.ndarray | jax.Array, places: Sequence[int] = (0,)) -> Programs:
    """Puts a program u8[L] at some places of a soup.

    Raises:
        ValueError: if the program has another length, or a place is outside the soup.
    """
    programs, length = state.bytes.shape
    if np.shape(program) != (length,):
        raise ValueError(f"program must be u8[{length}], got shape {np.shape(program)}")
    for place in places:
        if not 0 <= place < programs:
            raise ValueError(f"places must lie between 0 and {programs - 1}, got {place}")
    return state._replace(bytes=state.bytes.at[jnp.asarray(places)].set(jnp.asarray(program, jnp.uint8)))
