import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks, quine

KEY = jax.random.key(4)


def selu(x):
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * np.where(x > 0, x, alpha * np.expm1(x))


def matrices(params, sizes):
    parts, start = [], 0
    for a, b in itertools.pairwise(sizes):
        parts.append(np.asarray(params, np.float64)[start : start + a * b].reshape(a, b))
        start += a * b
    assert start == params.size
    return parts


def test_the_papers_network_has_20100_weights():
    assert quine.vanilla(KEY).num_params == 20_100


def test_predictions_are_those_of_one_hot_vectors():
    """Every coordinate as a real one-hot vector, through the projection and the layers, one by one in NumPy."""
    q = quine.vanilla(KEY, hidden=(7, 5), encoding=quine.random_projection(6))
    params = 2 * q.init(jax.random.key(1))
    n = 6 * 7 + 7 * 5 + 5
    assert params.shape == (n,)
    w1, w2, w3 = matrices(params, (6, 7, 5, 1))
    expected = []
    for c in range(n):
        one_hot = np.zeros(n)
        one_hot[c] = 1.0
        expected.append((selu(selu(one_hot @ np.asarray(q.addresses, np.float64) @ w1) @ w2) @ w3)[0])
    np.testing.assert_allclose(q.predict(params), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(q.predict(params, jnp.array([3, 80, 3])), np.array(expected)[[3, 80, 3]], atol=1e-6)
    np.testing.assert_allclose(q.loss(params), np.sum((np.array(expected) - params) ** 2), rtol=1e-5)
    np.testing.assert_array_equal(q.regenerate(params), q.predict(params))


def test_initial_loss_is_the_papers():
    """90.16 in the paper; the choices that it leaves open are made such that ten seeds have a mean of 90 to 100."""

    def loss(key):
        key_quine, key_weights = jax.random.split(key)
        q = quine.vanilla(key_quine)
        return q.loss(q.init(key_weights))

    losses = jax.jit(jax.vmap(loss))(jax.random.split(jax.random.key(0), 10))
    assert 90 < losses.mean() < 100
    assert losses.min() > 75 and losses.max() < 130


def test_a_stack_of_quines_is_a_population():
    keys = jax.random.split(KEY, 3)
    stack = jax.vmap(lambda key: quine.vanilla(key, hidden=(4,), encoding=quine.random_projection(5)))(keys)
    params = jax.vmap(lambda q, key: q.init(key))(stack, keys)
    together = jax.vmap(lambda q, p: q.predict(p))(stack, params)
    alone = quine.vanilla(keys[1], hidden=(4,), encoding=quine.random_projection(5))
    np.testing.assert_allclose(together[1], alone.predict(params[1]), atol=1e-6)
    assert stack.num_params == 24 and together.shape == (3, 24)


@pytest.mark.parametrize(
    ("encoding", "width"),
    [(quine.raw_coordinate(), 1), (quine.fourier_features(8), 8), (quine.random_projection(3), 3)],
)
def test_every_encoding_gives_each_weight_its_address(encoding, width):
    q = quine.vanilla(KEY, hidden=(6,), encoding=encoding)
    assert q.addresses.shape == (6 * width + 6, width)
    assert len(np.unique(np.asarray(q.addresses), axis=0)) == q.num_params


def test_raw_coordinates_cannot_tell_neighbours_apart():
    """The paper's argument for one-hot coordinates: neighbours differ by a Lipschitz bound at most."""
    q = quine.vanilla(KEY, hidden=(100, 100), encoding=quine.raw_coordinate())
    params = q.init(KEY)
    predictions = np.asarray(q.predict(params))
    assert np.abs(np.diff(predictions)).max() < 0.05 * np.ptp(predictions)


def test_any_network_of_coordinates_is_a_quine():
    network = networks.mlp(3, 1, (4,))
    q = quine.from_network(network, jax.random.normal(KEY, (network.num_params, 3)))
    params = q.init(KEY)
    expected = [float(network.apply(params, address)[0]) for address in q.addresses]
    np.testing.assert_allclose(q.predict(params), expected, atol=1e-6)


def test_weightwise_reads_its_weights():
    """Gabor's 14 weights: the linear network by hand, with a weight and its place in each layer as its input."""
    q = quine.weightwise()
    params = q.init(KEY)
    a, b, c = matrices(params, (4, 2, 2, 1))
    expected = []
    for layer, matrix in enumerate((a, b, c)):
        for row in range(matrix.shape[0]):
            for column in range(matrix.shape[1]):
                place = [layer / 2, row / (matrix.shape[0] - 1), column / max(matrix.shape[1] - 1, 1)]
                expected.append((np.array([matrix[row, column], *place]) @ a @ b @ c)[0])
    assert q.num_params == 14
    np.testing.assert_allclose(q.predict(params), expected, atol=1e-6)
    other = jax.random.normal(jax.random.key(9), (14,))
    change = np.asarray(q.predict(params, read=other) - q.predict(params))
    np.testing.assert_allclose(change, (np.asarray(other) - params) * float((a @ b @ c)[0, 0]), atol=1e-5)


def test_the_copier_is_an_exact_weightwise_quine():
    """w → w, whatever stands where: the effective matrix is (1, 0, 0, 0)."""
    params = jnp.array([1.0, 0, 0, 0, 0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0])
    q = quine.weightwise()
    np.testing.assert_array_equal(q.predict(params), params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quine.from_network(networks.mlp(3, 2, (4,)), jnp.zeros((26, 3))), r"one output, got \(2,\)"),
        (lambda: quine.from_network(networks.mlp(3, 1, (4,)), jnp.zeros((20, 3))), r"\(21, D\).* got \(20, 3\)"),
        (lambda: quine.from_network(networks.mlp(3, 1, (4,)), jnp.zeros((21, 2))), "input of 2 numbers"),
        (lambda: quine.vanilla(KEY, hidden=(0,)), "hidden .* got 0"),
        (lambda: quine.random_projection(std=-1.0), "std .* got -1.0"),
        (lambda: quine.fourier_features(7), "even, got 7"),
        (lambda: quine.weightwise(width=1), "at least 2"),
    ],
)
def test_bad_input_gets_one_line(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)
