"""The auxiliary quine: one network that replicates itself and classifies images (Chang & Lipson 2018).

The first half of the input is the address of a weight, the second half an image times a frozen random matrix. The first
output is the prediction of the weight, the others are the logits of the classes.

`paper_epoch` and `scale_free_epoch` return a step: one epoch. Its state is a `TrainState`, its info an `AuxiliaryInfo`.
Build steps inside jitted functions, from an `Auxiliary` and `Images` that are arguments of these: arrays that a jitted
function closes over become constants of the program.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator import networks
from neuralmutator.core import Step
from neuralmutator.networks import Activation, Network
from neuralmutator.quine.measures import Replication, replication
from neuralmutator.quine.network import Quine, from_network, random_projection
from neuralmutator.quine.training import TrainState, check_batch_size, descend, mini_batches


@flax.struct.dataclass
class Auxiliary:
    """A quine with a task; a pytree. Pass it to jitted functions as an argument."""

    quine: Quine  # predicts the weights; its addresses are zero in the half of the input that is for images
    projection: jax.Array  # f32[pixels, D / 2] frozen
    network: Network = flax.struct.field(pytree_node=False)  # f32[D] -> f32[1 + classes]
    sizes: tuple[int, ...] = flax.struct.field(pytree_node=False)  # D, hidden layers …, 1 + classes

    @property
    def num_params(self) -> int:
        """Number of weights, N."""
        return self.network.num_params

    def renumbered(self, numbering: jax.Array) -> "Auxiliary":
        """See `Quine.renumbered`."""
        return dataclasses.replace(self, quine=self.quine.renumbered(numbering))

    def embed(self, images: jax.Array) -> jax.Array:
        """Images f32[B, pixels] of 0 to 1 as inputs f32[B, D] without an address."""
        seen = images @ self.projection
        return jnp.pad(seen, ((0, 0), (self.quine.addresses.shape[1] - seen.shape[1], 0)))

    def outputs(self, params: jax.Array, inputs: jax.Array) -> jax.Array:
        """Weight and logits f32[B, 1 + classes] for inputs f32[B, D]."""
        return jax.vmap(self.network.apply, (None, 0))(params, inputs)

    def classify(self, params: jax.Array, images: jax.Array) -> jax.Array:
        """Logits f32[B, classes] of images f32[B, pixels]."""
        return self.outputs(params, self.embed(images))[:, 1:]

    def accuracy(self, params: jax.Array, images: jax.Array, labels: jax.Array) -> jax.Array:
        """Share of images whose largest logit is that of their label, f32[]."""
        return jnp.mean(jnp.argmax(self.classify(params, images), axis=1) == labels, dtype=jnp.float32)

    def unexplained(self, params: jax.Array) -> dict[str, jax.Array]:
        """The unexplained share of every weight matrix, |prediction - matrix|² / |matrix|², by name; f32[] each.

        "replicate" and "classify" are the first and the other columns of the last matrix.
        """
        error = self._parts((self.quine.predict(params) - params) ** 2)
        size = self._parts(params**2)
        return {name: jnp.sum(error[name]) / jnp.sum(size[name]) for name in size}

    def _parts(self, values: jax.Array) -> dict[str, jax.Array]:
        """Splits one value per weight, f32[N], by weight matrix."""
        ends = np.cumsum([a * b for a, b in itertools.pairwise(self.sizes)])[:-1].tolist()
        *layers, heads = jnp.split(values, ends)
        heads = heads.reshape(-1, self.sizes[-1])
        named = {f"layer {i + 1}": layer for i, layer in enumerate(layers)}
        return named | {"replicate": heads[:, 0], "classify": heads[:, 1:]}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.sizes[-1] - 1


def auxiliary(
    key: jax.Array,
    pixels: int,
    classes: int = 10,
    hidden: Sequence[int] = (100, 100),
    activation: Activation = jax.nn.selu,
    std: float = 0.1,
    image_std: float = 0.14,
    width: int = 100,
) -> Auxiliary:
    """A quine that also classifies images; by default the paper's, with 21,100 weights.

    Args:
        key: draws the addresses and the projection of images.
        pixels: numbers in an image.
        classes: number of labels.
        hidden: widths of the hidden layers.
        activation: between the layers.
        std: standard deviation of the addresses, see `random_projection`.
        image_std: standard deviation of the projection of images.
        width: numbers in an input, half of them for the address and half for the image.

    Raises:
        ValueError: if a size is out of range.
    """
    for name, value, least in (("pixels", pixels, 1), ("classes", classes, 2), ("width", width, 2)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    key_address, key_image = jax.random.split(key)
    network = networks.mlp(width, 1 + classes, hidden, activation, bias=False)
    addresses = random_projection(width // 2, std).table(key_address, network.num_params)
    only_weight = network._replace(apply=lambda params, x: network.apply(params, x)[:1])
    return Auxiliary(
        quine=from_network(only_weight, jnp.pad(addresses, ((0, 0), (0, width - width // 2))), degree=len(hidden) + 1),
        projection=image_std * jax.random.normal(key_image, (pixels, width - width // 2)),
        network=network,
        sizes=(width, *hidden, 1 + classes),
    )


class AuxiliaryInfo(NamedTuple):
    """One epoch of an auxiliary quine."""

    replication: Replication
    loss: jax.Array  # f32[] what is minimised, mean over the epoch
    accuracy: jax.Array  # f32[] on the test images


class Images(NamedTuple):
    """Images with labels, train and test."""

    train: jax.Array  # f32[n, pixels] of 0 to 1
    train_labels: jax.Array  # i32[n]
    test: jax.Array
    test_labels: jax.Array


def cross_entropy(logits: jax.Array, labels: jax.Array, temperature: float) -> jax.Array:
    """Mean cross-entropy f32[] of softmax(logits / temperature)."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits / temperature, labels))


def paper_epoch(
    auxiliary: Auxiliary,
    images: Images,
    optimizer: optax.GradientTransformation,
    batch_size: int = 10,
    task_weight: float = 0.01,
    temperature: float = 0.01,
    replicate: bool = True,
) -> Step:
    """One epoch of the paper's recipe: squared error of the weights + task_weight · cross-entropy.

    Mini-batches pair all coordinates, once each, with random images; each input holds both. The targets are the weights
    at the start of the epoch.

    Args:
        auxiliary: the network.
        images: train and test images.
        optimizer: of the weights.
        batch_size: coordinates, and images, in a mini-batch.
        task_weight: λ.
        temperature: of the softmax.
        replicate: whether to train replication; if False, the task only.

    Raises:
        ValueError: unless `batch_size` is a whole number from 1 to the number of weights.
    """
    check_batch_size(batch_size, auxiliary.num_params)

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, AuxiliaryInfo]:
        targets = state.params
        key_order, key_images = jax.random.split(key)
        order, counts = mini_batches(key_order, auxiliary.num_params, batch_size)
        drawn = jax.random.randint(key_images, order.shape, 0, images.train.shape[0])

        def loss(params: jax.Array, coordinates: jax.Array, count: jax.Array, which: jax.Array) -> jax.Array:
            inputs = auxiliary.embed(images.train[which])
            if replicate:
                inputs = inputs + auxiliary.quine.addresses[coordinates]
            outputs = auxiliary.outputs(params, inputs)
            task = task_weight * cross_entropy(outputs[:, 1:], images.train_labels[which], temperature)
            error = count * (outputs[:, 0] - targets[coordinates]) ** 2
            return task + replicate * jnp.sum(error) / jnp.sum(count)

        state, losses = jax.lax.scan(
            lambda state, batch: descend(loss, optimizer, state, *batch), state, (order, counts, drawn)
        )
        return state, _info(auxiliary, images, state.params, jnp.mean(losses))

    return step


def scale_free_epoch(
    auxiliary: Auxiliary,
    images: Images,
    optimizer: optax.GradientTransformation,
    weight: float | jax.Array = 10.0,
    temperature: float = 0.1,
    batch_size: int = 500,
    updates: int = 20,
) -> Step:
    """One epoch of gradient descent on ``weight · share + cross-entropy``.

    `share` is the unexplained share of the weights: the mean of two numbers, the share of the whole network (every
    weight counts the same) and the mean share of its matrices (every matrix counts the same). Smaller weights do not
    have a smaller share. The gradient passes through the weights both as predictors and as targets. Every update uses
    all coordinates and a batch of images, in separate inputs.

    Args:
        auxiliary: the network.
        images: train and test images.
        optimizer: of the weights.
        weight: of replication.
        temperature: of the softmax.
        batch_size: images in an update.
        updates: per epoch.
    """

    def loss(params: jax.Array, which: jax.Array) -> jax.Array:
        shares = auxiliary.unexplained(params)
        whole = jnp.sum((auxiliary.quine.predict(params) - params) ** 2) / jnp.sum(params**2)
        share = (whole + jnp.mean(jnp.array(list(shares.values())))) / 2
        logits = auxiliary.classify(params, images.train[which])
        return weight * share + cross_entropy(logits, images.train_labels[which], temperature)

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, AuxiliaryInfo]:
        drawn = jax.random.randint(key, (updates, batch_size), 0, images.train.shape[0])
        state, losses = jax.lax.scan(lambda state, which: descend(loss, optimizer, state, which), state, drawn)
        return state, _info(auxiliary, images, state.params, jnp.mean(losses))

    return step


def _info(auxiliary: Auxiliary, images: Images, params: jax.Array, loss: Any) -> AuxiliaryInfo:
    return AuxiliaryInfo(
        replication(params, auxiliary.quine.predict(params)),
        loss,
        auxiliary.accuracy(params, images.test, images.test_labels),
    )
