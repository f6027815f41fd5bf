"""Vanilla quines: networks that are trained only to predict their own weights (Chang & Lipson 2018).

A coordinate is the number of a weight, c. The network takes the *address* of the coordinate, a fixed vector a_c, and
returns one number, its prediction of that weight: f(a_c; w) = w_c for all c in an exact quine. The paper's address is a
one-hot vector times a fixed random matrix. That product is row c of the matrix, so no one-hot vector is ever made.

A quine computes in the dtype of its weights: float32, or float64 where ``JAX_ENABLE_X64`` is set.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import networks
from neuralmutator.networks import Activation, Network


class Encoding(NamedTuple):
    """How a coordinate becomes an input of the network."""

    width: int  # numbers in an address, D
    table: Callable[[jax.Array, int], jax.Array]  # (key, N) -> addresses f32[N, D]


def random_projection(width: int = 100, std: float = 0.1) -> Encoding:
    """One-hot coordinates times a frozen Gaussian matrix: every weight has a random address.

    Args:
        width: numbers in an address.
        std: standard deviation of every number. The paper does not give it; 0.1 reproduces its initial loss. The
            weights of an exact quine are proportional to std^(-1/2).
    """
    _positive_numbers(std=std)
    return Encoding(width, lambda key, size: std * jax.random.normal(key, (size, width)))


def raw_coordinate() -> Encoding:
    """The coordinate itself, scaled to [-1, 1]: predictions of neighbours are nearly equal (the paper's Figure 2)."""
    return Encoding(1, lambda key, size: jnp.linspace(-1.0, 1.0, size)[:, None])


def fourier_features(width: int = 100, bandwidth: float = 1000.0) -> Encoding:
    """Sines and cosines of the coordinate in [-1, 1], of random frequencies N(0, bandwidth²) (Rahimi & Recht 2007).

    Args:
        width: numbers in an address, even.
        bandwidth: std of the frequencies, in half periods over the range.
    """
    if width % 2:
        raise ValueError(f"width must be even, got {width}")
    _positive_numbers(bandwidth=bandwidth)

    def table(key: jax.Array, size: int) -> jax.Array:
        frequencies = bandwidth * jnp.pi / 2 * jax.random.normal(key, (width // 2,))
        phases = jnp.linspace(-1.0, 1.0, size)[:, None] * frequencies
        return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=1) * width**-0.5

    return Encoding(width, table)


@flax.struct.dataclass
class Quine:
    """A network and the addresses of its own weights; a pytree, so that ``vmap`` makes a population of them.

    Pass it to jitted functions as an argument, and build steps inside of them, so
    ``jax.jit(lambda quine, params: rollout(homeostatic_regeneration(quine), key, params, 60))``. A quine that a jitted
    function closes over becomes a constant of the program, 8 MB for the paper's network.
    """

    addresses: jax.Array  # f32[N, D]
    network: Network = flax.struct.field(pytree_node=False)
    reads_weights: bool = flax.struct.field(pytree_node=False, default=False)  # the weight is an input as well
    degree: int = flax.struct.field(pytree_node=False, default=3)  # predictions scale with |w|^degree

    def with_addresses(self, addresses: jax.Array) -> "Quine":
        """The same network with other addresses f32[N, D]."""
        return dataclasses.replace(self, addresses=addresses)

    def renumbered(self, numbering: jax.Array) -> "Quine":
        """The same network, where weight c has the address that weight numbering[c] has now; i32[N]."""
        return self.with_addresses(self.addresses[numbering])

    @property
    def num_params(self) -> int:
        """Number of weights, N."""
        return self.network.num_params

    def init(self, key: jax.Array) -> jax.Array:
        """Fresh weights f32[N], uniform within ± 1/sqrt(fan_in)."""
        return self.network.init(key)

    def predict(
        self, params: jax.Array, coordinates: jax.Array | None = None, read: jax.Array | None = None
    ) -> jax.Array:
        """The network's predictions of its weights.

        Args:
            params: f32[N].
            coordinates: i32[B] the weights that are predicted; all if None.
            read: f32[N] the weights that a weight-reading network reads; its own if None.

        Returns:
            f32[B], or f32[N]; of the dtype of `params`.
        """
        read = params if read is None else read
        inputs = (self.addresses if coordinates is None else self.addresses[coordinates]).astype(params.dtype)
        if self.reads_weights:
            weights = read if coordinates is None else read[coordinates]
            inputs = jnp.concatenate([weights[:, None], inputs], axis=1)
        return jax.vmap(self.network.apply, (None, 0))(params, inputs)[:, 0].astype(params.dtype)

    def loss(self, params: jax.Array) -> jax.Array:
        """The self-replicating loss f32[]: the sum of squared errors (the paper's equation 2)."""
        return jnp.sum((self.predict(params) - params) ** 2)

    def regenerate(self, params: jax.Array) -> jax.Array:
        """All weights f32[N] replaced by the network's predictions of them."""
        return self.predict(params)


def vanilla(
    key: jax.Array,
    hidden: Sequence[int] = (100, 100),
    activation: Activation = jax.nn.selu,
    encoding: Encoding | None = None,
) -> Quine:
    """A perceptron without biases that only replicates; by default the paper's, with 20,100 weights.

    The paper leaves some details open. These reproduce its initial loss of 90.16: no biases, PyTorch's initial weights,
    addresses from N(0, 1/100), the activation on the hidden layers only.

    Args:
        key: draws the addresses.
        hidden: widths of the hidden layers.
        activation: between the layers.
        encoding: of coordinates; `random_projection()` by default.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    encoding = random_projection() if encoding is None else encoding
    network = networks.mlp(encoding.width, 1, hidden, activation, bias=False)
    return from_network(network, encoding.table(key, network.num_params), degree=len(hidden) + 1)


def from_network(network: Network, addresses: jax.Array, reads_weights: bool = False, degree: int = 3) -> Quine:
    """Makes a quine of any network that takes an address.

    Args:
        network: from one address f32[D] to one number f32[1].
        addresses: f32[N, D] of any float dtype, one for each parameter of the network.
        reads_weights: whether the input is the value of the weight and then its address, f32[1 + D].
        degree: how predictions scale with the weights, |w|^degree: the number of weight layers of a perceptron
            without biases whose activation is (nearly) positively homogeneous. See `homeostatic_regeneration`.

    Raises:
        ValueError: if there is not one address per parameter, or the network does not map an address to one number.
    """
    if addresses.ndim != 2 or addresses.shape[0] != network.num_params:
        raise ValueError(
            f"addresses must have shape ({network.num_params}, D), one per parameter, got {addresses.shape}"
        )
    width = addresses.shape[1] + reads_weights
    try:
        output: Any = jax.eval_shape(network.apply, jnp.zeros(network.num_params), jnp.zeros(width))
    except Exception as error:
        raise ValueError(f"network cannot take an input of {width} numbers") from error
    if getattr(output, "shape", None) != (1,):
        raise ValueError(f"network must have one output, got {getattr(output, 'shape', output)}")
    addresses = jnp.asarray(addresses)
    if not jnp.issubdtype(addresses.dtype, jnp.floating):
        addresses = addresses.astype(jnp.float32)
    return Quine(addresses, network, reads_weights, degree)


def weightwise(width: int = 2, depth: int = 2) -> Quine:
    """A linear network that reads a weight and its position, and predicts that weight (Gabor et al. 2019).

    The input is the weight and the numbers of its layer, row and column, each divided by the largest such number (for
    rows and columns: in that layer). It has 14 weights by default.

    Args:
        width: neurons per hidden layer, at least 2.
        depth: hidden layers, at least 1.

    Raises:
        ValueError: if a size is smaller.
    """
    if width < 2 or depth < 1:
        raise ValueError(f"width must be at least 2 and depth at least 1, got {width} and {depth}")
    sizes = (4, *[width] * depth, 1)
    network = networks.mlp(4, 1, sizes[1:-1], _identity, bias=False)
    table = []
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        for row, column in itertools.product(range(rows), range(columns)):
            table.append([layer / depth, row / (rows - 1), column / max(columns - 1, 1)])

    fan = np.concatenate([np.full(a * b, a + b) for a, b in itertools.pairwise(sizes)]).astype(np.float32)

    def glorot(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, fan.shape, minval=-1.0) * (6 / fan) ** 0.5

    network = network._replace(init=glorot)  # Keras's, which they used; the number that diverges depends on it
    return from_network(network, jnp.array(table), reads_weights=True, degree=depth + 1)


def _identity(x: jax.Array) -> jax.Array:
    return x


def _positive_numbers(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


leaky_relu: Activation = partial(jax.nn.leaky_relu, negative_slope=0.2)
"""Leaky ReLU of slope 0.2. With it, homeostatic regeneration converged from every start that was tried."""
