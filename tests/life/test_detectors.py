import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import life, measures

ENGINE = np.frombuffer(bytes([0, 0x40]) + b"[].>}[.>}]" + b" " * 52, np.uint8)
BFF = life.get_language("bff")


@pytest.fixture(scope="module")
def family() -> np.ndarray:
    """One engine with 256 different bodies, of bytes that do nothing."""
    bodies = np.random.default_rng(0).integers(126, 256, (256, 64), dtype=np.uint8)
    bodies[:, :12] = ENGINE[:12]
    return bodies


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (256, 64), dtype=np.uint8)


def test_entropy_is_that_of_shannon_less_what_compression_leaves(noise):
    random = life.high_order_entropy(noise)
    counts = np.bincount(noise.ravel(), minlength=256) / noise.size
    assert random.shannon == pytest.approx(-np.sum(counts[counts > 0] * np.log2(counts[counts > 0])))
    assert random.high_order == pytest.approx(random.shannon - 8 * random.size / noise.size)
    assert abs(random.high_order) < 0.05
    copies = life.high_order_entropy(np.tile(noise[:1], (256, 1)))
    assert copies.shannon == pytest.approx(life.high_order_entropy(noise[:1]).shannon)
    assert copies.high_order > 0.95 * copies.shannon


def expected_replication(plain, program: bytes, seed: int, epoch: int, n: int, place: int) -> int:
    """The reference program's check in plain Python."""
    local = plain.splitmix((n * plain.seeded(seed, epoch) + place) & ((1 << 64) - 1))
    tapes = []
    for attempt in range(13):
        noise = bytes(plain.splitmix(local ^ plain.splitmix(64 * (attempt + 1) + j)) % 256 for j in range(64))
        left = program
        for _ in range(5):
            tape = bytes(plain.run("bff", left + noise).tape)
            left = tape[64:]
        tapes.append(tape)
    counted = [0, 0]
    for i in range(128):
        for a in range(13):
            if i < 64 and tapes[a][i] != program[i]:
                continue
            if 1 + sum(tapes[a][i] == tapes[b][i] for b in range(a + 1, 13)) > 13 // 4:
                counted[i // 64] += 1
                break
    return min(counted)


def test_replication_is_the_check_of_the_reference_program(plain, family, noise):
    programs = np.concatenate([family[:6], noise[:6]])
    programs[6, :12] = ENGINE[:12]
    programs[7, :11] = ENGINE[:11]  # without its last bracket
    found = jax.jit(lambda programs: life.replication(BFF, programs, 3, 9))(programs)
    expected = [expected_replication(plain, p.tobytes(), 3, 9, len(programs), i) for i, p in enumerate(programs)]
    np.testing.assert_array_equal(found, expected)
    assert np.all(np.asarray(found)[:6] >= 60)
    assert expected[8:] == [0] * 4


def test_an_engine_passes_on_any_body_and_noise_passes_on_nothing(family, noise):
    replicate = jax.jit(life.replicate(BFF))
    children, parents = replicate(jax.random.key(0), jnp.asarray(family))
    assert float(jnp.mean(measures.fidelity(parents, children))) > 0.99
    assert float(measures.heredity(parents, children)) > 0.99
    children, parents = replicate(jax.random.key(0), jnp.asarray(noise))
    assert float(jnp.mean(measures.fidelity(parents, children))) < 0.02
    assert float(measures.heredity(parents, children)) < 0.02


def test_the_most_frequent_programs_come_first():
    programs = np.array([[3, 3], [1, 2], [3, 3], [0, 9], [1, 2], [3, 3]], np.uint8)
    found = life.most_frequent(programs, 2)
    assert [(one.copies, list(one.program)) for one in found] == [(3, [3, 3]), (2, [1, 2])]
    with pytest.raises(ValueError, match="number must be a whole number of at least 1, got 0"):
        life.most_frequent(programs, 0)


@pytest.mark.slow
def test_a_parasite_is_copied_beside_a_host_and_copies_nothing_alone(noise):
    # A body of bytes that do nothing lets the host run through, and is overwritten. With a head and the host's own loop
    # to run, a program without a copy of its own still ends up in the host's place.
    found = jax.jit(lambda programs: life.parasitism(BFF, programs, jnp.asarray(ENGINE)))(
        jnp.stack([jnp.asarray(ENGINE), jnp.full(64, 32, jnp.uint8), PARASITE])
    )
    assert found.alone[0] >= life.REPLICATES
    assert found.beside[0] == 1
    assert found.alone[1] < life.REPLICATES
    assert found.alone[2] < life.REPLICATES
    assert found.beside[2] > 0.9


# Places the heads as the engine needs them and does nothing: the engine on its right then copies it over itself.
PARASITE = jnp.full(64, 32, jnp.uint8).at[:2].set(jnp.array([0, 64], jnp.uint8))


def test_descent_follows_a_replicator_back_to_where_it_was_planted():
    soup = life.soup("bff", 64, mutation=0)
    key = jax.random.key(0)
    start = life.plant(soup.init(key), ENGINE, (7,))
    lines = jax.jit(lambda state: life.descent(soup, key, state, 30))(start)
    assert lines.programs.shape == (31, 64, 64)
    last = np.asarray(lines.programs[-1])
    copies = np.flatnonzero(np.all(last[:, :12] == ENGINE[:12], axis=1))
    assert len(copies) > 30
    for place in copies:
        line = life.ancestry(lines, int(place))
        assert (line[0].epoch, line[0].place) == (0, 7)
        assert [one.epoch for one in line] == sorted(one.epoch for one in line)
        np.testing.assert_array_equal(line[-1].program, last[place])
