"""Convolutional networks for observations that are images."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.networks.linen import from_flax, uniform_start
from neuralmutator.networks.network import Network

LARGE = 16  # pixels: the least height and width that four strided convolutions leave something of
HE = 6**0.5  # factor on U(-1, 1) / sqrt(fan_in) for a variance of 2 / fan_in, before a ReLU (He et al. 2015)
LECUN = 3**0.5  # factor for a variance of 1 / fan_in, before a tanh


class CNN(nn.Module):
    """The original's driver: four stride-2 convolutions (3→8→16→16→8, ReLU), then 288→32 (tanh)→act (tanh).

    It sees every channel of every image with mean 0 and variance 1; see `cnn`.
    """

    act: int

    @nn.compact
    def activations(self, image: jax.Array) -> tuple[jax.Array, ...]:
        """Outputs of every layer, the network's own output last."""
        x = image.astype(jnp.float32)
        # Rows first: a CPU adds rows of pixels as vectors, single pixels it does not.
        mean, square = (jnp.mean(jnp.mean(y, axis=0), axis=0) for y in (x, x**2))
        x = (x - mean) / (jnp.sqrt(jnp.maximum(square - mean**2, 0.0)) + 1)
        outputs = []
        for i, features in enumerate((8, 16, 16, 8)):
            x = nn.relu(nn.Conv(features, (4, 4), 2, 1, name=f"conv_{i}")(x))
            outputs.append(x)
        x = x.reshape(-1)
        for i, features in enumerate((32, self.act)):
            x = nn.tanh(nn.Dense(features, name=f"dense_{i}")(x))
            outputs.append(x)
        return tuple(outputs)

    def __call__(self, image: jax.Array) -> jax.Array:
        """Output f32[act] for an image u8[height, width, channels] of 0 to 255."""
        return self.activations(image)[-1]


class SmallCNN(nn.Module):
    """For images of a few pixels: a 3 x 3 convolution (8 features, ReLU, same size), then 32 (tanh) → act (linear).

    This is the shape of MinAtar's own networks (Young & Tian 2019, arXiv:1903.03176: 16 features, 128 units), smaller.
    The convolution is a product of patches with a matrix, because XLA's is slow where each of many images has a kernel
    of its own, as in a population.
    """

    act: int
    image: tuple[int, ...]  # height, width and, unless there is one, channels

    @nn.compact
    def activations(self, image: jax.Array) -> tuple[jax.Array, ...]:
        """Outputs of every layer, the network's own output last."""
        x = image.astype(jnp.float32) / (255 if image.dtype == jnp.uint8 else 1)
        height, width, *_ = self.image
        x = jnp.pad(x.reshape(height, width, -1), ((1, 1), (1, 1), (0, 0)))
        patches = jnp.concatenate([x[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=2)
        seen = nn.relu(nn.Dense(8, name="conv_0")(patches))
        hidden = nn.tanh(nn.Dense(32, name="dense_0")(seen.reshape(-1)))
        return seen, hidden, nn.Dense(self.act, name="dense_1")(hidden)

    def __call__(self, image: jax.Array) -> jax.Array:
        """Output f32[act] for an image [height, width] or [height, width, channels]."""
        return self.activations(image)[-1]


def cnn(act: int = 3, image: Sequence[int] = (96, 96, 3)) -> Network:
    """A policy that sees images, chosen to fit their size; parameters are f32.

    Images of at least 16 x 16 pixels get the pixel policy of the original program (17,971 parameters at the defaults,
    CarRacing-v3). Unlike the original's, each channel of an image is standardised (less its mean, over its standard
    deviation + 1, in units of 255ths), and the first weights are uniform of variance 2 / fan_in before a ReLU (He et
    al. 2015, arXiv:1502.01852) and 1 / fan_in before a tanh, with biases 0. With an image / 255 and U(-1, 1) /
    sqrt(fan_in), outputs of a fresh network have a std of 0.0007 over the frames of a drive; with these they have 0.14.
    Drivers of the former evolve to turn in circles whatever they see. Outputs lie in [-1, 1].

    Smaller images, such as those of MinAtar (10 x 10), Catch and DeepSea, get a `SmallCNN`, with first weights of the
    same variances. Pixels count as they are, or over 255 where they are u8. Outputs are linear.

    Args:
        act: number of outputs.
        image: shape of the observation: height, width and channels; a small one may have no axis of channels.

    Raises:
        ValueError: if a size is not a whole number of at least 1, or the shape is not that of an image.
    """
    shape = tuple(image)
    if len(shape) not in (2, 3):
        raise ValueError(f"image must be (height, width) or (height, width, channels), got {shape}")
    check.whole(1, act=act, **dict(zip(("height", "width", "channels"), shape, strict=False)))
    if min(shape[:2]) < LARGE:
        module, x = SmallCNN(act, shape), jnp.zeros(shape, jnp.float32)
        return uniform_start(from_flax(module, x), module, x, conv=HE, dense=LECUN, bias=0)
    if len(shape) == 2:
        raise ValueError(f"image must have channels where it measures at least {LARGE} x {LARGE} pixels, got {shape}")
    large, x = CNN(act), jnp.zeros(shape, jnp.uint8)
    return uniform_start(from_flax(large, x), large, x, conv=HE, dense=LECUN, bias=0)
