import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.core import check


@pytest.mark.parametrize("value", [2, 7, np.int64(3)])
def test_whole_numbers_pass(value):
    check.whole(2, size=value)


@pytest.mark.parametrize("value", [1, 2.0, True, "3", None, np.float32(4)])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ValueError, match=r"size must be a whole number of at least 2, got "):
        check.whole(2, size=value)


@pytest.mark.parametrize(
    ("limits", "value", "said"),
    [
        ((0,), -1, "rate must be a finite number of at least 0, got -1"),
        ((0,), float("inf"), "rate must be a finite number of at least 0, got inf"),
        ((0,), float("nan"), "rate must be a finite number of at least 0, got nan"),
        ((0,), "a", "rate must be a finite number of at least 0, got 'a'"),
        ((0, 1), 1.5, "rate must lie between 0 and 1, got 1.5"),
        ((-float("inf"),), float("nan"), "rate must be a finite number, got nan"),
    ],
)
def test_numbers_out_of_bounds_are_refused(limits, value, said):
    with pytest.raises(ValueError) as error:
        check.number(*limits, rate=value)
    assert str(error.value) == said


def test_an_open_bound_is_excluded():
    check.number(0, 1, open_low=True, share=1.0)
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], got 0"):
        check.number(0, 1, open_low=True, share=0)
    with pytest.raises(ValueError, match=r"width must be a finite number above 0, got 0"):
        check.number(0, open_low=True, width=0)


def test_traced_values_pass():
    def checked(x):
        check.number(0, 1, rate=x)
        return x

    assert jax.vmap(checked)(jnp.array([0.5, 7.0])).tolist() == [0.5, 7.0]


def test_names_are_chosen_from_a_list():
    check.one_of(("a", "b"), kind="a")
    with pytest.raises(ValueError, match=r"kind must be one of a, b, got 'c'"):
        check.one_of(("a", "b"), kind="c")


@pytest.mark.parametrize("value", [0, 1])
def test_both_bounds_may_be_open(value):
    check.number(0, 1, open_low=True, open_high=True, p=0.5)
    with pytest.raises(ValueError, match=rf"p must lie in \(0, 1\), got {value}"):
        check.number(0, 1, open_low=True, open_high=True, p=value)


def test_keys():
    check.random_key(key=jax.random.key(0))
    jax.eval_shape(lambda: check.random_key(key=jax.random.key(0)))
    for value in (0, None, jnp.zeros(2, jnp.uint32)):
        with pytest.raises(ValueError, match=r"key must come from jax\.random\.key, got"):
            check.random_key(key=value)
