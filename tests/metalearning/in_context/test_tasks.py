import jax
import numpy as np
import pytest

from neuralmutator.metalearning import in_context


def test_tasks_are_linear_and_hide_the_answer():
    draw = in_context.linear_tasks(dim=3, pairs=5, span=4.0, spread=2.0)
    tokens, answers = map(np.asarray, jax.jit(lambda key: draw(key, 4000))(jax.random.key(0)))
    assert tokens.shape == (4000, 6, 4) and (tokens[:, -1, -1] == 0).all()
    w = np.linalg.lstsq(tokens[0, :-1, :-1], tokens[0, :-1, -1], rcond=None)[0]
    np.testing.assert_allclose(tokens[0, -1, :-1] @ w, answers[0], rtol=1e-4)
    assert np.abs(tokens[..., :-1]).max() <= 2
    np.testing.assert_allclose(np.var(tokens[..., :-1]), 16 / 12, rtol=0.02)
    np.testing.assert_allclose(np.var(answers), 3 * 4 * 16 / 12, rtol=0.15)


def test_sines_have_the_papers_amplitudes():
    tokens, answers = map(np.asarray, jax.jit(lambda key: in_context.sine_tasks()(key, 4000))(jax.random.key(0)))
    assert tokens.shape == (4000, 11, 2) and np.abs(tokens[..., 0]).max() <= 5
    # The mean square of a sine over some periods is a² / 2, and E a² = (0.5³ - 0.1³) / (3 · 0.4).
    np.testing.assert_allclose(np.mean(tokens[:, :-1, 1] ** 2), 0.124 / 1.2 / 2, rtol=0.06)
    assert 0.4 < np.abs(answers).max() <= 0.5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: in_context.linear_tasks(pairs=0), "pairs must be a whole number of at least 1, got 0"),
        (lambda: in_context.linear_tasks(span=0), "span must be a finite number above 0, got 0"),
        (lambda: in_context.sine_tasks(least=0.5, most=0.1), "most must be a finite number of at least 0.5, got 0.1"),
        (
            lambda: in_context.task_loss(in_context.linear_attention(), in_context.linear_tasks(), 0),
            "batch must be a whole number",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
