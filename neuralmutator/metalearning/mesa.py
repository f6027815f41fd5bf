"""The mesa-layer: attention that solves least squares at every position of a sequence.

After von Oswald et al. 2023, *Uncovering mesa-optimization algorithms in Transformers* (arXiv 2309.05858). A sequence
is s_1 … s_{T+1}, f32[T + 1, D], the states of a linear system of its own. A network sees s_1 … s_T as tokens f32[T, W]
and predicts s_2 … s_{T+1}, each from what came before. Constructed tokens are ``(0, s_t, s_t, s_{t-1})``; learnt ones
are an embedding of s_t and of the position t alone, so a first layer has to bring s_{t-1} there.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from neuralmutator.core import check
from neuralmutator.metalearning.training import Loss
from neuralmutator.networks import Network, from_functions

Draw = Callable[[jax.Array, int], jax.Array]
"""``(key, count) -> states f32[count, T + 1, D]``."""

Tokens = Callable[[jax.Array], jax.Array]
"""What a network sees of a sequence: ``states f32[T + 1, D] -> tokens f32[T, W]``, nothing of the last state."""


def uniform_start(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """First states of the published program, uniform in [-1, 1]."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def rotations(normals: jax.Array) -> jax.Array:
    """Random orthogonal matrices f32[B, D, D], all equally likely, as products of reflections (Stewart 1980).

    ``jax.random.orthogonal`` asks LAPACK, matrix by matrix, which is slow on accelerators.

    Args:
        normals: f32[D, B, D] drawn from a normal distribution.
    """
    dim = normals.shape[-1]
    mirrors, signs = normals[:-1], jnp.sign(normals[-1])

    def reflect(matrices: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        first, mirror = step  # number i leaves the entries before i as they are
        mirror = jnp.where(jnp.arange(dim) >= first, mirror, 0.0)
        length = jnp.linalg.norm(mirror, axis=-1, keepdims=True)
        mirror = mirror + jnp.where(jnp.arange(dim) == first, jnp.sign(mirror) * length, 0.0)
        along = jnp.einsum("bi,bij->bj", mirror, matrices)
        factor = 2 / jnp.sum(mirror**2, axis=-1)
        return matrices - factor[:, None, None] * mirror[:, :, None] * along[:, None, :], None

    start = signs[:, :, None] * jnp.eye(dim)
    return jax.lax.scan(reflect, start, (jnp.arange(dim - 1), mirrors), reverse=True)[0]


def _normals(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Normal numbers in one draw, since XLA takes a second to compile each."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def linear_dynamics(
    dim: int = 10,
    length: int = 50,
    noise: float = 0.01,
    start: Callable[[jax.Array, tuple[int, ...]], jax.Array] = uniform_start,
    radius: float = 1.0,
) -> Draw:
    """Sequences s_{t+1} = W s_t + noise, every sequence with a random orthogonal W of its own.

    Args:
        dim: D.
        length: T, the pairs of a state and the next one.
        noise: standard deviation of the noise.
        start: ``(key, shape) -> first states``, such as ``jax.random.normal``.
        radius: what W is multiplied by; below 1 the states decay.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, dim=dim, length=length)
    check.number(0, noise=noise)
    check.number(0, open_low=True, radius=radius)

    def draw(key: jax.Array, count: int) -> jax.Array:
        key_start, key_normals = jax.random.split(key)
        first = start(key_start, (count, dim))
        normals, noises = _normals(key_normals, (dim, count, dim), (length, count, dim))
        w, noises = radius * rotations(normals), noise * noises

        def move(state: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = jnp.einsum("bij,bj->bi", w, state) + noise
            return state, state

        _, later = jax.lax.scan(move, first, noises)
        return jnp.concatenate([first[:, None], jnp.swapaxes(later, 0, 1)], axis=1)

    return draw


def constructed_tokens(states: jax.Array) -> jax.Array:
    """``(0, s_t, s_t, s_{t-1})`` of states f32[T + 1, D], f32[T, 4 D]; s_0 is 0."""
    check_states(states)
    now = states[:-1]
    before = jnp.concatenate([jnp.zeros_like(now[:1]), now[:-1]])
    return jnp.concatenate([jnp.zeros_like(now), now, now, before], axis=1)


def states_alone(states: jax.Array) -> jax.Array:
    """s_t alone, f32[T, D], for a network with an embedding."""
    check_states(states)
    return states[:-1]


def check_states(states: jax.Array) -> None:
    """Raises ValueError unless states have the shape (T + 1, D) with T at least 1: one pair."""
    if jnp.ndim(states) != 2 or jnp.shape(states)[0] < 2:
        raise ValueError(f"states must have shape (T + 1, D) with at least 1 pair, got {jnp.shape(states)}")


class Attention(NamedTuple):
    """What a head does at every position, given what it has seen so far.

    `attend` is ``(keys f32[T, d], values f32[T, v], queries f32[T, d], regularisation f32[]) -> f32[T, v]``.
    """

    attend: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
    regularised: bool  # whether the regularisation matters; a head then learns its logarithm


def _check_heads(keys: jax.Array, values: jax.Array, queries: jax.Array, regularisation: Any) -> None:
    shapes = [jnp.shape(x) for x in (keys, values, queries)]
    if [len(shape) for shape in shapes] != [2, 2, 2] or len({shape[0] for shape in shapes}) != 1 or not shapes[0][0]:
        raise ValueError(f"keys, values and queries must be of one length of at least 1, got shapes {shapes}")
    if shapes[0][1] != shapes[2][1]:
        raise ValueError(f"keys and queries must be of one size, got {shapes[0][1]} and {shapes[2][1]}")
    check.number(0, open_low=True, regularisation=regularisation)


def least_squares(
    keys: jax.Array, values: jax.Array, queries: jax.Array, regularisation: jax.Array | float
) -> jax.Array:
    """The mesa-layer: at every t the solution of least squares on the pairs so far, applied to the query.

        W_t = argmin_W ½ Σ_{i ≤ t} |W k_i - v_i|² + ½ λ |W|²,    gives W_t q_t

    One scan of T steps, each of O(d²). With R = (λ + Σ k kᵀ)⁻¹ a pair changes

        W <- W + (v - W k) (R k)ᵀ / (1 + kᵀ R k),    R <- R - (R k) (R k)ᵀ / (1 + kᵀ R k)

    by Sherman and Morrison's formula. W as (Σ v kᵀ) R would be 200 times less exact in float32: large numbers cancel.

    Args:
        keys: f32[T, d].
        values: f32[T, v].
        queries: f32[T, d].
        regularisation: λ, above 0. For keys of length about 2, errors in float32 are some 1e-8 / λ.

    Raises:
        ValueError: if shapes do not fit, or λ is known and not above 0.

    Returns:
        f32[T, v].
    """
    _check_heads(keys, values, queries, regularisation)
    size = keys.shape[1]

    def step(carry: tuple[jax.Array, jax.Array], pair: tuple) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        inverse, solution = carry
        key, value, query = pair
        seen = inverse @ key
        gain = seen / (1 + key @ seen)
        solution = solution + jnp.outer(value - solution @ key, gain)
        return (inverse - jnp.outer(seen, gain), solution), solution @ query

    start = jnp.eye(size, dtype=keys.dtype) / regularisation, jnp.zeros((values.shape[1], size), keys.dtype)
    return jax.lax.scan(step, start, (keys, values, queries))[1]


def chunked_least_squares(
    keys: jax.Array,
    values: jax.Array,
    queries: jax.Array,
    regularisation: jax.Array | float,
    chunk: int = 8,
) -> jax.Array:
    """`least_squares` in chunks of positions: products of matrices instead of a step for each, for accelerators.

    With R and W of the pairs before a chunk, and its first t keys K and values V as rows, Woodbury's formula gives

        W_t q = W q + (V - K Wᵀ)ᵀ S_t⁻¹ K R q,    S_t = 1 + K R Kᵀ.

    The S_t of all t are the leading parts of one matrix, and so are their Cholesky factors: with the factor of the
    whole chunk, and entries behind t set to 0 between the two, two triangular solves answer all its queries at once.
    The longer a chunk, the larger the rounding errors: of 50 they are four times those of 8.

    Args:
        keys: f32[T, d].
        values: f32[T, v].
        queries: f32[T, d].
        regularisation: λ, above 0.
        chunk: C, positions in a chunk.

    Raises:
        ValueError: if shapes do not fit, λ is known and not above 0, or `chunk` is not a whole number of at least 1.

    Returns:
        f32[T, v].
    """
    _check_heads(keys, values, queries, regularisation)
    check.whole(1, chunk=chunk)
    length, size = keys.shape
    chunks = -(-length // chunk)
    filled = ((0, chunks * chunk - length), (0, 0))  # pairs of zeros change nothing
    parts = [jnp.pad(x, filled).reshape(chunks, chunk, -1) for x in (keys, values, queries)]
    seen = jnp.tril(jnp.ones((chunk, chunk), keys.dtype))  # [t, i] whether position t has seen pair i

    def step(carry: tuple[jax.Array, jax.Array], part: list) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        inverse, solution = carry
        keys, values, queries = part
        known = keys @ inverse
        factor = jnp.linalg.cholesky(jnp.eye(chunk, dtype=keys.dtype) + known @ keys.T)
        halves = solve_triangular(factor, jnp.concatenate([known @ queries.T, known], axis=1), lower=True)
        half, known_half = halves[:, :chunk], halves[:, chunk:]
        shares = jnp.concatenate([seen.T * half, known_half], axis=1)
        shares = solve_triangular(factor, shares, lower=True, trans="T")  # [i, t] of pair i in answer t; 0 for i > t
        residuals = values - keys @ solution.T
        given = queries @ solution.T + shares[:, :chunk].T @ residuals
        return (inverse - known_half.T @ known_half, solution + residuals.T @ shares[:, chunk:]), given

    start = jnp.eye(size, dtype=keys.dtype) / regularisation, jnp.zeros((values.shape[1], size), keys.dtype)
    given = jax.lax.scan(step, start, parts)[1]
    return given.reshape(chunks * chunk, -1)[:length]


def _linear(length: int, keys: jax.Array, values: jax.Array, queries: jax.Array, _: jax.Array) -> jax.Array:
    return jnp.tril(queries @ keys.T) @ values / length


def _softmax(keys: jax.Array, values: jax.Array, queries: jax.Array, _: jax.Array) -> jax.Array:
    scores = queries @ keys.T * keys.shape[1] ** -0.5
    seen = jnp.tril(jnp.ones(scores.shape, bool))
    return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1) @ values


def mesa(chunk: int | None = None) -> Attention:
    """`least_squares`, by a scan; or in chunks of so many positions, as accelerators like it.

    Raises:
        ValueError: if `chunk` is neither None nor a whole number of at least 1.
    """
    if chunk is None:
        return Attention(least_squares, True)
    check.whole(1, chunk=chunk)
    return Attention(partial(chunked_least_squares, chunk=chunk), True)


def linear(length: int = 50) -> Attention:
    """Linear attention, ``Σ_{i ≤ t} v_i (k_i · q_t) / length``: a step of gradient descent.

    Args:
        length: what sums are divided by, T of the training; without it deep stacks explode.

    Raises:
        ValueError: if `length` is not a whole number of at least 1.
    """
    check.whole(1, length=length)
    return Attention(partial(_linear, length), False)


def softmax() -> Attention:
    """Softmax attention, with scores divided by √d."""
    return Attention(_softmax, False)


def transformer(
    layers: Sequence[Attention],
    dim: int = 10,
    width: int | None = None,
    key_size: int = 20,
    heads: int = 1,
    embedding: bool = False,
    regularisation: float = 1.0,
    clip: float = 10.0,
) -> Network:
    """A stack of attention, without norms, biases or perceptrons; its `apply` takes tokens f32[T, W].

    It gives f32[T, dim], the first entries of the stream after the last layer. ``activations`` gives the stream
    f32[T, width] after every layer, and the predictions.

    Args:
        layers: of `mesa`, `linear` and `softmax`.
        dim: D, of what is predicted.
        width: of the stream; by default 4 D. Constructed tokens are of this width.
        key_size: d of keys, queries and values of a head.
        heads: of a layer.
        embedding: whether tokens are f32[T, D], and the stream starts as a learnt linear map of them and of 2 D numbers
            that tell the position, sines and cosines of it.
        regularisation: λ of fresh mesa-layers; its logarithm is learnt.
        clip: bound of the stream after every layer; stacks of linear attention explode without.

    Raises:
        ValueError: if there is no layer, or a number is out of range.
    """
    if not layers:
        raise ValueError("layers must hold at least one attention, got none")
    check.whole(1, dim=dim, key_size=key_size, heads=heads)
    check.number(0, open_low=True, regularisation=regularisation, clip=clip)
    if width is None:
        width = 4 * dim
    check.whole(dim, width=width)
    inputs = dim if embedding else width

    def init(key: jax.Array) -> dict[str, Any]:
        def normal(key: jax.Array, shape: tuple[int, ...], scale: float = 1.0) -> jax.Array:
            return scale * shape[-2] ** -0.5 * jax.random.normal(key, shape, jnp.float32)

        made: dict[str, Any] = {"layers": []}
        key, key_embedding = jax.random.split(key)
        if embedding:
            made["embedding"] = normal(key_embedding, (3 * dim, width))
        for key_layer, layer in zip(jax.random.split(key, len(layers)), layers, strict=True):
            keys = jax.random.split(key_layer, 4)
            weights = {
                "keys": normal(keys[0], (heads, width, key_size)),
                "queries": normal(keys[1], (heads, width, key_size)),
                "values": normal(keys[2], (heads, width, key_size)),
                "outputs": normal(keys[3], (heads, key_size, width), 0.1 / len(layers)),
            }
            if layer.regularised:
                weights["log_regularisation"] = jnp.full(heads, np.log(regularisation), jnp.float32)
            made["layers"].append(weights)
        return made

    def states(params: dict[str, Any], tokens: jax.Array) -> list[jax.Array]:
        if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] != inputs:
            raise ValueError(f"tokens must have shape (T, {inputs}) with T at least 1, got {tokens.shape}")
        stream, seen = tokens, []
        if embedding:
            stream = jnp.concatenate([tokens, positions(tokens.shape[0], 2 * dim)], axis=1) @ params["embedding"]
        for layer, weights in zip(layers, params["layers"], strict=True):

            def head(
                stream: jax.Array, weights: dict[str, jax.Array], attend: Callable[..., jax.Array] = layer.attend
            ) -> jax.Array:
                keys, queries, values = (stream @ weights[name] for name in ("keys", "queries", "values"))
                given = attend(keys, values, queries, jnp.exp(weights.get("log_regularisation", jnp.float32(0))))
                return given @ weights["outputs"]

            stream = jnp.clip(stream + jnp.sum(jax.vmap(head, (None, 0))(stream, weights), axis=0), -clip, clip)
            seen.append(stream)
        return seen

    def activations(params: dict[str, Any], tokens: jax.Array) -> tuple[jax.Array, ...]:
        seen = states(params, tokens)
        return (*seen, seen[-1][:, :dim])

    return from_functions(init, lambda params, tokens: activations(params, tokens)[-1], activations=activations)


def positions(length: int, size: int) -> jax.Array:
    """Sines and cosines of positions, f32[length, size], of wavelengths from 2 π to 2 · length."""
    waves = (size + 1) // 2
    angles = np.arange(length)[:, None] * np.geomspace(1, np.pi / max(length, 4), waves)
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :size], jnp.float32)


def construction(network: Network, dim: int = 10, key_size: int = 20, regularisation: float = 1e-3) -> jax.Array:
    """Parameters of ``transformer([mesa()])`` on constructed tokens that make it ridge regression, exactly.

    Keys are s_{t-1}, values and queries s_t, and what the layer gives becomes the first D entries of the stream.

    Args:
        network: of one mesa-layer of one head, for `constructed_tokens`.
        dim: D.
        key_size: d, at least D.
        regularisation: λ of the regression.

    Raises:
        ValueError: if the network is another one, or λ is not above 0.
    """
    check.number(0, open_low=True, regularisation=regularisation)
    check.whole(1, dim=dim)
    check.whole(dim, key_size=key_size)
    if network.num_params != 4 * 4 * dim * key_size + 1:
        raise ValueError(
            f"network must be one mesa-layer of one head of size {key_size} on tokens of {4 * dim}, "
            f"got one of {network.num_params} parameters"
        )
    one = jnp.eye(dim, key_size)
    slot = lambda number: jnp.zeros((4 * dim, key_size)).at[number * dim : (number + 1) * dim].set(one)  # noqa: E731
    # Flat parameters are in the order of names: keys, log_regularisation, outputs, queries, values.
    parts = (slot(3), jnp.log(jnp.float32(regularisation)), slot(0).T, slot(2), slot(2))
    return jnp.concatenate([jnp.ravel(part) for part in parts])


def ridge(states: jax.Array, regularisation: float = 1e-3) -> jax.Array:
    """What ridge regression on the pairs so far predicts, f32[T, D] of states f32[T + 1, D]: the reference.

    Raises:
        ValueError: if states hold no pair, or `regularisation` is not above 0.
    """
    check_states(states)
    now = states[:-1]
    before = jnp.concatenate([jnp.zeros_like(now[:1]), now[:-1]])
    return least_squares(before, now, now, regularisation)


def errors(predict: Callable[[jax.Array], jax.Array], states: jax.Array) -> jax.Array:
    """Half the squared error of each prediction, summed over the D entries, mean over sequences, f32[T].

    Args:
        predict: ``states f32[T + 1, D] -> predictions f32[T, D]`` of s_2 … s_{T+1}.
        states: f32[B, T + 1, D].
    """
    return 0.5 * jnp.mean(jnp.sum((jax.vmap(predict)(states) - states[:, 1:]) ** 2, axis=-1), axis=0)


def predictor(network: Network, params: jax.Array, tokens: Tokens = constructed_tokens) -> Callable:
    """A network as what `errors` takes."""
    return lambda states: network.apply(params, tokens(states))


def sequence_loss(network: Network, draw: Draw, batch: int = 32, tokens: Tokens = constructed_tokens) -> Loss:
    """The mean of `errors` on fresh sequences, for `training`, or with a minus sign for an evolution.

    Raises:
        ValueError: if `batch` is not a whole number of at least 1.
    """
    check.whole(1, batch=batch)
    return lambda key, params: jnp.mean(errors(predictor(network, params, tokens), draw(key, batch)))


class Pairs(NamedTuple):
    """Tasks of regression from vectors to vectors."""

    inputs: jax.Array  # f32[B, N, D]
    outputs: jax.Array  # f32[B, N, D]


def few_shot(
    dim: int = 10,
    pairs: int = 25,
    noise: float = 0.01,
    start: Callable[[jax.Array, tuple[int, ...]], jax.Array] = uniform_start,
) -> Callable[[jax.Array, int], Pairs]:
    """Draws few-shot tasks ``(key, count) -> Pairs``: y = W x + noise, W orthogonal, x independent of one another.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, dim=dim, pairs=pairs)
    check.number(0, noise=noise)

    def draw(key: jax.Array, count: int) -> Pairs:
        key_start, key_normals = jax.random.split(key)
        x = start(key_start, (count, pairs, dim))
        normals, noises = _normals(key_normals, (dim, count, dim), x.shape)
        return Pairs(x, jnp.einsum("bij,bnj->bni", rotations(normals), x) + noise * noises)

    return draw


def pair_tokens(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """A task as constructed tokens f32[2 N, 4 D], two for each pair: ``(0, x, x, 0)``, then ``(0, y, y, x)``.

    The first asks for y, and as it knows no state before, it teaches nothing; the second teaches that x leads to y. The
    answers are the predictions at 0, 2, 4 ….

    Args:
        inputs: f32[N, D].
        outputs: f32[N, D].

    Raises:
        ValueError: if the shapes differ, or there is no pair.
    """
    _check_pairs(inputs, outputs)
    nothing = jnp.zeros_like(inputs)
    asking = jnp.concatenate([nothing, inputs, inputs, nothing], axis=1)
    telling = jnp.concatenate([nothing, outputs, outputs, inputs], axis=1)
    return jnp.stack([asking, telling], axis=1).reshape(2 * inputs.shape[0], -1)


def pair_states(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """A task as one sequence x_1, y_1, x_2, y_2 …, f32[2 N, D], whose steps from y_i to x_{i+1} are wrong examples."""
    _check_pairs(inputs, outputs)
    return jnp.stack([inputs, outputs], axis=1).reshape(2 * inputs.shape[0], -1)


def _check_pairs(inputs: jax.Array, outputs: jax.Array) -> None:
    if jnp.ndim(inputs) != 2 or jnp.shape(inputs) != jnp.shape(outputs) or not jnp.shape(inputs)[0]:
        shapes = f"{jnp.shape(inputs)} and {jnp.shape(outputs)}"
        raise ValueError(f"inputs and outputs must have one shape (N, D) with N at least 1, got {shapes}")


def few_shot_errors(network: Network, params: jax.Array, tasks: Pairs, as_pairs: bool = True) -> jax.Array:
    """Half the squared error of each answer of a network that was trained on sequences, mean over tasks, f32[N].

    Args:
        network: for constructed tokens.
        params: f32[P].
        tasks: of `few_shot`.
        as_pairs: whether tokens are `pair_tokens`; else those of the one sequence `pair_states`.
    """

    def answers(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
        if as_pairs:
            return network.apply(params, pair_tokens(inputs, outputs))[::2]
        states = pair_states(inputs, outputs)
        return network.apply(params, constructed_tokens(jnp.concatenate([states, states[:1]])))[::2]

    return 0.5 * jnp.mean(jnp.sum((jax.vmap(answers)(*tasks) - tasks.outputs) ** 2, axis=-1), axis=0)


def few_shot_ridge(tasks: Pairs, regularisation: float = 1e-3) -> jax.Array:
    """The same errors of ridge regression on the pairs before each, f32[N].

    Raises:
        ValueError: if `regularisation` is not above 0.
    """

    def answers(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
        nothing = jnp.zeros_like(inputs[:1])
        before = [jnp.concatenate([nothing, x[:-1]]) for x in (inputs, outputs)]
        return least_squares(before[0], before[1], inputs, regularisation)

    return 0.5 * jnp.mean(jnp.sum((jax.vmap(answers)(*tasks) - tasks.outputs) ** 2, axis=-1), axis=0)
