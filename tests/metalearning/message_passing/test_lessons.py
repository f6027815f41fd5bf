import jax
import numpy as np
import pytest

from neuralmutator.metalearning import message_passing as mp


def test_lessons_are_sines_and_keep_unseen_examples_apart():
    lesson = mp.sinusoids(steps=3, shots=4, unseen=50)(jax.random.key(0))
    assert lesson.x.shape == lesson.y.shape == (3, 4, 1) and lesson.unseen_x.shape == (50, 1)
    x = np.concatenate([np.ravel(lesson.x), np.ravel(lesson.unseen_x)])
    y = np.concatenate([np.ravel(lesson.y), np.ravel(lesson.unseen_y)])
    basis = np.stack([np.sin(x), np.cos(x)], 1)
    factors, *_ = np.linalg.lstsq(basis, y, rcond=None)
    np.testing.assert_allclose(basis @ factors, y, atol=1e-5)
    assert 0.1 <= np.hypot(*factors) < 0.5 and factors[1] >= -1e-6 and np.abs(x).max() <= 5

    table = np.arange(40.0)[:, None]
    lesson = mp.samples(table, table, steps=3, shots=8, unseen=16)(jax.random.key(1))
    np.testing.assert_array_equal(np.sort(np.concatenate([lesson.x.ravel(), lesson.unseen_x.ravel()])), table[:, 0])
    np.testing.assert_array_equal(lesson.x, lesson.y)


def test_digits_of_the_test_are_others():
    known, new = (mp.digits(steps=1, shots=4, unseen=300, test=test)(jax.random.key(0)) for test in (False, True))
    assert known.x.shape == (1, 4, 64) and known.y.shape == (1, 4, 10)
    np.testing.assert_array_equal(known.unseen_y.sum(1), 1)
    both = np.concatenate([known.unseen_x, new.unseen_x])
    assert len(np.unique(both, axis=0)) == 600


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mp.sinusoids(0), "steps must be a whole number of at least 1, got 0"),
        (lambda: mp.samples(np.ones((9, 2)), np.ones((9, 1)), 1, 5, 5), "x must hold at least 10 examples for a less"),
        (lambda: mp.samples(np.ones(9), np.ones((9, 1))), "x and y must have shapes (n, in) and (n, out), got (9,)"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
