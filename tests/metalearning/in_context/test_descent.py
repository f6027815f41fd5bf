import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.metalearning import in_context

NOTHING = in_context.Tasks(jnp.zeros((1, 2, 11)), jnp.zeros(1))


def test_a_closed_form_is_the_papers_and_that_of_monte_carlo(linear_in_numpy):
    rate, loss = in_context.optimal_step()
    assert rate == pytest.approx(6.0606, abs=1e-4) and loss == pytest.approx(0.206229, abs=1e-6)
    rate, loss = in_context.optimal_step(dim=2, pairs=3, span=2.0, spread=0.5)
    network = in_context.gradient_descent(2)
    found = in_context.tune(network, linear_in_numpy(200_000, 2, 3, 2.0, 0.5), [0.0], [5.0])
    np.testing.assert_allclose(found.params[0], rate, rtol=0.02)
    np.testing.assert_allclose(found.loss, loss, rtol=0.01)
    # Where the inputs are far more than their dimensions, one step solves the task.
    assert in_context.optimal_step(dim=1, pairs=10**6)[1] < 1e-7


def test_a_scan_finds_the_best_pair_of_numbers(tasks):
    network = in_context.gd_plus_plus(steps=2)
    found = in_context.tune(network, tasks, [0.0, 0.0], [30.0, 5.0], points=8, rounds=3)
    loss = jax.jit(lambda params: in_context.mean_loss(network, params, tasks))
    np.testing.assert_allclose(found.loss, loss(found.params), rtol=1e-5)
    for change in np.array([[0.5, 0], [-0.5, 0], [0, 0.1], [0, -0.1]], np.float32):
        assert found.loss <= loss(found.params + change)
    plain = in_context.tune(in_context.gradient_descent(steps=2), tasks, [0.0], [20.0])
    assert found.loss < plain.loss


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: in_context.gradient_descent(steps=0), "steps must be a whole number of at least 1, got 0"),
        (
            lambda: in_context.gd_plus_plus(3).apply(jnp.zeros(2), jnp.zeros((5, 3))),
            "tokens must have shape (N + 1, 4) with at least 1 pair, got (5, 3)",
        ),
        (lambda: in_context.optimal_step(span=-1), "span must be a finite number above 0, got -1"),
        (
            lambda: in_context.tune(in_context.gd_plus_plus(), NOTHING, [0.0], [1.0]),
            "low and high must have shape (2,), got (1,) and (1,)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
