import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import fitness
from neuralmutator.core import evaluate
from neuralmutator.core.genome import Genome, take

GENOME = Genome(jnp.array([1.0, 2.0]), *[jnp.zeros(0)] * 2, jnp.zeros(0, jnp.int32), jnp.float32(0))
KEY = jax.random.key(0)


def total(key, genome):
    return jnp.sum(genome.policy)


def largest(key, genome):
    return jnp.max(genome.policy), {"steps": 7}


def lucky(key, genome):
    return jax.random.normal(key), {"draws": 1}


def test_a_weighed_sum_with_all_infos():
    value, info = fitness.combine([total, largest], [2.0, -0.5])(KEY, GENOME)
    assert float(value) == 2 * 3 - 0.5 * 2
    assert info == {"steps": 7}


def test_weights_are_one_by_default_and_infos_merge():
    value, info = fitness.combine([total, largest, lucky])(KEY, GENOME)
    np.testing.assert_allclose(value, 5 + jax.random.normal(jax.random.split(KEY, 3)[2]))
    assert info == {"steps": 7, "draws": 1}


def test_infos_of_equal_names_are_added():
    """Steps of two tasks are the steps of both, whatever the weights."""
    other = lambda key, genome: (genome.policy[0], {"steps": 10, "seen": jnp.ones(2)})  # noqa: E731
    both = fitness.combine([largest, other], [3.0, 0.0])
    assert both(KEY, GENOME)[1]["steps"] == 17
    population = jax.tree.map(lambda x: jnp.stack([x, x, x]), GENOME)
    _, info = evaluate(both, KEY, population)
    assert info["steps"] == 51
    np.testing.assert_array_equal(info["seen"], [3, 3])
    wrong = lambda key, genome: (genome.policy[0], {"steps": jnp.ones(2)})  # noqa: E731
    with pytest.raises(ValueError, match=r"one shape, got 'steps' of \(\) and \(2,\)"):
        fitness.combine([largest, wrong])(KEY, GENOME)


def test_every_function_has_a_key_of_its_own():
    assert float(fitness.combine([lucky, lucky], [1, -1])(KEY, GENOME)[0]) != 0


def test_one_function_of_weight_zero_does_not_count():
    assert float(fitness.combine([total, lucky], [1, 0])(KEY, GENOME)[0]) == 3


@pytest.mark.parametrize("own", [False, True])
def test_a_population_is_worth_what_its_members_are_alone(own):
    population = jax.tree.map(lambda x: jnp.stack([x, 2 * x, -x]), GENOME)
    keys = jax.random.split(KEY, 3) if own else KEY
    score = fitness.combine([total, lucky], [0.5, 2])
    values, info = score.many(keys, population, 2)
    want = [score(keys[i] if own else keys, take(population, i))[0] for i in range(3)]
    np.testing.assert_allclose(values, want, rtol=1e-6)
    assert info["draws"].shape == (3,)


def test_functions_that_know_how_are_asked_for_whole_populations():
    class Knows:
        def __call__(self, key, genome):
            raise AssertionError

        def many(self, keys, population, block_size):
            return population.policy[:, 0] * block_size, {}

    population = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), GENOME)
    values, _ = evaluate(fitness.combine([Knows(), total]), KEY, population, 10)
    np.testing.assert_allclose(values, [10 + 3, 20 + 6])


@pytest.mark.parametrize(
    ("functions", "weights", "message"),
    [
        ([], None, "0 functions"),
        ([total], [1.0, 2.0], "1 functions, 2 weights"),
        ([total, largest], [1.0], "2 functions, 1 weights"),
        ([total], [float("nan")], "weights must be a finite number, got nan"),
        ([total], [float("inf")], "weights must be a finite number, got inf"),
    ],
)
def test_errors_name_the_field_and_the_value(functions, weights, message):
    with pytest.raises(ValueError, match=message):
        fitness.combine(functions, weights)
