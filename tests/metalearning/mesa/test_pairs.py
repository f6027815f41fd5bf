import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.metalearning import mesa


def test_few_shot_pairs_teach_only_what_they_say():
    tasks = jax.jit(lambda key: mesa.few_shot(dim=4, pairs=8)(key, 30))(jax.random.key(0))
    x, y = np.asarray(tasks.inputs[0]), np.asarray(tasks.outputs[0])
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(x @ w, y, atol=0.1)
    np.testing.assert_allclose(w @ w.T, np.eye(4), atol=0.2)
    tokens = np.asarray(mesa.pair_tokens(x, y))
    np.testing.assert_array_equal(tokens[4], np.concatenate([np.zeros(4), x[2], x[2], np.zeros(4)]))
    np.testing.assert_array_equal(tokens[5], np.concatenate([np.zeros(4), y[2], y[2], x[2]]))
    np.testing.assert_array_equal(mesa.pair_states(x, y)[4:6], [x[2], y[2]])

    network = mesa.transformer([mesa.mesa()], dim=4)
    params = mesa.construction(network, dim=4, regularisation=0.01)
    errors = jax.jit(mesa.few_shot_errors, static_argnums=(0, 3))
    found = errors(network, params, tasks)
    expected = []
    for inputs, outputs in zip(*(np.asarray(part, np.float64) for part in tasks), strict=True):
        guesses = [np.zeros(4)]
        for t in range(1, 8):
            k, v = inputs[:t], outputs[:t]
            guesses.append(v.T @ k @ np.linalg.inv(k.T @ k + 0.01 * np.eye(4)) @ inputs[t])
        expected.append(0.5 * np.sum((np.array(guesses) - outputs) ** 2, axis=1))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(mesa.few_shot_ridge)(tasks, 0.01), np.mean(expected, axis=0), rtol=1e-3, atol=1e-5
    )
    # As one sequence every second pair is wrong.
    assert errors(network, params, tasks, False)[-1] > 5 * found[-1]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mesa.few_shot(pairs=0), "pairs must be a whole number of at least 1, got 0"),
        (
            lambda: mesa.pair_tokens(jnp.zeros((0, 10)), jnp.zeros((0, 10))),
            "inputs and outputs must have one shape (N, D) with N at least 1, got (0, 10) and (0, 10)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
