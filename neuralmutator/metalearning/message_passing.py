"""Networks whose every weight is an agent that learns to learn (MPLP; Randazzo, Niklasson and Mordvintsev 2020).

After *MPLP: Learning a message passing learning protocol* (arXiv 2007.00970). A *learner* is an ordinary perceptron.
Its weights, biases, activations and its loss are agents. Each has a small memory of its own and follows a *rule*, a
recurrent network: it takes a message from the side of the loss, looks at what is near it, and passes a message on
towards the input. Agents of weights and biases also say by how much theirs is to change. There is no gradient in it.
The rules are what is learnt: by gradients through steps of learning (`trainer`), or by evolution (`learning_fitness`).

Letters: T steps of learning, B examples in a step, P parameters of all rules. A *lesson* is what a learner is taught:
T batches of examples, and others that it never sees. An inner step is one of the learner, a meta-step one of the rules.
"""

import itertools
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator.core import Fitness, check, each
from neuralmutator.core.descent import finite_only
from neuralmutator.core.genome import Genome
from neuralmutator.metalearning.training import Trainer, TrainInfo, TrainState
from neuralmutator.networks import Network

Loss = Literal["squared", "cross-entropy"]
Tree = dict[str, dict[str, jax.Array]]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}
LEAST_PROBABILITY = 1e-7  # the published code's 10e-8, within which a cross-entropy is clipped
FIXED = ("norm", "mean", "zero")  # measured once by `Agents.calibrate`, not trained


class Lesson(NamedTuple):
    """What a learner is taught, and what it is judged by."""

    x: jax.Array  # f32[T, B, in]
    y: jax.Array  # f32[T, B, out]
    unseen_x: jax.Array  # f32[U, in]
    unseen_y: jax.Array  # f32[U, out]


Layers = tuple[jax.Array, ...]
Start = Callable[[jax.Array], tuple[Layers, Layers]]
"""``(key) -> weights f32[in, out] and biases f32[out] of every layer``."""
Draw = Callable[[jax.Array], Lesson]
"""``(key) -> lesson``."""


class Learner(NamedTuple):
    """A network that learns, with the memories of its agents."""

    weights: tuple[jax.Array, ...]  # f32[in, out] of every layer
    biases: tuple[jax.Array, ...]  # f32[out]
    memories: dict[str, jax.Array]  # f32[B, ..., memory] by agent; the first is the change, the last are the message


class Agents(NamedTuple):
    """Rules of learning as flat parameters f32[P], for networks of one shape."""

    num_params: int
    sizes: tuple[int, ...]  # lengths of the arrays that the parameters are made of, in their order
    trained: tuple[bool, ...]  # which of these arrays gradients may change; the others are measured
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[P], not calibrated
    begin: Callable[[jax.Array, int], Learner]  # (key, B) -> a learner that knows nothing
    predict: Callable[[Learner, jax.Array], jax.Array]  # (learner, f32[n, in]) -> f32[n, out]
    loss: Callable[[jax.Array, jax.Array], jax.Array]  # (predictions, targets f32[n, out]) -> f32[] mean of examples
    learn: Callable[[jax.Array, Learner, jax.Array, jax.Array], Learner]  # (params, learner, x [B, in], y) -> learner
    teach: Callable[..., tuple[Learner, jax.Array]]  # (params, learner, lesson) -> learner, loss f32[T] after each step
    calibrate: Callable[[jax.Array, Learner, Lesson], jax.Array]  # (params, learner, lesson) -> params
    unpack: Callable[[jax.Array], Tree]  # f32[P] -> arrays by agent and name
    pack: Callable[[Tree], jax.Array]  # the inverse


class _Plan(NamedTuple):
    """What shapes the program."""

    sizes: tuple[int, ...]
    activation: str
    loss: Loss
    message: int
    memory: dict[str, int]  # of each agent
    rule: dict[str, str]  # whose rule each agent follows
    shapes: dict[tuple[str, str], tuple[int, ...]]  # of every array, in the published order
    std: float
    start: Start


def agents(
    sizes: Sequence[int] = (1, 20, 20, 1),
    activation: Literal["relu", "sigmoid", "tanh"] = "relu",
    loss: Loss = "squared",
    shared: bool = False,
    message: int = 8,
    hidden: int = 15,
    widths: tuple[int, int] = (80, 40),
    std: float = 0.05,
    start: Start | None = None,
) -> Agents:
    """Agents for a perceptron of given layers; by default the paper's for sinusoids, 115,081 numbers.

    ``agents((144, 50, 10), "sigmoid", "cross-entropy", shared=True, message=4, hidden=7)`` are those for MNIST.

    Args:
        sizes: of the layers, input first.
        activation: between the layers.
        loss: half the square of the error, or the cross-entropy of a softmax, which has agents of its own.
        shared: whether agents of one kind follow one rule in all layers. Then the number of parameters hardly depends
            on the layers. (What an agent's inputs are divided by remains its own.)
        message: numbers in a message.
        hidden: numbers in an agent's memory beside its message.
        widths: of the two hidden layers in a rule's networks.
        std: of the learner's first weights; its biases are 0. A fifth of it is the first scale of changes.
        start: draws a learner's first weights and biases otherwise.

    Raises:
        ValueError: if an argument is out of range.
    """
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes must hold at least an input and an output, got {sizes}")
    for size in sizes:
        check.whole(1, sizes=size)
    check.one_of(ACTIVATIONS, activation=activation)
    check.one_of(("squared", "cross-entropy"), loss=loss)
    check.whole(1, message=message)
    check.whole(0, hidden=hidden)
    if len(widths) != 2:
        raise ValueError(f"widths must be two numbers, got {widths}")
    for width in widths:
        check.whole(1, widths=width)
    check.number(0, open_low=True, std=std)
    if loss == "cross-entropy" and sizes[-1] < 2:
        raise ValueError(f"sizes must end with at least 2 classes for a cross-entropy, got {sizes}")
    plan = _plan(sizes, activation, loss, shared, message, hidden, widths, std, start or partial(_narrow, sizes, std))
    lengths = tuple(math.prod(shape) for shape in plan.shapes.values())

    def init(key: jax.Array) -> jax.Array:
        return _pack(plan, _fresh(plan, key))

    def learn(params: jax.Array, learner: Learner, x: jax.Array, y: jax.Array) -> Learner:
        return _learn(plan, _fused(plan, _unpack(plan, params)), learner, x, y)

    def teach(params: jax.Array | Tree, learner: Learner, lesson: Lesson) -> tuple[Learner, jax.Array]:
        _check_lesson(plan, lesson)
        fused = _fused(plan, params if isinstance(params, dict) else _unpack(plan, params))

        def one(learner: Learner, batch: tuple[jax.Array, jax.Array]) -> tuple[Learner, jax.Array]:
            learner = _learn(plan, fused, learner, *batch)
            return learner, _mean_loss(plan, _predict(plan, learner, batch[0]), batch[1])

        return jax.lax.scan(one, learner, (lesson.x, lesson.y))

    return Agents(
        num_params=sum(lengths),
        sizes=lengths,
        trained=tuple(name not in FIXED for _, name in plan.shapes),
        init=init,
        begin=partial(_begin, plan),
        predict=partial(_predict, plan),
        loss=partial(_mean_loss, plan),
        learn=learn,
        teach=teach,
        calibrate=partial(_calibrate, plan),
        unpack=partial(_unpack, plan),
        pack=partial(_pack, plan),
    )


def _plan(
    sizes: tuple[int, ...],
    activation: str,
    loss: Loss,
    shared: bool,
    message: int,
    hidden: int,
    widths: tuple[int, int],
    std: float,
    start: Start,
) -> _Plan:
    shapes: dict[tuple[str, str], tuple[int, ...]] = {}
    memory, rules = {}, {}

    def rule(name: str, seen: int, size: int) -> None:
        arrays: dict[str, tuple[int, ...]] = {}
        for gate in "ur":
            arrays |= {gate + "x": (seen, size), gate + "c": (size, size), gate + "b": (size,)}
        arrays["b"] = (size,)
        for part, width in (("f", seen), ("g", size)):
            arrays |= {part + "1": (width, widths[0]), part + "1b": (widths[0],), part + "2": widths}
            arrays |= {part + "2b": (widths[1],), part + "3": (widths[1], size)}
        shapes.update({(f"rule {name}", array): shape for array, shape in arrays.items()})

    def agent(name: str, kind: str, looks: int, incoming: int, changes: bool = False) -> None:
        """One that looks at so many numbers beside a message of `incoming`; `kind` is whose rule it follows."""
        shapes.update({(name, array): (looks + 1,) for array in ("norm", "mean")})
        memory[name], rules[name] = changes + hidden + message, f"rule {kind}"
        # Rules that weights and biases share stand at the end, others with the first agent that follows them.
        if not (shared and changes) and (f"rule {kind}", "b") not in shapes:
            rule(kind, looks + incoming, memory[name])
        if changes:
            shapes.update({(name, "scale"): (), (name, "zero"): ()})

    layers = len(sizes) - 1
    for layer in range(layers):
        for kind in ("weights", "biases"):
            agent(f"{kind} {layer}", kind if shared else f"{kind} {layer}", 2, message, changes=True)
        if layer < layers - 1:
            agent(f"activation {layer}", "activation" if shared else f"activation {layer}", 1, message)
    if loss == "cross-entropy":
        agent("softmax", "softmax", 4, message)
    agent("loss", "loss", 3, 1)
    if shared:
        for kind in ("weights", "biases"):
            rule(kind, 2 + message, 1 + hidden + message)
    return _Plan(sizes, activation, loss, message, memory, rules, shapes, std, start)


def _unpack(plan: _Plan, params: jax.Array) -> Tree:
    lengths = [math.prod(shape) for shape in plan.shapes.values()]
    if params.shape != (sum(lengths),):
        raise ValueError(f"params must have shape ({sum(lengths)},), got {params.shape}")
    tree: Tree = {}
    parts = jnp.split(params, np.cumsum(lengths)[:-1])
    for ((agent, name), shape), part in zip(plan.shapes.items(), parts, strict=True):
        tree.setdefault(agent, {})[name] = part.reshape(shape)
    return tree


def _pack(plan: _Plan, tree: Tree) -> jax.Array:
    return jnp.concatenate([tree[agent][name].ravel() for agent, name in plan.shapes])


def _fresh(plan: _Plan, key: jax.Array) -> Tree:
    """Glorot's uniform matrices from one draw; gates closed for the past (biases -1), as published."""
    noise = _unpack(plan, jax.random.uniform(key, (sum(map(math.prod, plan.shapes.values())),), minval=-1.0))
    constants = {"norm": 1.0, "ub": -1.0, "rb": -1.0, "scale": plan.std / 5}
    for agent, name in plan.shapes:
        array = noise[agent][name]
        scale = math.sqrt(6 / sum(array.shape)) if array.ndim == 2 else 0.0
        noise[agent][name] = array * scale if scale else jnp.full_like(array, constants.get(name, 0.0))
    return noise


def _fused(plan: _Plan, tree: Tree) -> Tree:
    """The same rules in fewer, larger matrices: what is multiplied by one array stands side by side."""
    fused = dict(tree)
    for name in set(plan.rule.values()):
        rule = tree[name]
        fused[name] = dict(
            x=jnp.concatenate([rule["ux"], rule["rx"], rule["f1"]], axis=1),
            b=jnp.concatenate([rule["ub"], rule["rb"], rule["f1b"]]),
            gates=jnp.concatenate([rule["uc"], rule["rc"]], axis=1),
            out=jnp.concatenate([rule["f3"], rule["g3"]]),
            out_b=rule["b"],
            **{part: rule[part] for part in ("f2", "f2b", "g1", "g1b", "g2", "g2b")},
        )
    return fused


def _remember(rule: dict[str, jax.Array], seen: Sequence[jax.Array], memory: jax.Array) -> jax.Array:
    """The gated recurrent unit of a rule: f32[..., memory] after one look.

    Args:
        rule: of `_fused`.
        seen: arrays f32[..., k] that stand for one another's neighbours: they are multiplied before they are spread
            over the axes in which they are the same.
        memory: f32[..., memory] before.
    """
    ends = np.cumsum([x.shape[-1] for x in seen])[:-1]
    parts = [_times(x, rows) for x, rows in zip(seen, jnp.split(rule["x"], ends), strict=True)]
    looked = sum(parts[1:], parts[0] + rule["b"])
    size = memory.shape[-1]
    shape = memory.shape
    looked, memory = looked.reshape(-1, looked.shape[-1]), memory.reshape(-1, size)
    update, reset = jnp.split(jax.nn.sigmoid(looked[..., : 2 * size] + memory @ rule["gates"]), 2, axis=-1)
    f = jnp.tanh(jnp.tanh(looked[..., 2 * size :]) @ rule["f2"] + rule["f2b"])
    g = jnp.tanh(jnp.tanh((reset * memory) @ rule["g1"] + rule["g1b"]) @ rule["g2"] + rule["g2b"])
    width = f.shape[-1]
    new = jnp.tanh(f @ rule["out"][:width] + g @ rule["out"][width:] + rule["out_b"])
    return (update * memory + (1 - update) * new).reshape(shape)


def _times(x: jax.Array, rows: jax.Array) -> jax.Array:
    """``x @ rows``, cheap where there is one row."""
    return x * rows[0] if rows.shape[0] == 1 else x @ rows


Stats = dict[str, dict[str, jax.Array]]


def _act(
    plan: _Plan, fused: Tree, name: str, message: jax.Array, looks: Sequence[jax.Array], memory: jax.Array, stats: Any
) -> jax.Array:
    """An agent's memory f32[..., memory] after a message f32[..., k] and what it looks at, each f32[...].

    With `stats`, a dict, its inputs are divided by their own spread instead, which is noted.
    """
    inputs = [message, *(x[..., None] for x in looks)]
    mean, norm = fused[name]["mean"], fused[name]["norm"]
    if stats is not None:
        spreads = [jnp.std(x) for x in inputs]
        mean = jnp.stack([-jnp.mean(x) for x in inputs])
        norm = jnp.stack([jnp.where(s < 1e-5, 1.0, 1 / jnp.maximum(s, 1e-5)) for s in spreads])
        stats[name] = {"mean": mean, "norm": norm}
    seen = [(x + mean[i]) * norm[i] for i, x in enumerate(inputs)]
    return _remember(fused[plan.rule[name]], seen, memory)


def _forward(plan: _Plan, learner: Learner, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Outputs f32[n, out] before a softmax, and what every agent sees of it."""
    seen = {}
    last = len(learner.weights) - 1
    for layer, (weights, biases) in enumerate(zip(learner.weights, learner.biases, strict=True)):
        seen[f"weights {layer}"] = x
        x = x @ weights
        seen[f"biases {layer}"] = x
        x = x + biases
        if layer < last:
            seen[f"activation {layer}"] = x
            x = ACTIVATIONS[plan.activation](x)
    return x, seen


def _predict(plan: _Plan, learner: Learner, x: jax.Array) -> jax.Array:
    """What a learner says, f32[n, out]; probabilities of classes where it has a softmax."""
    y, _ = _forward(plan, learner, x)
    return y if plan.loss == "squared" else jax.nn.softmax(y)


def _losses(plan: _Plan, prediction: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The loss of every output f32[n, out], and what its agent sees."""
    if plan.loss == "squared":
        error = y - prediction
        return error**2 / 2, (prediction, y, error)
    probability = jnp.clip(prediction, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    log = jnp.log(probability)
    return -y * log, (probability, y, log)


def _mean_loss(plan: _Plan, prediction: jax.Array, y: jax.Array) -> jax.Array:
    """Half the square of the error, mean over examples and outputs; or the cross-entropy in nats."""
    losses, _ = _losses(plan, prediction, y)
    return jnp.mean(losses) if plan.loss == "squared" else jnp.mean(jnp.sum(losses, axis=-1))


def _narrow(sizes: tuple[int, ...], std: float, key: jax.Array) -> tuple[Layers, Layers]:
    """Small normal weights, no biases: the paper's start."""
    pairs = list(itertools.pairwise(sizes))
    noise = std * jax.random.normal(key, (sum(i * o for i, o in pairs),))
    parts = jnp.split(noise, np.cumsum([i * o for i, o in pairs])[:-1])
    weights = tuple(part.reshape(pair) for part, pair in zip(parts, pairs, strict=True))
    return weights, tuple(jnp.zeros(o) for _, o in pairs)


def spread_start(
    sizes: Sequence[int], slope: float | jax.Array = 1.0, reach: float | jax.Array = 2.5, std: float | jax.Array = 0.05
) -> Start:
    """A start whose first layer looks at all of its input at once: ours, for rules that are trained for minutes.

    The paper's narrow start leaves it to the rules to spread the units of the first layer over the input.

    Args:
        sizes: of the layers, input first.
        slope: std of the first layer's weights.
        reach: std of its biases.
        std: of the other layers' weights; their biases are 0.

    Raises:
        ValueError: if there are no two layers, or a number is negative.
    """
    sizes = tuple(sizes)
    if len(sizes) < 3:
        raise ValueError(f"sizes must hold an input, a hidden layer and an output at least, got {sizes}")
    check.number(0, slope=slope, reach=reach, std=std)

    def start(key: jax.Array) -> tuple[Layers, Layers]:
        key_weights, key_biases = jax.random.split(key)
        weights, biases = _narrow(sizes, 1.0, key_weights)
        first = reach * jax.random.normal(key_biases, biases[0].shape)
        return (slope * weights[0], *(std * w for w in weights[1:])), (first, *biases[1:])

    return start


def _begin(plan: _Plan, key: jax.Array, batch: int) -> Learner:
    check.whole(1, batch=batch)
    weights, biases = plan.start(key)
    memories = {}
    for name, size in plan.memory.items():
        kind, _, layer = name.partition(" ")
        width = plan.sizes[int(layer) + 1] if layer else plan.sizes[-1]
        places = (plan.sizes[int(layer)], width) if kind == "weights" else (width,)
        memories[name] = jnp.zeros((batch, *places, size))
    return Learner(weights, biases, memories)


def _learn(plan: _Plan, fused: Tree, learner: Learner, x: jax.Array, y: jax.Array, stats: Any = None) -> Learner:
    """One step of learning: forwards, then messages from the loss back to the input."""
    memories = dict(learner.memories)
    if x.shape[0] != memories["loss"].shape[0]:
        raise ValueError(f"learner must have begun with batches of {x.shape[0]}, not {memories['loss'].shape[0]}")
    outputs, seen = _forward(plan, learner, x)

    def act(name: str, message: jax.Array, *looks: jax.Array) -> jax.Array:
        """The agent's new message."""
        memories[name] = _act(plan, fused, name, message, looks, memories[name], stats)
        return memories[name][..., -plan.message :]

    def changed(name: str, before: jax.Array) -> jax.Array:
        said = jnp.mean(memories[name][..., 0], axis=0)
        zero = fused[name]["zero"]
        if stats is not None:
            zero = stats[name]["zero"] = jnp.mean(said)
        return before + (said - zero) * fused[name]["scale"]

    prediction = outputs if plan.loss == "squared" else jax.nn.softmax(outputs)
    losses, looks = _losses(plan, prediction, y)
    message = act("loss", losses[..., None], *looks)
    if plan.loss == "cross-entropy":
        shifted = outputs - jnp.max(outputs, axis=-1, keepdims=True)
        total = jnp.broadcast_to(jnp.sum(jnp.exp(shifted), axis=-1, keepdims=True), shifted.shape)
        message = act("softmax", message, outputs, shifted, jnp.exp(shifted), total)
    weights, biases = list(learner.weights), list(learner.biases)
    for layer in reversed(range(len(weights))):
        if f"activation {layer}" in seen:
            message = act(f"activation {layer}", message, seen[f"activation {layer}"])
        name = f"biases {layer}"
        message = act(name, message, biases[layer][None], seen[name])
        biases[layer] = changed(name, biases[layer])
        name = f"weights {layer}"
        message = act(name, message[:, None], weights[layer][None], seen[name][..., None])
        weights[layer] = changed(name, weights[layer])
        message = jnp.mean(message, axis=2)
    return Learner(tuple(weights), tuple(biases), memories)


def _calibrate(plan: _Plan, params: jax.Array, learner: Learner, lesson: Lesson) -> jax.Array:
    """Measures, over the steps of one lesson, what agents' inputs are divided by and what a change of nothing is."""
    _check_lesson(plan, lesson)
    tree = _unpack(plan, params)
    fused = _fused(plan, tree)

    def one(learner: Learner, batch: tuple[jax.Array, jax.Array]) -> tuple[Learner, Stats]:
        stats: Stats = {}
        return _learn(plan, fused, learner, *batch, stats=stats), stats

    _, stats = jax.lax.scan(one, learner, (lesson.x, lesson.y))
    for name, measured in stats.items():
        tree[name] = tree[name] | {key: jnp.mean(value, axis=0) for key, value in measured.items()}
    return _pack(plan, tree)


def _check_lesson(plan: _Plan, lesson: Lesson) -> None:
    """Raises ValueError unless a lesson fits the layers."""
    width, out = plan.sizes[0], plan.sizes[-1]
    if lesson.x.ndim != 3 or lesson.x.shape[2] != width or lesson.y.shape != (*lesson.x.shape[:2], out):
        shapes = f"{lesson.x.shape} and {lesson.y.shape}"
        raise ValueError(f"lesson must have x of shape (T, B, {width}) and y of shape (T, B, {out}), got {shapes}")


def as_network(agents: Agents, draw: Draw, key: jax.Array) -> Network:
    """Rules as a network with memory, which mutators and evolution take: it learns as it runs.

    ``apply(params, (learner, (x, y)))`` gives ``(learner, predictions)``: what the learner says of a batch before it
    learns it. It starts as the learner that `key` draws. First parameters are calibrated by a lesson.

    Args:
        agents: of `agents`.
        draw: of lessons, for the size of a batch and the calibration.
        key: draws the learner's first weights.

    Raises:
        ValueError: if `key` is not one of ``jax.random.key``.
    """
    check.random_key(key=key)
    start = agents.begin(key, jax.eval_shape(draw, key).x.shape[1])

    def apply(params: jax.Array, inputs: tuple[Learner, tuple[jax.Array, jax.Array]]) -> tuple[Learner, jax.Array]:
        learner, (x, y) = inputs
        return agents.learn(params, learner, x, y), agents.predict(learner, x)

    return Network(
        agents.num_params,
        lambda key: calibrated(agents, draw, key),
        apply,
        lambda params, inputs: (apply(params, inputs)[1],),
        initial_state=start,
        sizes=agents.sizes,
    )


def read_published(source: str | os.PathLike[str] | np.ndarray | jax.Array, agents: Agents) -> jax.Array:
    """Parameters in the format of the published weights (``mplp/savedmodels/*.npy``): one vector in our order.

    The published ones for sinusoids fit ``agents()``, those for MNIST the agents named there.

    Args:
        source: a file of NumPy's, or its array.
        agents: that the parameters are for.

    Returns:
        f32[P].

    Raises:
        ValueError: if it is not a vector of as many finite numbers as the agents have.
    """
    array = np.load(source) if isinstance(source, str | os.PathLike) else np.asarray(source)
    if array.shape != (agents.num_params,):
        raise ValueError(f"source must hold {agents.num_params} numbers in one vector, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError("source must hold finite numbers only")
    return jnp.asarray(array, jnp.float32)


def sinusoids(steps: int = 5, shots: int = 10, unseen: int = 10) -> Draw:
    """The paper's lessons: A sin(x + φ), A in [0.1, 0.5), φ in [0, π), at x in [-5, 5).

    Args:
        steps: T.
        shots: B.
        unseen: examples that a learner is judged by.

    Raises:
        ValueError: if a number is not a whole number of at least 1.
    """
    check.whole(1, steps=steps, shots=shots, unseen=unseen)

    def draw(key: jax.Array) -> Lesson:
        key_size, key_phase, key_x = jax.random.split(key, 3)
        size = jax.random.uniform(key_size, minval=0.1, maxval=0.5)
        phase = jax.random.uniform(key_phase, maxval=jnp.pi)
        x = jax.random.uniform(key_x, (steps * shots + unseen, 1), minval=-5.0, maxval=5.0)
        y = size * jnp.sin(x + phase)
        taught = steps * shots
        shape = (steps, shots, 1)
        return Lesson(x[:taught].reshape(shape), y[:taught].reshape(shape), x[taught:], y[taught:])

    return draw


def samples(
    x: jax.Array | np.ndarray, y: jax.Array | np.ndarray, steps: int = 20, shots: int = 8, unseen: int = 64
) -> Draw:
    """Lessons of examples that are drawn anew from a table, none of them twice in a lesson.

    Args:
        x: f32[n, in].
        y: f32[n, out].
        steps: T.
        shots: B.
        unseen: examples that a learner is judged by.

    Raises:
        ValueError: if the table is too small for a lesson or its halves differ in length.
    """
    check.whole(1, steps=steps, shots=shots, unseen=unseen)
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(f"x and y must have shapes (n, in) and (n, out), got {x.shape} and {y.shape}")
    taught = steps * shots
    if x.shape[0] < taught + unseen:
        raise ValueError(f"x must hold at least {taught + unseen} examples for a lesson, got {x.shape[0]}")
    table_x, table_y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)

    def draw(key: jax.Array) -> Lesson:
        rows = jax.random.permutation(key, x.shape[0])[: taught + unseen]
        first, rest = rows[:taught].reshape(steps, shots), rows[taught:]
        return Lesson(table_x[first], table_y[first], table_x[rest], table_y[rest])

    return draw


def digits(steps: int = 20, shots: int = 8, unseen: int = 64, test: bool = False) -> Draw:
    """Lessons of the 8 × 8 digits of scikit-learn: 64 brightnesses with mean 0 and std 1, 10 classes.

    Args:
        steps: T.
        shots: B.
        unseen: examples that a learner is judged by.
        test: whether of the 397 last images, which lessons otherwise never show.

    Raises:
        ValueError: if a number is out of range.
    """
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    x = (x - x.mean()) / x.std()
    half = slice(1400, None) if test else slice(1400)
    return samples(x[half], np.eye(10)[labels[half]], steps, shots, unseen)


def meta_loss(
    agents: Agents, draw: Draw, params: jax.Array | Tree, key: jax.Array, hint: float = 0.7, pool: int | None = None
) -> jax.Array:
    """How badly rules teach a fresh learner one lesson, f32[].

    Args:
        agents: of `agents`.
        draw: of lessons.
        params: f32[P], or what `Agents.unpack` makes of it.
        key: draws the lesson and the learner.
        hint: weight of the loss on the batches just learnt, mean over the steps; the rest is that of the unseen
            examples after the last. The paper's 0.7.
        pool: learners are drawn from so many; None: all are fresh.
    """
    key_lesson, key_learner = jax.random.split(key)
    lesson = draw(key_lesson)
    if pool is not None:
        key_learner = jax.random.fold_in(jax.random.key(0), jax.random.randint(key_learner, (), 0, pool))
    learner, hints = agents.teach(params, agents.begin(key_learner, lesson.x.shape[1]), lesson)
    judged = agents.loss(agents.predict(learner, lesson.unseen_x), lesson.unseen_y)
    return hint * jnp.mean(hints) + (1 - hint) * judged


def trainer(
    agents: Agents,
    draw: Draw,
    learning_rate: float | optax.Schedule = 1e-4,
    lessons: int = 4,
    hint: float = 0.7,
    pool: int | None = None,
) -> Trainer:
    """Trains rules by gradients through all steps of lessons, as the paper does.

    The gradient of every array is divided by its norm before Adam. Gradients reach back to the beginning of a lesson
    and no further.

    Args:
        agents: of `agents`.
        draw: of lessons.
        learning_rate: of Adam.
        lessons: in a meta-step, each with a learner of its own.
        hint: see `meta_loss`.
        pool: see `meta_loss`; the paper's is 128.

    Raises:
        ValueError: if an argument is out of range.
    """
    check.whole(1, lessons=lessons)
    check.number(0, 1, hint=hint)
    if pool is not None:
        check.whole(1, pool=pool)
    if not callable(learning_rate):
        check.number(0, open_low=True, learning_rate=learning_rate)
    optimizer = finite_only(optax.adam(learning_rate))

    def init(key: jax.Array) -> TrainState:
        check.random_key(key=key)
        params = calibrated(agents, draw, key)
        return TrainState(params, optimizer.init(params))

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, TrainInfo]:
        tree = agents.unpack(state.params)

        def lesson(key: jax.Array) -> tuple[jax.Array, Tree]:
            return jax.value_and_grad(lambda tree: meta_loss(agents, draw, tree, key, hint, pool))(tree)

        losses, gradients = each(lesson, jax.random.split(key, lessons))
        gradients = jax.tree.map(lambda g: _unit(jnp.mean(g, axis=0)), gradients)
        gradient = agents.pack(
            {name: {k: g * (k not in FIXED) for k, g in of.items()} for name, of in gradients.items()}
        )
        updates, memory = optimizer.update(gradient, state.optimizer, state.params)
        after = TrainState(optax.apply_updates(state.params, updates), memory)
        return after, TrainInfo(jnp.mean(losses), ~memory.last_finite)

    return Trainer(init, step)


def _unit(gradient: jax.Array) -> jax.Array:
    return gradient / (jnp.linalg.norm(gradient) + 1e-8)


def calibrated(agents: Agents, draw: Draw, key: jax.Array) -> jax.Array:
    """Fresh rules f32[P] that a lesson has calibrated."""
    key_params, key_lesson, key_learner = jax.random.split(key, 3)
    lesson = draw(key_lesson)
    return agents.calibrate(agents.init(key_params), agents.begin(key_learner, lesson.x.shape[1]), lesson)


def learning_fitness(agents: Agents, draw: Draw, lessons: int = 8, hint: float = 0.7) -> Fitness:
    """Higher is better, 0 is perfect: minus the mean `meta_loss` of a genome's policy, which holds rules of learning.

    Args:
        agents: of `agents`; the evolution's policy must be `as_network` of it.
        draw: of lessons.
        lessons: that are averaged.
        hint: see `meta_loss`.

    Raises:
        ValueError: if an argument is out of range.
    """
    check.whole(1, lessons=lessons)
    check.number(0, 1, hint=hint)

    def score(key: jax.Array, genome: Genome) -> jax.Array:
        keys = jax.random.split(key, lessons)
        return -jnp.mean(jax.vmap(lambda key: meta_loss(agents, draw, genome.policy, key, hint))(keys))

    return score


def learning_curve(agents: Agents, draw: Draw, params: jax.Array, key: jax.Array) -> jax.Array:
    """The loss on unseen examples of a fresh learner after 0 … T steps of one lesson, f32[T + 1].

    Args:
        agents: of `agents`.
        draw: of lessons.
        params: f32[P].
        key: draws the lesson and the learner; `descent_curve` draws the same.
    """

    def learn(learner: Learner, memory: None, x: jax.Array, y: jax.Array) -> tuple[Learner, None]:
        return agents.learn(params, learner, x, y), memory

    return _curve(agents, draw, key, learn, lambda learner: None)


def descent_curve(
    agents: Agents, draw: Draw, optimizer: optax.GradientTransformation, key: jax.Array, std: float = 1.0
) -> jax.Array:
    """As `learning_curve`, of the same learner and lesson, taught by an optimiser's gradient step on each batch.

    Args:
        agents: whose learners and loss are used.
        draw: of lessons.
        optimizer: of optax.
        key: draws the lesson and the learner.
        std: times which the learner's first weights are taken.
    """

    def learn(learner: Learner, memory: Any, x: jax.Array, y: jax.Array) -> tuple[Learner, Any]:
        def loss(net: Learner) -> jax.Array:
            return agents.loss(agents.predict(net, x), y)

        updates, memory = optimizer.update(jax.grad(loss)(learner), memory, learner)
        return optax.apply_updates(learner, updates), memory

    def begin(learner: Learner) -> Any:
        return optimizer.init(learner)

    return _curve(agents, draw, key, learn, begin, std)


def _curve(
    agents: Agents,
    draw: Draw,
    key: jax.Array,
    learn: Callable[[Learner, Any, jax.Array, jax.Array], tuple[Learner, Any]],
    begin: Callable[[Learner], Any],
    std: float | None = None,
) -> jax.Array:
    """Losses on unseen examples; the learner has no agents where `std` is given."""
    key_lesson, key_learner = jax.random.split(key)
    lesson = draw(key_lesson)
    start = agents.begin(key_learner, lesson.x.shape[1])
    if std is not None:
        start = Learner(tuple(std * weights for weights in start.weights), start.biases, {})

    def judge(learner: Learner) -> jax.Array:
        return agents.loss(agents.predict(learner, lesson.unseen_x), lesson.unseen_y)

    def one(state: tuple[Learner, Any], batch: tuple[jax.Array, jax.Array]) -> tuple[tuple[Learner, Any], jax.Array]:
        state = learn(*state, *batch)
        return state, judge(state[0])

    _, after = jax.lax.scan(one, (start, begin(start)), (lesson.x, lesson.y))
    return jnp.concatenate([judge(start)[None], after])
