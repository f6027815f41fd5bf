import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca, rollout


def test_a_gradient_of_length_one():
    cells = jax.random.normal(jax.random.key(0), (3, 4, 2))
    np.testing.assert_array_equal(nca.unit_gradient(cells), cells)
    gradient = jax.grad(lambda cells: jnp.sum(nca.unit_gradient(cells) ** 3))(cells)
    expected = 3 * np.asarray(cells) ** 2
    np.testing.assert_allclose(gradient, expected / np.linalg.norm(expected), rtol=1e-5)


def test_a_tamed_automaton_updates_as_before_and_its_gradient_neither_grows_nor_fades():
    automaton = nca.micro(4)
    params = 0.05 * jax.random.normal(jax.random.key(0), (68,))
    cells = automaton.start(jax.random.key(1), (8, 8))

    def end(automaton, cells, length):
        return rollout(automaton.step(params), jax.random.key(2), cells, length)[0]

    np.testing.assert_allclose(end(nca.tamed(automaton), cells, 5), end(automaton, cells, 5), rtol=1e-5)

    def size(automaton, length):
        gradient = jax.grad(lambda cells: jnp.mean(end(automaton, cells, length) ** 2))(cells)
        return float(jnp.linalg.norm(gradient))

    plain, tame = ([size(a, length) for length in (1, 20)] for a in (automaton, nca.tamed(automaton)))
    assert not 1 / 3 < plain[1] / plain[0] < 3
    assert 1 / 3 < tame[1] / tame[0] < 3


def test_a_tamed_automaton_is_tame_also_where_few_cells_are_computed():
    automaton = nca.growing(channels=5, hidden=6)
    params = 0.3 * jax.random.normal(jax.random.key(0), (automaton.num_params,))
    grid = jnp.zeros((9, 9, 5)).at[3:6, 3:6].set(0.5)

    def sized(tamed):
        def loss(grid):
            return 1e4 * jnp.sum(nca.develop(tamed, jax.random.key(1), params, grid, jnp.int32(1), 1).cells)

        return float(jnp.linalg.norm(jax.grad(loss)(grid)))

    assert sized(automaton) > 1e4 and sized(nca.tamed(automaton)) < 100
