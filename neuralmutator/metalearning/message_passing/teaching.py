"""How rules are learnt: by gradients through lessons, or by evolution."""

import jax
import jax.numpy as jnp
import optax

from neuralmutator.core import Fitness, check, each
from neuralmutator.core.descent import finite_only
from neuralmutator.core.genome import Genome
from neuralmutator.metalearning.message_passing.layout import FIXED, Tree
from neuralmutator.metalearning.message_passing.lessons import Draw
from neuralmutator.metalearning.message_passing.protocol import Agents, calibrated
from neuralmutator.metalearning.training import Trainer, TrainInfo, TrainState


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
