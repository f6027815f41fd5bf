"""Rules of learning for networks of one shape, and what else they are: a network, a file."""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.metalearning.message_passing.layout import (
    FIXED,
    Loss,
    Start,
    Tree,
    fresh,
    fused_rules,
    lay_out,
    pack,
    unpack,
)
from neuralmutator.metalearning.message_passing.learner import (
    ACTIVATIONS,
    Learner,
    begin,
    mean_loss,
    narrow_start,
    predict,
)
from neuralmutator.metalearning.message_passing.lessons import Draw, Lesson, check_lesson
from neuralmutator.metalearning.message_passing.rules import calibrate, learn_step
from neuralmutator.networks import Network


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
    plan = lay_out(
        sizes, activation, loss, shared, message, hidden, widths, std, start or partial(narrow_start, sizes, std)
    )
    lengths = tuple(math.prod(shape) for shape in plan.shapes.values())

    def init(key: jax.Array) -> jax.Array:
        return pack(plan, fresh(plan, key))

    def learn(params: jax.Array, learner: Learner, x: jax.Array, y: jax.Array) -> Learner:
        return learn_step(plan, fused_rules(plan, unpack(plan, params)), learner, x, y)

    def teach(params: jax.Array | Tree, learner: Learner, lesson: Lesson) -> tuple[Learner, jax.Array]:
        check_lesson(plan.sizes, lesson)
        fused = fused_rules(plan, params if isinstance(params, dict) else unpack(plan, params))

        def one(learner: Learner, batch: tuple[jax.Array, jax.Array]) -> tuple[Learner, jax.Array]:
            learner = learn_step(plan, fused, learner, *batch)
            return learner, mean_loss(plan, predict(plan, learner, batch[0]), batch[1])

        return jax.lax.scan(one, learner, (lesson.x, lesson.y))

    return Agents(
        num_params=sum(lengths),
        sizes=lengths,
        trained=tuple(name not in FIXED for _, name in plan.shapes),
        init=init,
        begin=partial(begin, plan),
        predict=partial(predict, plan),
        loss=partial(mean_loss, plan),
        learn=learn,
        teach=teach,
        calibrate=partial(calibrate, plan),
        unpack=partial(unpack, plan),
        pack=partial(pack, plan),
    )


def calibrated(agents: Agents, draw: Draw, key: jax.Array) -> jax.Array:
    """Fresh rules f32[P] that a lesson has calibrated."""
    key_params, key_lesson, key_learner = jax.random.split(key, 3)
    lesson = draw(key_lesson)
    return agents.calibrate(agents.init(key_params), agents.begin(key_learner, lesson.x.shape[1]), lesson)


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
