"""What attention is compared with: gradient descent and GD++ as networks of tokens, and their best rates."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.metalearning.in_context.features import behind
from neuralmutator.metalearning.in_context.tasks import Tasks, mean_loss
from neuralmutator.networks import Network


def gradient_descent(dim: int = 10, steps: int = 1, looped: bool = True, features: Network | None = None) -> Network:
    """Gradient descent on ``Σ (w · x - y)² / 2N`` from w = 0, as a network of tokens whose parameters are its rates.

    Args:
        dim: D, of x; with `features`, their number.
        steps: K.
        looped: whether all steps have one rate η, else parameters are f32[K].
        features: as in `linear_attention`.

    Raises:
        ValueError: if a number is out of range.
    """
    return _descent(dim, steps, looped, features, 1)


def gd_plus_plus(dim: int = 10, steps: int = 1, looped: bool = True, features: Network | None = None) -> Network:
    """GD++: with every step of gradient descent, inputs change as well: x <- x - γ (Σ x xᵀ / N) x, the query too.

    That brings the curvatures of the loss closer to one another. Parameters are η and γ, or f32[2 K]: first all η.

    Args:
        dim: D, of x; with `features`, their number.
        steps: K.
        looped: whether all steps have one η and one γ.
        features: as in `linear_attention`.

    Raises:
        ValueError: if a number is out of range.
    """
    return _descent(dim, steps, looped, features, 2)


def _descent(dim: int, steps: int, looped: bool, features: Network | None, kinds: int) -> Network:
    check.whole(1, dim=dim, steps=steps)
    stored = 1 if looped else steps

    def states(params: jax.Array, tokens: jax.Array) -> list[jax.Array]:
        rates, shrinks = params[:stored], params[stored:]
        pairs = tokens.shape[0] - 1
        x, y, seen = tokens[:, :-1], tokens[:, -1], []
        for step in range(steps):
            at = 0 if looped else step
            inner, residuals = x[:-1], y[:-1]
            y = y - x @ (rates[at] / pairs * (residuals @ inner))
            if kinds == 2:
                x = x - shrinks[at] / pairs * ((x @ inner.T) @ inner)
            seen.append(jnp.concatenate([x, y[:, None]], axis=1))
        return seen

    def activations(params: jax.Array, tokens: jax.Array) -> tuple[jax.Array, ...]:
        seen = states(params, tokens)
        return (*seen, -seen[-1][-1, -1])

    def init(key: jax.Array) -> jax.Array:
        # Steps of equal rates would have equal gradients for ever, as they commute.
        return jnp.concatenate([jnp.arange(1.0, stored + 1), jnp.zeros(stored)])[: kinds * stored]

    sizes = (stored,) * kinds
    network = Network(
        sum(sizes), init, lambda params, tokens: activations(params, tokens)[-1], activations, sizes=sizes
    )
    return behind(features, dim, network)


def optimal_step(dim: int = 10, pairs: int = 10, span: float = 1.0, spread: float = 1.0) -> tuple[float, float]:
    """The best rate of one step of gradient descent on `linear_tasks`, and its loss, both in closed form.

    A step from 0 gives w' = η S w with S = Σ x xᵀ / N. Entries of x have the variance s = span² / 12 and the fourth
    moment m = span⁴ / 80, the query has them too, and w is normal with the variance v, so

        L(η) = ½ E (q · (w - η S w))² = ½ s v E tr (1 - η S)² = ½ s v (D - 2 η E tr S + η² E tr S²),

        E tr S = D s,    E tr S² = [N (D m + D (D - 1) s²) + N (N - 1) D s²] / N²:

    the N terms of S² with one pair are E |x|⁴, the others E (x · x')². So η* = E tr S / E tr S² and
    L* = ½ s v (D - (E tr S)² / E tr S²). For the paper's tasks η* = 6.0606, L* = 0.206229.

    Args:
        dim: D.
        pairs: N.
        span: of x.
        spread: of w.

    Raises:
        ValueError: if a number is out of range.

    Returns:
        η* and L*.
    """
    check.whole(1, dim=dim, pairs=pairs)
    check.number(0, open_low=True, span=span, spread=spread)
    s, m = span**2 / 12, span**4 / 80
    first = dim * s
    second = (dim * m + dim * (dim - 1) * s**2 + (pairs - 1) * dim * s**2) / pairs
    return first / second, s * spread**2 / 2 * (dim - first**2 / second)


class Tuned(NamedTuple):
    """The best of a scan."""

    params: jax.Array  # f32[P]
    loss: jax.Array  # f32[]


def tune(network: Network, tasks: Tasks, low: jax.Array, high: jax.Array, points: int = 24, rounds: int = 3) -> Tuned:
    """Scans the one or two parameters of a `gradient_descent` or `gd_plus_plus`, in one program.

    Each round judges a grid. The next one lies about its best point, four times as fine.

    Args:
        network: of P parameters.
        tasks: on which all are judged.
        low: f32[P] where the first grid begins.
        high: f32[P] where it ends.
        points: of the grid, along each parameter.
        rounds: of them.

    Raises:
        ValueError: if a number is out of range, or `low` and `high` do not fit the network.
    """
    check.whole(2, points=points)
    check.whole(1, rounds=rounds)
    low, high = jnp.atleast_1d(jnp.asarray(low, jnp.float32)), jnp.atleast_1d(jnp.asarray(high, jnp.float32))
    if {low.shape, high.shape} != {(network.num_params,)}:
        raise ValueError(f"low and high must have shape ({network.num_params},), got {low.shape} and {high.shape}")
    return _tune(network, tasks, low, high, points, rounds)


@partial(jax.jit, static_argnums=(0, 4, 5))
def _tune(network: Network, tasks: Tasks, low: jax.Array, high: jax.Array, points: int, rounds: int) -> Tuned:
    grid = jnp.stack(jnp.meshgrid(*[jnp.linspace(0, 1, points)] * network.num_params), axis=-1)
    grid = grid.reshape(-1, network.num_params)

    def one_round(box: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], Tuned]:
        low, width = box
        candidates = low + width * grid
        losses = jax.lax.map(lambda params: mean_loss(network, params, tasks), candidates)
        best = jnp.nanargmin(losses)
        return (candidates[best] - width / 8, width / 4), Tuned(candidates[best], losses[best])

    _, found = jax.lax.scan(one_round, (low, high - low), None, rounds)
    return jax.tree.map(lambda x: x[jnp.nanargmin(found.loss)], found)
