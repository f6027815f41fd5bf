import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from neuralmutator import chemistry, rollout
from neuralmutator.chemistry import fit, positive, prune, trainer

TABLE = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)
TRUE = jnp.array([0.8, 0.3, 0.0, 0.0])


def loss(key, numbers):
    """A stand-in for a network that compiles at once; the slow tests of tasks train real ones."""
    return jnp.mean((TABLE @ (numbers - TRUE)) ** 2)


def test_numbers_are_exponentials_and_zero_where_taken_out():
    np.testing.assert_allclose(positive(jnp.array([0.0, 1.0, -1.0])), np.exp([0, 1, -1]), rtol=1e-6)
    state = trainer(loss, 4).init(jnp.array([0.5, 0.0, 2.0, 1.0]))
    assert state.kept.tolist() == [True, False, True, True]
    np.testing.assert_allclose(state.numbers, [0.5, 0, 2, 1], rtol=1e-6)


def test_a_step_is_one_of_the_optimiser_on_logarithms():
    numbers = jnp.array([0.5, 0.5, 0.1, 0.1])
    pair = trainer(loss, 4, optax.sgd(0.5), price=0.01)
    state, info = pair.step(jax.random.key(0), pair.init(numbers))
    slope = jax.grad(lambda rates: loss(None, rates) + 0.01 * jnp.sum(rates))(numbers) * numbers
    np.testing.assert_allclose(state.params, jnp.log(numbers) - 0.5 * slope, rtol=1e-4)
    np.testing.assert_allclose(info.loss, loss(None, numbers), rtol=1e-6)
    assert not info.skipped


def test_what_is_taken_out_stays_out():
    pair = trainer(loss, 4, chemistry.descent(0.1))
    state, _ = jax.jit(lambda: rollout(pair.step, jax.random.key(0), pair.init(jnp.array([1.0, 0, 1, 1])), 5))()
    assert state.numbers[1] == 0 and (state.numbers[jnp.array([0, 2, 3])] > 0).all()


def test_a_gradient_that_is_not_finite_changes_nothing():
    pair = trainer(lambda key, numbers: jnp.exp(1e3 * numbers[0]), 1)
    before = pair.init(jnp.ones(1))
    after, info = pair.step(jax.random.key(0), before)
    assert info.skipped
    np.testing.assert_array_equal(after.params, before.params)
    jax.tree.map(np.testing.assert_array_equal, after.optimizer.inner_state, before.optimizer.inner_state)


def test_rates_are_learnt_and_needless_reactions_pruned():
    pair = trainer(loss, 4, chemistry.descent(0.05, 300), price=1e-4)
    numbers, info = fit(pair, jax.random.key(0), jnp.full(4, 0.4), 300)
    assert info.loss[-1] < 2e-2 * info.loss[0] and not info.skipped.any()
    judge = lambda numbers: loss(None, numbers) + 1e-5  # noqa: E731
    again = trainer(loss, 4, chemistry.descent(0.03, 300))
    found = prune(again, judge, jax.random.key(1), numbers, 4, 300)
    assert (np.asarray(found.numbers) > 0).tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.numbers[:2], TRUE[:2], rtol=0.03)
    assert found.loss <= 1.1 * found.unpruned == pytest.approx(1.1 * float(judge(numbers)))
    assert found.loss == pytest.approx(float(judge(found.numbers)), rel=1e-3)
    assert found.path[-1][0] == 1 and found.path[-1][1] > 1.1 * found.unpruned


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: trainer(loss, 0), "reactions must be a whole number of at least 1, got 0"),
        (lambda: trainer(loss, 4, price=-1), "price must be a finite number of at least 0, got -1"),
        (lambda: trainer(loss, 4).init(jnp.ones(3)), r"numbers must have shape (P,), P at least 4, got (3,)"),
        (lambda: trainer(loss, 1).init(jnp.array([1, -2.0])), "numbers must be finite and at least 0, got -2"),
        (lambda: chemistry.descent(0), "learning_rate must be a finite number above 0, got 0"),
        (
            lambda: prune(trainer(loss, 4), jnp.sum, jax.random.key(0), jnp.ones(4), 4, 5, tolerance=-1),
            "tolerance must be a finite number of at least 0, got -1",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == said
