"""Masks of bits beside arrays of booleans."""

import jax
import numpy as np
import pytest

from neuralmutator.life import masks

SIZE = 64


@pytest.fixture(scope="module")
def bits():
    """Tapes with no, few, half and all bits, bool[B, T]."""
    random = np.random.default_rng(0)
    return np.array([random.random(SIZE) < share for share in (0, 0.03, 0.03, 0.5, 1) for _ in range(40)])


@pytest.fixture(scope="module")
def places(bits):
    """From one place to another that is not before it, i32[2, B]."""
    return np.sort(np.random.default_rng(1).integers(0, SIZE, (2, len(bits))), axis=0).astype(np.int32)


def test_a_place_is_a_bit(bits):
    words = np.asarray(jax.jit(masks.packed)(bits))
    assert words.shape == (SIZE // 32, len(bits)) and words.dtype == np.uint32
    for place in range(SIZE):
        np.testing.assert_array_equal(words[place // 32] >> place % 32 & 1, bits[:, place])


def test_the_next_the_previous_and_how_many(bits, places):
    words, (start, stop) = masks.packed(bits), places
    found = jax.jit(lambda *x: (masks.next_bit(*x[:2]), masks.previous_bit(*x[:2]), masks.count(*x)))(
        words, start, stop
    )
    for row, a, b, after, before, inside in zip(bits, start, stop, *map(np.asarray, found), strict=True):
        assert after == min((place for place in np.flatnonzero(row) if place >= a), default=SIZE)
        assert before == max((place for place in np.flatnonzero(row) if place <= a), default=-1)
        assert inside == row[a:b].sum()


def test_one_bit_is_marked_where_it_is_wanted(bits, places):
    random = np.random.default_rng(2)
    on, where = random.random((2, len(bits))) < 0.5
    wanted = bits.copy()
    wanted[np.flatnonzero(where), places[0][where]] = on[where]
    found = jax.jit(masks.marked)(masks.packed(bits), places[0], on, where)
    np.testing.assert_array_equal(found, masks.packed(wanted))
