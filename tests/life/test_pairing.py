import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator import life
from neuralmutator.life import pairing
from neuralmutator.life.hashing import u64


@given(st.sampled_from([1, 2, 3, 60]), st.randoms(use_true_random=False))
def test_fisher_yates_is_the_loop_of_swaps(n, random):
    partners = [random.randint(0, i) for i in range(n)]
    order = list(range(n))
    for i in reversed(range(n)):
        order[i], order[partners[i]] = order[partners[i]], order[i]
    np.testing.assert_array_equal(jax.jit(pairing.fisher_yates)(jnp.array(partners, jnp.int32)), order)


@pytest.mark.parametrize("extreme", ["nobody moves", "all with the first", "all with the one before"])
def test_fisher_yates_at_its_extremes(extreme):
    i = np.arange(500)
    partners = {"nobody moves": i, "all with the first": 0 * i, "all with the one before": np.maximum(i - 1, 0)}[
        extreme
    ]
    order = list(range(500))
    for k in reversed(range(500)):
        order[k], order[partners[k]] = order[partners[k]], order[k]
    np.testing.assert_array_equal(pairing.fisher_yates(jnp.array(partners, jnp.int32)), order)


def test_mixed_is_the_shuffle_of_the_reference_program(plain):
    pair = jax.jit(lambda epoch: life.mixed().pair(u64(7), epoch, 300))
    for epoch in (0, 1, 1000):
        found = pair(jnp.int32(epoch))
        np.testing.assert_array_equal(found.order, plain.shuffled(7, epoch, 300))
        assert int(found.met) == 150


@pytest.mark.parametrize(("height", "width", "reach"), [(6, 8, 2), (1, 10, 1), (2, 3, 5), (5, 12, 1)])
def test_a_grid_pairs_as_the_loop_of_the_reference_program(plain, height, width, reach):
    n = height * width
    pair = jax.jit(lambda epoch: life.grid(height, width, reach).pair(u64(3), epoch, n))
    for epoch in range(5):
        used, expected = set(), []
        for i in plain.shuffled(3, epoch, n):
            near = [
                (row, column)
                for row in range(i // width - reach, i // width + reach + 1)
                for column in range(i % width - reach, i % width + reach + 1)
                if 0 <= row < height and 0 <= column < width and (row, column) != (i // width, i % width)
            ]
            row, column = near[plain.seeded(3, plain.seeded(3, epoch) ^ plain.seeded(3, i)) % len(near)]
            other = row * width + column
            if i not in used and other not in used:
                used |= {i, other}
                expected += [i, other]
        alone = [i for i in range(n) if i not in used]
        found = pair(jnp.int32(epoch))
        np.testing.assert_array_equal(found.order, expected + alone)
        assert int(found.met) == len(expected) // 2


def test_a_grid_must_have_an_even_number_of_places():
    with pytest.raises(ValueError, match="height x width must be an even number of at least 2, got 3 x 5"):
        life.grid(3, 5)
    with pytest.raises(ValueError, match="reach must be a whole number of at least 1, got 0"):
        life.grid(4, 4, 0)
