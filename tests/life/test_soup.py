import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import life

ENGINE = np.frombuffer(bytes([0, 0x40]) + b"[].>}[.>}]" + b" " * 52, np.uint8)
KEY = jax.random.key(0)


def digest(programs: jax.Array) -> str:
    return hashlib.sha256(np.asarray(programs).tobytes()).hexdigest()[:16]


def digests(soup: life.Soup, state: life.Programs, epochs: tuple[int, ...]) -> list[str]:
    step, found = jax.jit(soup.step), []
    for epoch in range(1, max(epochs) + 1):
        state, _ = step(KEY, state)
        if epoch in epochs:
            found.append(digest(state.bytes))
    return found


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("bff_noheads", "6057025df85b637c 6c9627e06c58b21d bfa3bc829238188d 1d52a350a3c2482e"),
        ("bff", "3c612d1de77fce4a a1468112607dd303 2a531c75aa436f34 a981b7e3789e9f55"),
    ],
)
def test_small_soups_are_those_of_the_reference_program(language, expected):
    soup = life.soup(language, 256, stream=life.cubff(7))
    assert digests(soup, soup.init(KEY), (1, 2, 16, 64)) == expected.split()


@pytest.mark.slow
def test_a_seeded_takeover_is_that_of_the_reference_program():
    soup = life.soup("bff", 8192, stream=life.cubff(1))
    start = life.plant(soup.init(KEY), ENGINE)
    expected = "a39ffbb2d141def7 84994a0b118d7e5e 9583bee6962d59b2 5983d0458cf82bad"
    assert digests(soup, start, (1, 65, 129, 257)) == expected.split()


@pytest.mark.slow
def test_a_natural_takeover_is_that_of_the_reference_program():
    soup = life.soup("bff_noheads_4bit", 8192, stream=life.cubff(1))
    expected = "ed10267be427696d 9b29bd5cabbdaa5f fd8cf94d3d73e9bb"
    assert digests(soup, soup.init(KEY), (1, 65, 129)) == expected.split()


@pytest.mark.slow
def test_the_log_of_the_reference_program_comes_out_to_the_byte():
    # Its test data: seed 10248, 2^17 programs, every 64 epochs: compressed size, number of programs, entropy.
    expected = """epoch,brotli_size,soup_size,higher_entropy
1,8388776,131072,-0.000190
65,8286015,131072,0.097342
129,8216575,131072,0.162708
193,8161711,131072,0.213831
257,8114689,131072,0.256865
"""
    soup = life.soup("bff_noheads", stream=life.cubff(10248))
    state, _ = jax.jit(soup.step)(KEY, soup.init(KEY))
    run = jax.jit(lambda state: nm.rollout(soup.step, KEY, state, 64)[0])
    log = "epoch,brotli_size,soup_size,higher_entropy\n"
    for moment in range(5):
        state = run(state) if moment else state
        entropy = life.high_order_entropy(state.bytes)
        log += f"{int(state.epoch)},{entropy.size},{len(state.bytes)},{entropy.high_order:.6f}\n"
    assert log == expected


def test_a_key_gives_the_same_soup_again_and_another_key_another():
    soup = life.soup("bff_noheads_4bit", 64)
    run = jax.jit(lambda key: nm.rollout(soup.step, key, soup.init(key), 5))
    (first, info), (again, _), (other, _) = run(jax.random.key(1)), run(jax.random.key(1)), run(jax.random.key(2))
    assert digest(first.bytes) == digest(again.bytes) != digest(other.bytes)
    assert int(first.epoch) == 5
    np.testing.assert_array_equal(info.pairs, 32)
    # Each epoch has a stream of its own, though the key of a run is one.
    assert len({float(x) for x in info.operations}) == 5


def test_seeds_are_swept_in_one_program():
    soup = life.soup("bff_noheads", 16)
    run = jax.jit(jax.vmap(lambda key: nm.rollout(soup.step, key, soup.init(key), 2)[0].bytes))
    keys = jax.random.split(jax.random.key(3), 3)
    one = jax.jit(lambda key: nm.rollout(soup.step, key, soup.init(key), 2)[0].bytes)
    for key, swept in zip(keys, run(keys), strict=True):
        np.testing.assert_array_equal(swept, one(key))


def test_mutation_draws_bytes_anew_at_its_rate():
    # A language in which nothing happens.
    idle = life.language("idle", {}, [None] * 256)
    rate = 0.1
    some = life.soup(idle, 256, mutation=rate)
    start = some.init(KEY)
    after, _ = jax.jit(some.step)(KEY, start)
    changed = np.mean(after.bytes != start.bytes)
    error = np.sqrt(rate * (1 - rate) / start.bytes.size)
    assert changed == pytest.approx(rate * 255 / 256, abs=4 * error)
    every, _ = jax.jit(life.soup(idle, 256, mutation=1).step)(KEY, start)
    counts = np.bincount(np.asarray(every.bytes).ravel(), minlength=256)
    assert np.sum((counts - 64) ** 2 / 64) < 255 + 5 * np.sqrt(2 * 255)


def test_programs_without_a_mate_mutate_but_do_not_run():
    rows, columns = 8, 16
    soup = life.soup("bff_noheads_4bit", rows * columns, pairing=life.grid(rows, columns), mutation=0)
    start = soup.init(KEY)
    pairs = soup.pair(KEY, start)
    after, info = jax.jit(soup.step)(KEY, start)
    met = int(pairs.met)
    assert 0 < met < rows * columns // 2
    assert int(info.pairs) == met
    alone = np.asarray(pairs.order)[2 * met :]
    np.testing.assert_array_equal(after.bytes[alone], start.bytes[alone])
    assert np.any(np.asarray(after.bytes) != np.asarray(start.bytes))


def test_planting_puts_programs_where_they_are_wanted():
    soup = life.soup("bff", 8)
    state = life.plant(soup.init(KEY), ENGINE, (1, 5))
    same = np.all(np.asarray(state.bytes) == ENGINE, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(same), [1, 5])
    with pytest.raises(ValueError, match=r"program must be u8\[64\], got shape \(3,\)"):
        life.plant(state, ENGINE[:3])
    with pytest.raises(ValueError, match="places must lie between 0 and 7, got 8"):
        life.plant(state, ENGINE, (8,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"programs": 7}, "programs must be an even number of at most 131072, got 7"),
        ({"programs": 0}, "programs must be a whole number of at least 2, got 0"),
        ({"programs": 2**18}, "programs must be an even number of at most 131072, got 262144"),
        ({"length": 0}, "length must be one of 16, 32, 64, got 0"),
        ({"mutation": 1.5}, "mutation must lie between 0 and 1, got 1.5"),
        ({"programs": 100, "pairing": life.grid(4, 4)}, "programs must be 16 for this pairing, got 100"),
    ],
)
def test_bad_soups_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        life.soup("bff", **arguments)


def test_a_seed_is_a_whole_number():
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got -1"):
        life.cubff(-1)


def test_keys_play_no_part_in_the_streams_of_the_reference_program():
    soup = life.soup("bff", 16, stream=life.cubff(5))
    np.testing.assert_array_equal(soup.init(jax.random.key(1)).bytes, soup.init(jax.random.key(2)).bytes)
    assert soup.init(KEY).bytes.dtype == jnp.uint8
