import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.core.genome import Genome, chunks, flatten, is_finite, take, unflatten


def numbered(policy=5, mutator=3, compat=2):
    return Genome(
        policy=jnp.arange(policy, dtype=jnp.float32),
        mutator=100 + jnp.arange(mutator, dtype=jnp.float32),
        compat=200 + jnp.arange(compat, dtype=jnp.float32),
        topology=jnp.array([8, 0], jnp.int32),
        structural_rate=jnp.float32(0.05),
    )


def test_flat_order_is_policy_mutator_compat():
    np.testing.assert_array_equal(flatten(numbered()), [0, 1, 2, 3, 4, 100, 101, 102, 200, 201])


def test_unflatten_puts_every_part_back_and_keeps_the_rest():
    genome = numbered()
    moved = unflatten(flatten(genome) + 0.5, genome)
    np.testing.assert_array_equal(moved.policy, genome.policy + 0.5)
    np.testing.assert_array_equal(moved.mutator, genome.mutator + 0.5)
    np.testing.assert_array_equal(moved.compat, genome.compat + 0.5)
    assert moved.topology is genome.topology
    assert moved.structural_rate is genome.structural_rate


def test_empty_parts_survive():
    genome = numbered(mutator=0, compat=0)
    back = unflatten(flatten(genome), genome)
    assert [x.size for x in back[:3]] == [5, 0, 0]


@pytest.mark.parametrize(("n", "size"), [(1, 1), (1, 16), (15, 16), (16, 16), (17, 16), (40, 7)])
def test_chunks_pad_the_tail_with_zeros(n, size):
    pieces = np.asarray(chunks(jnp.arange(1, n + 1), size))
    rows = -(-n // size)
    assert pieces.shape == (rows, size)
    for i in range(rows * size):
        assert pieces[i // size, i % size] == (i + 1 if i < n else 0)


def test_take_selects_members_of_every_field():
    population = jax.tree.map(lambda x: jnp.stack([x, x + 1, x + 2]), numbered())
    chosen = take(population, jnp.array([2, 0, 2, 1]))
    for field, original in zip(chosen, population, strict=True):
        np.testing.assert_array_equal(field, np.asarray(original)[[2, 0, 2, 1]])


def test_parameters_of_low_precision_are_flattened_in_f32_and_come_back_as_they_were():
    low = Genome(
        jnp.array([1.5, -2.0], jnp.bfloat16), jnp.array([0.1]), jnp.zeros(0), jnp.zeros(0, jnp.int32), jnp.float32(0)
    )
    flat = flatten(low)
    assert flat.dtype == jnp.float32
    np.testing.assert_array_equal(flat, np.array([1.5, -2.0, 0.1], np.float32))
    back = unflatten(flat + 0.25, low)
    assert back.policy.dtype == jnp.bfloat16 and back.mutator.dtype == jnp.float32
    np.testing.assert_array_equal(back.policy.astype(jnp.float32), [1.75, -1.75])


@pytest.mark.parametrize("part", ["policy", "mutator", "compat"])
@pytest.mark.parametrize("value", [jnp.inf, -jnp.inf, jnp.nan])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_genome_is_finite_if_all_its_parameters_are(part, value, dtype):
    largest = jnp.full((3, 19), jnp.finfo(dtype).max, dtype)  # whose sum is not finite
    population = Genome(*[largest] * 3, jnp.zeros((3, 0), jnp.int32), jnp.zeros(3))
    broken = population._replace(**{part: largest.at[1, 17].set(value)})
    for function in (is_finite, jax.jit(is_finite)):
        np.testing.assert_array_equal(function(broken), [True, False, True])
        assert bool(function(jax.tree.map(lambda x: x[0], broken)))
