import jax.numpy as jnp
import numpy as np

from neuralmutator.metalearning import in_context


def test_a_comparison_in_numpy(tasks):
    """The sensitivity of one step of gradient descent is η/N Σ y x."""
    one, two = in_context.gradient_descent(), in_context.gradient_descent(steps=2)
    found = in_context.compare(one, jnp.array([4.0]), two, jnp.array([3.0]), tasks)
    tokens = np.asarray(tasks.tokens, np.float64)
    x, y = tokens[:, :-1, :-1], tokens[:, :-1, -1]
    first = 0.4 * np.einsum("bn,bnd->bd", y, x)
    moved = 0.3 * np.einsum("bn,bnd->bd", y, x)
    second = moved + 0.3 * np.einsum("bn,bnd->bd", y - np.einsum("bnd,bd->bn", x, moved), x)
    answers = [np.einsum("bd,bd->b", w, tokens[:, -1, :-1]) for w in (first, second)]
    lengths = [np.linalg.norm(w, axis=1) for w in (first, second)]
    np.testing.assert_allclose(found.loss, 0.5 * np.mean((answers[0] - tasks.answers) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.other_loss, 0.5 * np.mean((answers[1] - tasks.answers) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.difference, np.mean(np.abs(answers[0] - answers[1])), rtol=1e-4)
    np.testing.assert_allclose(found.cosine, np.mean(np.sum(first * second, 1) / lengths[0] / lengths[1]), rtol=1e-5)
    np.testing.assert_allclose(found.distance, np.mean(np.linalg.norm(first - second, axis=1)), rtol=1e-4)


def test_ratios_of_losses_beyond_the_training(linear_in_numpy):
    network, other = in_context.linear_attention(), in_context.gradient_descent()
    sets = linear_in_numpy(200), linear_in_numpy(200, span=2.0)
    found = in_context.loss_ratios(network, in_context.construction(6.0), other, jnp.array([6.0]), sets)
    np.testing.assert_allclose(found, 1, rtol=1e-5)
    assert in_context.loss_ratios(other, jnp.array([12.0]), other, jnp.array([6.0]), sets)[1] > 2
