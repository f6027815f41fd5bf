import jax
import numpy as np
import pytest

from neuralmutator.metalearning import message_passing as mp

SMALL = {"message": 3, "hidden": 2, "widths": (6, 5)}
AGENTS = mp.agents((2, 4, 3), "tanh", **SMALL)


def test_a_spread_start_spreads_the_first_layer():
    start = mp.spread_start((1, 4000, 3, 1), slope=2.0, reach=3.0, std=0.1)
    weights, biases = start(jax.random.key(0))
    for array, std in ((weights[0], 2), (biases[0], 3), (weights[1], 0.1)):
        np.testing.assert_allclose(np.std(array), std, rtol=0.05)
    assert not biases[1].any() and not biases[2].any()
    learner = mp.agents((1, 4000, 3, 1), start=start, **SMALL).begin(jax.random.key(0), 2)
    np.testing.assert_array_equal(learner.biases[0], biases[0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: AGENTS.begin(jax.random.key(0), 0), "batch must be a whole number of at least 1, got 0"),
        (
            lambda: mp.spread_start((1, 1)),
            "sizes must hold an input, a hidden layer and an output at least, got (1, 1)",
        ),
        (lambda: mp.spread_start((1, 2, 1), std=-1), "std must be a finite number of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
