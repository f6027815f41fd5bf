"""How well a network replicates itself.

The loss alone says little, since small weights have small losses. `Replication.unexplained` is the measure to look at:
the squared error of the predictions divided by the squared size of the weights. It is 1 for predictions that are all
zero, whatever the size of the weights. The paper's best gradient descent, with a loss of 32.10, reaches 0.99.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Replication(NamedTuple):
    """A network's weights compared with its predictions of them; f32[] each."""

    loss: jax.Array  # self-replicating loss |F(w) - w|² (the paper's equation 2)
    unexplained: jax.Array  # |F(w) - w|² / |w|², free of scale
    correlation: jax.Array  # of weights and predictions
    margin: jax.Array  # root mean square error: the numbers that the paper calls average weight-prediction margin
    absolute_margin: jax.Array  # mean absolute error: how the paper defines that margin
    quotient: jax.Array  # self-replicating quotient, see `quotient`
    norm: jax.Array  # |w|

    @property
    def relative_error(self) -> jax.Array:
        """|F(w) - w| / |w|, f32[]."""
        return jnp.sqrt(self.unexplained)


def replication(params: jax.Array, predictions: jax.Array) -> Replication:
    """Compares weights f32[N] with predictions of them f32[N]."""
    error = predictions - params
    loss, size = jnp.sum(error**2), jnp.sum(params**2)
    centred = params - jnp.mean(params), predictions - jnp.mean(predictions)
    return Replication(
        loss=loss,
        unexplained=loss / size,
        correlation=jnp.vdot(*centred) / (jnp.linalg.norm(centred[0]) * jnp.linalg.norm(centred[1])),
        margin=margin(loss, params.size),
        absolute_margin=jnp.mean(jnp.abs(error)),
        quotient=quotient(loss, params.size),
        norm=jnp.sqrt(size),
    )


def margin(loss: jax.Array | float, num_params: int) -> jax.Array:
    """Average weight-prediction margin as in the paper's figures: sqrt(loss / N), 0.040 for 32.10 of 20,100."""
    return jnp.sqrt(loss / num_params)


def quotient(loss: jax.Array | float, num_params: int) -> jax.Array:
    """Self-replicating quotient (Adams & Lipson 2009) as in the paper's figures: ln(N / loss).

    It is the log likelihood ratio of a copy within the margin ε against a random one, for outputs uniform on
    [-0.5, 0.5] and a ball of ε²: 6.44 for a loss of 32.10 and 20,100 weights, 10.06 for 0.86. It depends on scale:
    shrinking all weights raises it without bound.
    """
    return jnp.log(num_params / loss)
