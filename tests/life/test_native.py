"""The compiled engine beside interpreters in plain Python, the engine in JAX, and the reference program's hashes."""

import hashlib
import importlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba")

from neuralmutator import life
from neuralmutator.life import native
from neuralmutator.life.brackets import OPERATIONS

KERNELS = {name: native.kernel(make()) for name, make in life.LANGUAGES.items()}
MATCHED = [name for name, kernel in KERNELS.items() if kernel.kind == native._BRACKETS and kernel.constants[2] == 0]


def equal_to_plain(plain, name: str, tapes: np.ndarray) -> None:
    ran, operations = native.run(KERNELS[name], tapes)
    for tape, after, count in zip(tapes, ran, operations, strict=True):
        expected = plain.run(name, tape.tobytes())
        assert (bytes(after), count) == (bytes(expected.tape), expected.operations), bytes(tape)


def some_tapes(name: str, count: int, seed: int) -> np.ndarray:
    """A third of random bytes, a third of operations and nulls, a third of both."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, 128), np.uint8)
    known = [code for code in life.get_language(name).kernel[1][: len(OPERATIONS)] if code >= 0]
    pool = [*known, 0] if KERNELS[name].kind == native._BRACKETS else [*range(16), 64, 70, 130, 200]
    dense = rng.choice(np.array(pool, np.uint8), noise.shape)
    share = (np.arange(count) % 3 / 2)[:, None]
    return np.where(rng.random(noise.shape) < share, dense, noise)


def written(name: str, text: str) -> bytes:
    """A program of a bracket language; ``_`` does nothing, ``0`` is null."""
    codes = dict(zip(OPERATIONS, life.get_language(name).kernel[1], strict=False)) | {"_": 21, "0": 0}
    return bytes(codes[symbol] for symbol in text)


@pytest.mark.parametrize("name", life.LANGUAGES)
@pytest.mark.parametrize("count", [360, pytest.param(3000, marks=pytest.mark.slow)])
def test_programs_are_those_of_plain_python(plain, name, count):
    tapes = some_tapes(name, count, count)
    equal_to_plain(plain, name, tapes)
    for size in (32, 64):
        equal_to_plain(plain, name, np.ascontiguousarray(tapes[: count // 4, :size]))


@pytest.mark.parametrize(
    "text",
    [
        "[].>}[.>}]" + 54 * "_",  # the replicator of the planted soups
        "[[{.>]-]" + 48 * "_" + "]-]>.{[[",  # the palindrome
        "+[]",  # nothing moves
        "+[" + 60 * "_" + "]",
        "+[>+]",  # counts all bytes up, and its own code too
        "+[-]>+[+]",
        "+[}.]",  # overwrites itself with what is not null
        ">+<+[.}]",
        "+[[>.}]<]",
        "+[,>,{]",
        "+[.>}.>}]",
        "+[->>+{.}]",
        "+[>[<[>]]]",
        "[" * 63,
        "]" * 63,
    ],
)
@pytest.mark.parametrize("name", ["bff", "bff_noheads", "bff_perm", "bff_noheads_4bit"])
def test_hand_made_loops(plain, name, text):
    rng = np.random.default_rng(1)
    tapes = np.array([21, 193], np.uint8)[rng.integers(0, 2, (24, 128))]
    tapes[::2] = rng.integers(0, 256, (12, 128))
    program = written(name, text)
    for row, tape in enumerate(tapes):
        start = (0, 2, 2 + row, 64)[row % 4]
        tape[start : start + len(program)] = list(program)
        if row % 4 > 1:
            tape[:2] = row % 8, 5 * row  # the heads
    equal_to_plain(plain, name, tapes)


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(MATCHED),
    body=st.text("+-.,;<>{}", min_size=0, max_size=6),
    gaps=st.integers(0, 3),
    place=st.integers(2, 90),
    heads=st.tuples(st.integers(0, 127), st.integers(0, 127)),
    nulls=st.floats(0, 0.1),
    seed=st.integers(0, 2**16),
)
def test_loops_of_few_operations(plain, name, body, gaps, place, heads, nulls, seed):
    known = life.get_language(name).kernel[1]
    body = "".join(symbol for symbol in body if known[OPERATIONS.index(symbol)] >= 0)
    loop = written(name, ("_" * gaps).join("[" + body + "]"))
    rng = np.random.default_rng(seed)
    tape = rng.integers(17, 21, 128).astype(np.uint8)  # without an operation in any language
    tape[rng.random(128) < nulls] = 0
    tape[:2] = heads
    tape[place : place + len(loop)] = list(loop)
    equal_to_plain(plain, name, tape[None, :])


def plain_epoch(plain, name: str, soup: np.ndarray, seed: int, epoch: int, rate: int, order: list, met: int) -> tuple:
    """The soup after an epoch, and the operations of all pairs."""
    n, length = soup.shape
    after, operations = soup.copy(), 0
    for pair in range(n // 2):
        rows = order[2 * pair : 2 * pair + 2]
        tape = bytearray(soup[rows].tobytes())
        for place in range(2 * length):
            drawn = plain.splitmix(((n * plain.seeded(seed, epoch) + pair) * 2 * length + place) % 2**64)
            if (drawn >> 8) % 2**30 < rate:
                tape[place] = drawn % 256
        ran = plain.run(name, bytes(tape)) if pair < met else None
        operations += ran.operations if ran else 0
        after[rows] = np.array(ran.tape if ran else tape, np.uint8).reshape(2, length)
    return after, operations


@pytest.mark.parametrize("name", life.LANGUAGES)
def test_an_epoch_is_that_of_plain_python(plain, name):
    n, rate, seed, epoch = 32, 2**26, 2**63 + 12345, 7
    soup = np.random.default_rng(3).integers(0, 256, (n, 64), np.uint8)
    made = native.epoch(KERNELS[name], rate, soup, seed, epoch)
    expected, operations = plain_epoch(plain, name, soup, seed, epoch, rate, plain.shuffled(seed, epoch, n), n // 2)
    np.testing.assert_array_equal(made.bytes, expected)
    assert made.operations == operations


def test_an_epoch_on_a_grid(plain):
    pairing, seed, key = life.grid(7, 10), 2**40 + 9, jax.random.key(0)
    soup = life.soup("bff_perm", 70, length=32, mutation=1 / 16, pairing=pairing, stream=life.cubff(seed))
    state = soup.init(key)._replace(epoch=np.int32(3))
    after, info = soup.step(key, state)
    pairs = pairing.pair(life.cubff(seed).seed(key), state.epoch, 70)
    order, met = np.asarray(pairs.order).tolist(), int(pairs.met)
    expected, operations = plain_epoch(plain, "bff_perm", np.asarray(state.bytes), seed, 3, 2**26, order, met)
    np.testing.assert_array_equal(after.bytes, expected)
    assert (int(after.epoch), int(info.pairs)) == (4, met)
    assert info.operations == np.float32(operations) / np.float32(met)


def test_threads_change_nothing(monkeypatch):
    soup = np.random.default_rng(4).integers(0, 256, (8192, 64), np.uint8)
    made = []
    for cores in (1, 3):
        monkeypatch.setattr(native, "_cores", lambda cores=cores: cores)
        made.append(native.epoch(KERNELS["bff"], 2**18, soup, 1, 0))
    np.testing.assert_array_equal(made[0].bytes, made[1].bytes)
    assert made[0][1:] == made[1][1:]


def equal_to_jax(language: str, **options) -> None:
    key = jax.random.key(5)
    soups = [life.soup(language, mutation=1 / 64, engine=engine, **options) for engine in ("jax", "native")]
    states = [soup.init(key) for soup in soups]
    steps = [jax.jit(soup.step) for soup in soups]
    for epoch in range(3):
        made = [step(jax.random.fold_in(key, epoch), state) for step, state in zip(steps, states, strict=True)]
        jax.tree.map(np.testing.assert_array_equal, *made)
        states = [state for state, _ in made]


def test_soups_are_those_of_jax():
    equal_to_jax("subleq", programs=256)


@pytest.mark.slow
@pytest.mark.parametrize("language", life.LANGUAGES)
def test_soups_of_all_languages_are_those_of_jax(language):
    equal_to_jax(language, programs=1024)
    equal_to_jax(language, programs=130, pairing=life.grid(10, 13, 1))


def digest(soup: life.Programs) -> str:
    return hashlib.sha256(np.asarray(soup.bytes).tobytes()).hexdigest()[:16]


GOLDEN = {
    "bff_noheads": "6057025df85b637c 6c9627e06c58b21d bfa3bc829238188d 1d52a350a3c2482e",
    "bff": "3c612d1de77fce4a a1468112607dd303 2a531c75aa436f34 a981b7e3789e9f55",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_small_soups_of_the_reference(name):
    soup = life.soup(name, 256, stream=life.cubff(7), engine="native")
    state, seen, step = soup.init(jax.random.key(0)), [], jax.jit(soup.step)
    for epoch in range(64):
        state, _ = step(jax.random.key(0), state)
        if epoch in (0, 1, 15, 63):
            seen.append(digest(state))
    assert seen == GOLDEN[name].split()


def test_planted_takeover_of_the_reference():
    soup = life.soup("bff", 8192, stream=life.cubff(1), engine="native")
    key = jax.random.key(0)
    program = bytes([0, 64]) + b"[].>}[.>}]" + 52 * b" "
    state = soup.init(key)
    state = state._replace(bytes=state.bytes.at[0].set(np.frombuffer(program, np.uint8)))
    scan = jax.jit(lambda state, epochs: jax.lax.fori_loop(0, epochs, lambda _, s: soup.step(key, s)[0], state))
    seen = []
    for epochs in (1, 64, 64, 128):
        state = scan(state, epochs)
        seen.append(digest(state))
    assert seen == "a39ffbb2d141def7 84994a0b118d7e5e 9583bee6962d59b2 5983d0458cf82bad".split()


def test_several_seeds_at_once():
    soup = life.soup("bff_noheads", 64, engine="native")
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(soup.step))(keys, jax.vmap(soup.init)(keys))
    for number, key in enumerate(keys):
        alone = soup.step(key, soup.init(key))
        one = jax.tree.map(lambda all_, number=number: all_[number], together)
        jax.tree.map(np.testing.assert_array_equal, one, alone)


def test_what_cannot_be(monkeypatch):
    with pytest.raises(ValueError, match="engine must be one of auto, jax, native, got 'numba'"):
        life.soup("bff", 64, engine="numba")
    own = life.language("own", {"halt": lambda machine, byte: machine._replace(pc=-1)}, ["halt"] * 256)
    with pytest.raises(ValueError, match="engine 'native' needs a language with a compiled kernel, got 'own'"):
        life.soup(own, 64, engine="native")
    assert life.soup(own, 64).init(jax.random.key(0)).bytes.shape == (64, 64)
    with pytest.raises(ValueError, match="kernel of language 'own' must be one of brackets"):
        native.kernel(own)
    module = importlib.import_module("neuralmutator.life.soup")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs numba, which comes with the extra neuralmutator\[life\]"):
        life.soup("bff", 64, engine="native")
    assert life.soup("bff", 64).language.name == "bff"


def test_numba_is_imported_only_where_it_is_used():
    code = "import sys, neuralmutator.life; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
