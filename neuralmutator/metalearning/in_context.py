"""Attention that descends a gradient while it reads.

After von Oswald et al. 2022, *Transformers learn in-context by gradient descent* (arXiv 2212.07677). A task is N pairs
(x, y) and a query x. Its tokens are the rows ``(x_1, y_1) … (x_N, y_N), (query, 0)``, f32[N + 1, D + 1]. A layer adds
to every token h, with the pairs' tokens C f32[N, D + 1] as its context::

    h <- h + ((h Q) (C K)ᵀ) (C V) P

without softmax, norm or bias: 4 (D + 1)² numbers. The prediction is *minus* the last entry of the query's token: a
layer of the right weights (`construction`) changes y to the residual y - w · x of a linear model after one step of
gradient descent from w = 0, and the query's 0 to -w · x.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check, random
from neuralmutator.metalearning.training import Loss
from neuralmutator.networks import Network

SHORT = 3  # most layers whose query is answered without the pairs' tokens, see `_answer`
NAMES = ("query", "key", "value", "projection")
"""The matrices f32[D + 1, D + 1] of a layer, in the order of the flat parameters."""


class Tasks(NamedTuple):
    """Tasks of regression."""

    tokens: jax.Array  # f32[B, N + 1, D + 1] pairs, and at last the query with a 0
    answers: jax.Array  # f32[B] what belongs to the query


Draw = Callable[[jax.Array, int], Tasks]
"""``(key, count) -> tasks``."""


def linear_tasks(dim: int = 10, pairs: int = 10, span: float = 1.0, spread: float = 1.0) -> Draw:
    """Linear regression: y = w · x, every task with a w of its own.

    Args:
        dim: D, of x.
        pairs: N, those given.
        span: x is uniform in [-span / 2, span / 2]^D, the query as well.
        spread: standard deviation of the entries of w, which are normal.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, dim=dim, pairs=pairs)
    check.number(0, open_low=True, span=span, spread=spread)

    def draw(key: jax.Array, count: int) -> Tasks:
        key_w, key_x = jax.random.split(key)
        w = spread * random.normal(key_w, count * dim).reshape(count, dim)
        x = _within(key_x, span, (count, pairs + 1, dim))
        return _tasks(x, jnp.einsum("bnd,bd->bn", x, w))

    return draw


def sine_tasks(
    pairs: int = 10, span: float = 10.0, least: float = 0.1, most: float = 0.5, phase: float = np.pi
) -> Draw:
    """Regression of sines: y = a sin(x + p), for attention on learnt features (the paper's section 4).

    Args:
        pairs: N, those given.
        span: x is uniform in [-span / 2, span / 2].
        least: amplitude a, which is uniform from it to `most`.
        most: amplitude.
        phase: p is uniform in [0, phase].

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, pairs=pairs)
    check.number(0, open_low=True, span=span)
    check.number(0, least=least, phase=phase)
    check.number(least, most=most)

    def draw(key: jax.Array, count: int) -> Tasks:
        key_a, key_p, key_x = jax.random.split(key, 3)
        a = jax.random.uniform(key_a, (count, 1), minval=least, maxval=most)
        p = jax.random.uniform(key_p, (count, 1), maxval=phase)
        x = _within(key_x, span, (count, pairs + 1, 1))
        return _tasks(x, a * jnp.sin(x[..., 0] + p))

    return draw


def _within(key: jax.Array, span: float, shape: tuple[int, ...]) -> jax.Array:
    """Uniform in [-span / 2, span / 2]. JAX draws an array of several axes more slowly than a row."""
    return span * (random.uniform(key, math.prod(shape)).reshape(shape) - 0.5)


def _tasks(x: jax.Array, y: jax.Array) -> Tasks:
    """From x f32[B, N + 1, D] and y f32[B, N + 1]."""
    shown = y.at[:, -1].set(0.0)
    return Tasks(jnp.concatenate([x, shown[..., None]], axis=-1), y[:, -1])


def linear_attention(
    dim: int = 10,
    layers: int = 1,
    looped: bool = True,
    features: Network | None = None,
    clip: float | None = None,
    variance: float = 2e-3,
) -> Network:
    """Linear self-attention; its `apply` takes tokens f32[N + 1, D + 1] and gives the prediction f32[].

    ``activations`` gives the tokens after every layer and the prediction.

    Args:
        dim: D, of x; with `features`, their number.
        layers: L.
        looped: whether all layers are one, applied L times.
        features: a network before it that makes f32[D] of every x; its parameters come first. By default there is none.
        clip: bound of all tokens' entries after a layer; the paper's is 10 where L > 3. None: no bound.
        variance: of fresh weights, times D + 1; they are normal, cut at two standard deviations.

    Raises:
        ValueError: if a number is out of range.
    """
    return _attention(_linear, dim, layers, looped, features, clip, variance)


def softmax_attention(
    dim: int = 10,
    layers: int = 1,
    looped: bool = True,
    features: Network | None = None,
    clip: float | None = None,
    variance: float = 2e-3,
) -> Network:
    """`linear_attention`, but with a softmax over the pairs, of scores divided by √(D + 1).

    Raises:
        ValueError: if a number is out of range.
    """
    return _attention(_softmax, dim, layers, looped, features, clip, variance)


def _linear(scores: jax.Array) -> jax.Array:
    return scores


def _softmax(scores: jax.Array) -> jax.Array:
    return jax.nn.softmax(scores, axis=-1)


def _attention(
    weigh: Callable[[jax.Array], jax.Array],
    dim: int,
    layers: int,
    looped: bool,
    features: Network | None,
    clip: float | None,
    variance: float,
) -> Network:
    check.whole(1, dim=dim, layers=layers)
    check.number(0, open_low=True, variance=variance)
    if clip is not None:
        check.number(0, open_low=True, clip=clip)
    size = dim + 1
    stored = 1 if looped else layers
    scale = 1.0 if weigh is _linear else size**-0.5
    # A normal distribution that is cut at two standard deviations has 0.8796 of its standard deviation left.
    std = (variance / size) ** 0.5 / 0.87962566

    def init(key: jax.Array) -> jax.Array:
        return std * jax.random.truncated_normal(key, -2, 2, (stored * len(NAMES) * size**2,), jnp.float32)

    def stack(params: jax.Array) -> jax.Array:
        return params.reshape(stored, len(NAMES), size, size)

    def states(params: jax.Array, tokens: jax.Array, whole: bool) -> list[jax.Array]:
        """The tokens after every layer; without `whole`, after the last one only the query's, f32[1, D + 1]."""
        weights = stack(params)
        h, seen = tokens, []
        for layer in range(layers):
            query, key, value, projection = weights[0 if looped else layer]
            context = h[:-1]
            rows = h[-1:] if layer == layers - 1 and not whole else h
            # In this order a product with weights is one large product for a whole batch, and the others are small.
            scores = weigh(scale * (((rows @ query) @ key.T) @ context.T))
            h = rows + ((scores @ context) @ value) @ projection
            if clip is not None:
                h = jnp.clip(h, -clip, clip)
            seen.append(h)
        return seen

    def apply(params: jax.Array, tokens: jax.Array) -> jax.Array:
        if weigh is _linear and clip is None and layers <= SHORT:
            weights = stack(params)
            return _answer([weights[0 if looped else layer] for layer in range(layers)], tokens)
        return -states(params, tokens, whole=False)[-1][-1, -1]

    def activations(params: jax.Array, tokens: jax.Array) -> tuple[jax.Array, ...]:
        seen = states(params, tokens, whole=True)
        return (*seen, -seen[-1][-1, -1])

    sizes = (size**2,) * (stored * len(NAMES))
    return _behind(features, dim, Network(sum(sizes), init, apply, activations, sizes=sizes))


Product = Callable[[jax.Array], jax.Array]


def _answer(layers: list[jax.Array], tokens: jax.Array) -> jax.Array:
    """What linear attention predicts, f32[], by products of matrices and vectors alone.

    Without a softmax the pairs' tokens C are needed only as C x and s C. After a layer they are C (1 + M) with
    M = Q Kᵀ Cᵀ C V P, and a product with M is four with small matrices and two with C. For a batch that is quicker than
    the tokens themselves, products of many small matrices, as long as there are few layers: L of them take (3^L - 1)
    products with C.

    Args:
        layers: f32[4, D + 1, D + 1] each.
        tokens: f32[N + 1, D + 1].
    """
    context, row = tokens[:-1], tokens[-1]
    times: Product = partial(jnp.matmul, context)
    back: Product = partial(jnp.matmul, context.T)
    for weights in layers:
        row = row + _read(weights, times, back, row)
        times, back = _behind_layer(weights, times, back)
    return -row[-1]


def _read(weights: jax.Array, times: Product, back: Product, row: jax.Array) -> jax.Array:
    """``row M``, f32[D + 1]."""
    query, key, value, projection = weights
    return (back(times((row @ query) @ key.T)) @ value) @ projection


def _behind_layer(weights: jax.Array, times: Product, back: Product) -> tuple[Product, Product]:
    """Products with the context after a layer, from those with the one before it."""
    query, key, value, projection = weights

    def later_times(x: jax.Array) -> jax.Array:
        return times(x + query @ (key.T @ back(times(value @ (projection @ x)))))

    def later_back(s: jax.Array) -> jax.Array:
        row = back(s)
        return row + _read(weights, times, back, row)

    return later_times, later_back


def _behind(features: Network | None, dim: int, network: Network) -> Network:
    """A network of tokens behind one that makes features of each x. Tokens are checked here."""
    first = 0 if features is None else features.num_params

    def seen(params: jax.Array, tokens: jax.Array) -> jax.Array:
        if tokens.ndim != 2 or tokens.shape[0] < 2 or (features is None and tokens.shape[1] != dim + 1):
            width = dim + 1 if features is None else "D + 1"
            raise ValueError(f"tokens must have shape (N + 1, {width}) with at least 1 pair, got {tokens.shape}")
        if features is None:
            return tokens
        made = jax.vmap(features.apply, (None, 0))(params[:first], tokens[:, :-1])
        if made.shape != (tokens.shape[0], dim):
            raise ValueError(f"features must give {dim} numbers, got shape {made.shape[1:]}")
        return jnp.concatenate([made, tokens[:, -1:]], axis=1)

    def init(key: jax.Array) -> jax.Array:
        if features is None:
            return network.init(key)
        key_features, key_network = jax.random.split(key)
        return jnp.concatenate([features.init(key_features), network.init(key_network)])

    return Network(
        first + network.num_params,
        init,
        lambda params, tokens: network.apply(params[first:], seen(params, tokens)),
        lambda params, tokens: network.activations(params[first:], seen(params, tokens)),
        sizes=(() if features is None else features.sizes) + network.sizes,
    )


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
    return _behind(features, dim, network)


def construction(rates: jax.Array, shrinks: jax.Array | None = None, *, dim: int = 10, pairs: int = 10) -> jax.Array:
    """Parameters of `linear_attention` that make it gradient descent, or GD++, exactly.

    With Q = K = diag(1 … 1, 0) the score of two tokens is x · x'. With V = 1 and P = diag(-γ/N … -γ/N, -η/N), y changes
    by -(η/N) Σ y' (x' · x), which is what the residual of x changes by in a step, and x by -(γ/N) Σ x' (x' · x).

    Args:
        rates: f32[K] η of each layer; K = 1 for one that is looped.
        shrinks: f32[K] γ of each layer; by default 0, which is gradient descent.
        dim: D.
        pairs: N, which the weights depend on.

    Raises:
        ValueError: if a number is out of range, or rates and shrinks are not of one length.

    Returns:
        f32[K · 4 (D + 1)²].
    """
    check.whole(1, dim=dim, pairs=pairs)
    rates = jnp.atleast_1d(jnp.asarray(rates, jnp.float32))
    shrinks = jnp.zeros_like(rates) if shrinks is None else jnp.atleast_1d(jnp.asarray(shrinks, jnp.float32))
    if rates.shape != shrinks.shape or rates.ndim != 1:
        raise ValueError(f"rates and shrinks must have one shape (K,), got {rates.shape} and {shrinks.shape}")
    one = jnp.eye(dim + 1)
    inputs = one.at[-1, -1].set(0.0)

    def layer(rate: jax.Array, shrink: jax.Array) -> jax.Array:
        return jnp.stack([inputs, inputs, one, -(shrink * inputs + rate * (one - inputs)) / pairs]).ravel()

    return jax.vmap(layer)(rates, shrinks).ravel()


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


def mean_loss(network: Network, params: jax.Array, tasks: Tasks) -> jax.Array:
    """Half the mean squared error, f32[]."""
    predictions = jax.vmap(network.apply, (None, 0))(params, tasks.tokens)
    return 0.5 * jnp.mean((predictions - tasks.answers) ** 2)


def task_loss(network: Network, draw: Draw, batch: int = 2048) -> Loss:
    """`mean_loss` on a batch of fresh tasks, for `training`, or with a minus sign for an evolution.

    Raises:
        ValueError: if `batch` is not a whole number of at least 1.
    """
    check.whole(1, batch=batch)
    return lambda key, params: mean_loss(network, params, draw(key, batch))


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


class Comparison(NamedTuple):
    """Two networks on the same tasks. The sensitivity of a prediction is its derivative by the query, f32[D]."""

    loss: jax.Array  # f32[] of the first
    other_loss: jax.Array  # f32[] of the second
    difference: jax.Array  # f32[] mean |ŷ - ŷ'| of the predictions
    cosine: jax.Array  # f32[] mean cosine between sensitivities
    distance: jax.Array  # f32[] mean length of the difference of sensitivities


@partial(jax.jit, static_argnums=(0, 2))
def compare(network: Network, params: jax.Array, other: Network, other_params: jax.Array, tasks: Tasks) -> Comparison:
    """The paper's measures of how alike two networks of tokens are.

    Where a sensitivity is 0, the cosine is 0.
    """
    one, slopes = _sensitivities(network, params, tasks.tokens)
    two, other_slopes = _sensitivities(other, other_params, tasks.tokens)
    lengths = jnp.linalg.norm(slopes, axis=-1) * jnp.linalg.norm(other_slopes, axis=-1)
    return Comparison(
        0.5 * jnp.mean((one - tasks.answers) ** 2),
        0.5 * jnp.mean((two - tasks.answers) ** 2),
        jnp.mean(jnp.abs(one - two)),
        jnp.mean(jnp.sum(slopes * other_slopes, axis=-1) / jnp.maximum(lengths, 1e-12)),
        jnp.mean(jnp.linalg.norm(slopes - other_slopes, axis=-1)),
    )


def _sensitivities(network: Network, params: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Predictions f32[B] and their derivatives by the query f32[B, D]."""

    def predict(query: jax.Array, tokens: jax.Array) -> jax.Array:
        return network.apply(params, tokens.at[-1, :-1].set(query))

    return jax.vmap(jax.value_and_grad(predict))(tokens[:, -1, :-1], tokens)


def canonical(params: jax.Array, dim: int = 10) -> jax.Array:
    """The same linear attention in weights that can be compared: K = P = 1, and Q scaled to a mean diagonal of 1.

    A layer depends on Q Kᵀ and V P alone, and a factor may move from one to the other.

    Args:
        params: f32[L · 4 (D + 1)²] of `linear_attention` without features.
        dim: D.

    Raises:
        ValueError: if `params` has another shape.
    """
    check.whole(1, dim=dim)
    size = dim + 1
    if params.ndim != 1 or params.size % (len(NAMES) * size**2):
        raise ValueError(f"params must have shape (L * {len(NAMES) * size**2},), got {params.shape}")
    one = jnp.eye(size)

    def layer(weights: jax.Array) -> jax.Array:
        query, key, value, projection = weights
        scores, written = query @ key.T, value @ projection
        factor = jnp.trace(scores[:dim, :dim]) / dim
        return jnp.stack([scores / factor, one, written * factor, one])

    return jax.vmap(layer)(params.reshape(-1, len(NAMES), size, size)).ravel()


def interpolate(network: Network, params: jax.Array, other: jax.Array, tasks: Tasks, points: int = 11) -> jax.Array:
    """Losses f32[points] of the weights on the line from one network to another of the same kind.

    Give both as `canonical`, else what lies between them means nothing.

    Raises:
        ValueError: if the parameters differ in shape, or `points` is not a whole number of at least 2.
    """
    check.whole(2, points=points)
    if params.shape != other.shape:
        raise ValueError(f"params and other must have one shape, got {params.shape} and {other.shape}")
    return _interpolate(network, params, other, tasks, points)


@partial(jax.jit, static_argnums=(0, 4))
def _interpolate(network: Network, params: jax.Array, other: jax.Array, tasks: Tasks, points: int) -> jax.Array:
    shares = jnp.linspace(0, 1, points)
    return jax.lax.map(lambda share: mean_loss(network, (1 - share) * params + share * other, tasks), shares)


@partial(jax.jit, static_argnums=(0, 2))
def loss_ratios(
    network: Network, params: jax.Array, other: Network, other_params: jax.Array, tasks: tuple[Tasks, ...]
) -> jax.Array:
    """How the losses of two networks compare on each of several sets of tasks, f32[len(tasks)].

    Sets of another `span` or `spread` than those of the training show what a network has learnt beyond them.
    """
    return jnp.stack([mean_loss(network, params, t) / mean_loss(other, other_params, t) for t in tasks])
