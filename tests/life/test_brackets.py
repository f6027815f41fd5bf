import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import life
from neuralmutator.life import engine

FAMILY = ("bff", "bff_noheads", "bff_perm", "bff_noheads_4bit", "bff8", "bff8_noheads", "bff_selfmove")
SYMBOLS = dict.fromkeys(FAMILY, "[]+-.,<>{}") | {"bff_selfmove": "[]+-;<>"}

_compiled = {}


def ran(name: str, tapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if name not in _compiled:
        machines = life.get_language(name).lanes
        _compiled[name] = jax.jit(lambda tapes: engine.run(machines, tapes))
    return tuple(np.asarray(x) for x in _compiled[name](tapes))


def compared(plain, name: str, tapes: np.ndarray) -> None:
    after, operations = ran(name, tapes)
    for tape, found, done in zip(tapes, after, operations, strict=True):
        expected = plain.run(name, tape.tobytes())
        assert bytes(expected.tape) == found.tobytes(), life.disassemble(life.get_language(name), tape, exact=True)
        assert expected.operations == done


def dense(name: str, number: int, seed: int) -> np.ndarray:
    """Random tapes in which a share of the bytes acts, another share on each."""
    random = np.random.default_rng(seed)
    tapes = random.integers(0, 256, (number, 128), dtype=np.uint8)
    language = life.get_language(name)
    acting = [byte for byte, symbol in enumerate(language.symbols) if symbol]
    share = random.random((number, 1)) * (np.arange(number) % 2)[:, None]
    return np.where(random.random(tapes.shape) < share, random.choice(acting, tapes.shape), tapes).astype(np.uint8)


def test_random_tapes_end_as_in_plain_python(plain):
    compared(plain, "bff", dense("bff", 512, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_ten_thousand_tapes_end_as_in_plain_python(plain, name):
    for seed in range(20):
        compared(plain, name, dense(name, 512, seed))


def looping(name: str, number: int, seed: int) -> np.ndarray:
    """Tapes with one loop of up to five bytes somewhere, heads and nulls anywhere else."""
    random = np.random.default_rng(seed)
    language = life.get_language(name)
    symbols = [*SYMBOLS[name].replace("[", "").replace("]", ""), "·"]
    tapes = random.integers(1, 256, (number, 128), dtype=np.uint8)
    for tape in tapes:
        tape[random.random(128) < random.choice([0.0, 0.01, 0.1])] = 0
        heads, start = random.integers(0, 40, 2), 2
        lead = ""
        if "noheads" in name:
            lead, start = ">" * heads[0] + "}" * heads[1], 0
        else:
            tape[:2] = heads * 3
        body = "".join(random.choice(symbols, random.integers(0, 6)))
        text = "·" * random.integers(0, 30) + f"{lead}[{body}]"
        tape[start : start + len(text)] = life.assemble(language, text, len(text))
    return tapes


def test_loops_end_as_in_plain_python(plain):
    # Most of these loops leap, and all reasons to stop a leap come up.
    for seed in range(3):
        compared(plain, "bff_noheads_4bit", looping("bff_noheads_4bit", 512, seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bff", "bff_noheads", "bff_noheads_4bit", "bff_selfmove"])
def test_ten_thousand_loops_end_as_in_plain_python(plain, name):
    for seed in range(100, 120):
        compared(plain, name, looping(name, 512, seed))


ENGINE = bytes([0, 0x40]) + b"[].>}[.>}]" + b" " * 52


def test_the_planted_engine_copies_itself_and_its_copy_copies_back(plain):
    right = np.random.default_rng(0).integers(1, 256, 64, dtype=np.uint8).tobytes()
    tape = np.frombuffer(ENGINE + right, np.uint8)
    after, operations = ran("bff", tape[None].repeat(512, 0))
    assert after[0].tobytes() == ENGINE * 2
    # 2 + 3 of the start and 63 rounds of 5 of the copy, twice, less what the first bracket of each loop saves.
    assert operations[0] == plain.run("bff", tape.tobytes()).operations > 500


def test_endless_loops_end_at_the_limit(plain):
    tapes = np.stack(
        [
            np.frombuffer(text.ljust(128, b"a"), np.uint8)
            for text in (b"aa[]", b"aa[<>]", b"aa[{]", b"aa[[]]", b"aa[-+]")
        ]
    )
    compared(plain, "bff", np.resize(tapes, (512, 128)))
    assert ran("bff", np.resize(tapes, (512, 128)))[1][0] == engine.LIMIT


@pytest.mark.slow
def test_programs_of_another_length_run(plain):
    tapes = dense("bff_noheads", 64, seed=4)[:, :64].copy()
    after, operations = jax.jit(lambda tapes: engine.run(life.get_language("bff_noheads").lanes, tapes))(tapes)
    for tape, found, done in zip(tapes, np.asarray(after), np.asarray(operations), strict=True):
        expected = plain.run("bff_noheads", tape.tobytes())
        assert bytes(expected.tape) == found.tobytes()
        assert expected.operations == done


def test_the_engine_is_exported_for_accelerators():
    machines = life.get_language("bff").lanes
    shape = jax.ShapeDtypeStruct((1024, 128), jnp.uint8)
    exported = jax.export.export(jax.jit(lambda tapes: engine.run(machines, tapes)), platforms=("cuda", "tpu"))(shape)
    assert exported.platforms == ("cuda", "tpu")
