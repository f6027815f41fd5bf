"""How fast a fresh learner learns: taught by rules, or by an optimiser's gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from neuralmutator.metalearning.message_passing.learner import Learner
from neuralmutator.metalearning.message_passing.lessons import Draw
from neuralmutator.metalearning.message_passing.protocol import Agents


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
