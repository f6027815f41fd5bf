import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from neuralmutator import quine, rollout
from neuralmutator.quine.classifier import cross_entropy

KEY = jax.random.key(5)


def two_blobs(n=200):
    """Images of four pixels: bright on the left, or on the right."""
    labels = jax.random.bernoulli(KEY, 0.5, (n,)).astype(jnp.int32)
    bright = jnp.where(labels[:, None] == 0, jnp.array([0.9, 0.8, 0.1, 0.1]), jnp.array([0.1, 0.1, 0.8, 0.9]))
    images = jnp.clip(bright + 0.1 * jax.random.normal(jax.random.key(6), (n, 4)), 0, 1)
    return quine.Images(images[50:], labels[50:], images[:50], labels[:50])


def small():
    return quine.auxiliary(KEY, pixels=4, classes=2, hidden=(12, 12), activation=quine.leaky_relu, width=12, std=0.1)


def test_the_papers_network_has_21100_weights():
    network = quine.auxiliary(KEY, pixels=784)
    assert network.num_params == 21_100 and network.quine.num_params == 21_100 and network.classes == 10
    assert network.quine.addresses.shape == (21_100, 100) and network.projection.shape == (784, 50)


def test_outputs_against_numpy():
    network, images = small(), two_blobs()
    params = network.quine.init(jax.random.key(1))
    w = np.asarray(params, np.float64)
    a, b, c = w[:144].reshape(12, 12), w[144:288].reshape(12, 12), w[288:].reshape(12, 3)

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    def forward(x):
        return leaky(leaky(x @ a) @ b) @ c

    seen = np.concatenate([np.zeros((50, 6)), np.asarray(images.test) @ np.asarray(network.projection)], axis=1)
    np.testing.assert_allclose(network.classify(params, images.test), forward(seen)[:, 1:], atol=1e-5)
    addresses = np.asarray(network.quine.addresses, np.float64)
    assert (addresses[:, 6:] == 0).all()
    predictions = forward(addresses)[:, 0]
    np.testing.assert_allclose(network.quine.predict(params), predictions, atol=1e-5)
    error, size = (predictions - w) ** 2, w**2
    shares = network.unexplained(params)
    assert list(shares) == ["layer 1", "layer 2", "replicate", "classify"]
    assert float(shares["layer 2"]) == pytest.approx(error[144:288].sum() / size[144:288].sum(), rel=1e-4)
    heads = np.s_[288:]
    replicate = error[heads].reshape(12, 3)[:, 0].sum() / size[heads].reshape(12, 3)[:, 0].sum()
    classify = error[heads].reshape(12, 3)[:, 1:].sum() / size[heads].reshape(12, 3)[:, 1:].sum()
    assert float(shares["replicate"]) == pytest.approx(replicate, rel=1e-4)
    assert float(shares["classify"]) == pytest.approx(classify, rel=1e-4)


def test_cross_entropy_is_that_of_a_softmax_with_temperature():
    logits, labels = np.array([[0.1, 0.3, 0.2], [0.5, 0.1, 0.0]]), np.array([1, 2])
    p = np.exp(logits / 0.1)
    expected = -np.mean(np.log((p / p.sum(axis=1, keepdims=True))[np.arange(2), labels]))
    assert float(cross_entropy(jnp.array(logits), jnp.array(labels), 0.1)) == pytest.approx(expected, rel=1e-5)


def test_the_papers_recipe_classifies_and_does_not_replicate():
    network, images, optimizer = small(), two_blobs(), quine.OPTIMIZERS["adamax"]
    step = quine.paper_epoch(network, images, optimizer)
    state = quine.init_train_state(network.quine.init(KEY), optimizer)
    state, infos = jax.jit(lambda state: rollout(step, KEY, state, 60))(state)
    assert infos.accuracy[-1] > 0.95
    assert infos.replication.unexplained[-1] > 0.5


def test_from_an_exact_quine_it_does_both():
    network, images = small(), two_blobs()
    found = jax.jit(quine.exact)(network.quine, network.quine.init(jax.random.key(2)))
    assert found.relative_error < 1e-6
    optimizer = optax.adam(2e-3)
    step = quine.scale_free_epoch(network, images, optimizer, weight=30.0, temperature=0.05, batch_size=100)
    state, infos = jax.jit(lambda state: rollout(step, KEY, state, 60))(quine.init_train_state(found.params, optimizer))
    assert infos.accuracy[-1] > 0.95
    assert infos.replication.unexplained[-1] < 0.05
    assert max(network.unexplained(state.params).values()) < 0.1
    assert infos.replication.norm[-1] > 0.5 * np.linalg.norm(found.params)


@pytest.mark.parametrize("epoch", [quine.paper_epoch, quine.scale_free_epoch])
def test_an_epoch_is_built_from_data_that_are_arguments(epoch):
    network, images, optimizer = small(), two_blobs(), optax.sgd(0.1)
    state = quine.init_train_state(network.quine.init(KEY), optimizer)

    def step(data, state):
        network, images = data
        return epoch(network, images, optimizer)(KEY, state)

    program = jax.make_jaxpr(step)((network, images), state)
    assert all(np.size(x) < network.num_params for x in program.consts)


@pytest.mark.parametrize(("field", "value"), [("pixels", 0), ("classes", 1), ("width", 1)])
def test_bad_sizes_get_one_line(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .* got {value}"):
        quine.auxiliary(KEY, **({"pixels": 4} | {field: value}))
