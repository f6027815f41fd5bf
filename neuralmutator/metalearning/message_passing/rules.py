"""What agents do in a step of learning: messages pass from the loss to the input, and weights change."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.metalearning.message_passing.layout import Plan, Tree, fused_rules, pack, unpack
from neuralmutator.metalearning.message_passing.learner import Learner, forward, losses_of
from neuralmutator.metalearning.message_passing.lessons import Lesson, check_lesson


def learn_step(plan: Plan, fused: Tree, learner: Learner, x: jax.Array, y: jax.Array, stats: Any = None) -> Learner:
    """One step of learning: forwards, then messages from the loss back to the input.

    Args:
        plan: of the agents.
        fused: of `fused_rules`.
        learner: before.
        x: f32[B, in].
        y: f32[B, out].
        stats: a dict, if what agents' inputs are divided by is to be measured, and noted in it.

    Raises:
        ValueError: if the learner has begun with batches of another size.
    """
    memories = dict(learner.memories)
    if x.shape[0] != memories["loss"].shape[0]:
        raise ValueError(f"learner must have begun with batches of {x.shape[0]}, not {memories['loss'].shape[0]}")
    outputs, seen = forward(plan, learner, x)

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
    losses, looks = losses_of(plan, prediction, y)
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


def _act(
    plan: Plan, fused: Tree, name: str, message: jax.Array, looks: Sequence[jax.Array], memory: jax.Array, stats: Any
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


def _remember(rule: dict[str, jax.Array], seen: Sequence[jax.Array], memory: jax.Array) -> jax.Array:
    """The gated recurrent unit of a rule: f32[..., memory] after one look.

    Args:
        rule: of `fused_rules`.
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


def calibrate(plan: Plan, params: jax.Array, learner: Learner, lesson: Lesson) -> jax.Array:
    """Parameters f32[P] with what one lesson measures: what inputs are divided by, what a change of nothing is."""
    check_lesson(plan.sizes, lesson)
    tree = unpack(plan, params)
    fused = fused_rules(plan, tree)

    def one(learner: Learner, batch: tuple[jax.Array, jax.Array]) -> tuple[Learner, Stats]:
        stats: Stats = {}
        return learn_step(plan, fused, learner, *batch, stats=stats), stats

    _, stats = jax.lax.scan(one, learner, (lesson.x, lesson.y))
    for name, measured in stats.items():
        tree[name] = tree[name] | {key: jnp.mean(value, axis=0) for key, value in measured.items()}
    return pack(plan, tree)
