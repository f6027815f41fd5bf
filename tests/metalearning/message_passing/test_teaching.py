import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import rollout
from neuralmutator.metalearning import message_passing as mp

SMALL = {"message": 3, "hidden": 2, "widths": (6, 5)}
AGENTS = mp.agents((2, 4, 3), "tanh", **SMALL)


@pytest.mark.slow
def test_a_meta_step_is_adam_on_unit_gradients():
    agents, draw = mp.agents((1, 1), **SMALL), mp.sinusoids(2, 3, 4)
    pair = mp.trainer(agents, draw, 1e-2, lessons=2, hint=0.6)
    before = jax.jit(pair.init)(jax.random.key(0))
    after, info = jax.jit(pair.step)(jax.random.key(1), before)
    one = jax.jit(jax.value_and_grad(lambda params, key: mp.meta_loss(agents, draw, params, key, 0.6)))
    found = [one(before.params, key) for key in jax.random.split(jax.random.key(1), 2)]
    np.testing.assert_allclose(info.loss, np.mean([loss for loss, _ in found]), rtol=1e-5)
    slope = np.mean([slope for _, slope in found], axis=0, dtype=np.float64)
    wanted, at = np.array(before.params, np.float64), 0
    for size, trained in zip(agents.sizes, agents.trained, strict=True):
        part = slope[at : at + size]
        part = part / (np.linalg.norm(part) + 1e-8) * trained
        wanted[at : at + size] -= 1e-2 * part / (np.abs(part) + 1e-8)  # Adam's first step
        at += size
    moved = np.asarray(after.params) != np.asarray(before.params)
    assert not info.skipped and not moved[~np.repeat(agents.trained, agents.sizes)].any()
    np.testing.assert_allclose(after.params, wanted, atol=2e-4)


@pytest.mark.slow
def test_a_meta_loss_weighs_hints_and_unseen_examples():
    agents, draw, key = mp.agents((1, 3, 1), **SMALL), mp.sinusoids(3, 4, 5), jax.random.key(5)
    params = jax.jit(lambda key: mp.calibrated(agents, draw, key))(jax.random.key(0))
    curve = jax.jit(lambda params, key: mp.learning_curve(agents, draw, params, key))(params, key)
    key_lesson, key_learner = jax.random.split(key)
    lesson, learner, learn = draw(key_lesson), agents.begin(key_learner, 4), jax.jit(agents.learn)
    hints = []
    for x, y in zip(lesson.x, lesson.y, strict=True):
        learner = learn(params, learner, x, y)
        hints.append(np.mean((np.asarray(agents.predict(learner, x)) - y) ** 2) / 2)
    last = np.mean((np.asarray(agents.predict(learner, lesson.unseen_x)) - lesson.unseen_y) ** 2) / 2
    np.testing.assert_allclose(curve[-1], last, rtol=1e-4)
    loss = jax.jit(lambda key: mp.meta_loss(agents, draw, params, key))
    np.testing.assert_allclose(loss(key), 0.7 * np.mean(hints) + 0.3 * last, rtol=1e-4)

    genome = nm.Genome(params, *(jnp.zeros(0),) * 2, jnp.zeros(0, jnp.int32), jnp.float32(0))
    mean = np.mean([loss(k) for k in jax.random.split(key, 3)])
    np.testing.assert_allclose(jax.jit(mp.learning_fitness(agents, draw, lessons=3))(key, genome), -mean, rtol=1e-4)


def test_a_pool_has_so_many_learners():
    agents = mp.agents((1, 2, 1), **SMALL)
    lesson, params = mp.sinusoids(1, 3, 4)(jax.random.key(0)), agents.init(jax.random.key(1))
    loss = jax.jit(lambda key: mp.meta_loss(agents, lambda key: lesson, params, key, pool=2))
    assert len({float(loss(jax.random.key(n))) for n in range(8)}) == 2


@pytest.mark.slow
def test_rules_learn_to_teach():
    """Fresh rules leave a learner as it was; after five hundred meta-steps, lessons help it."""
    sizes = (1, 10, 1)
    agents = mp.agents(sizes, "tanh", message=4, hidden=3, widths=(16, 8), start=mp.spread_start(sizes))
    draw, key = mp.sinusoids(), jax.random.key(0)
    pair = mp.trainer(agents, draw, 3e-3)
    before = jax.jit(pair.init)(key)
    after, info = jax.jit(lambda state: rollout(pair.step, key, state, 500))(before)
    keys = jax.random.split(jax.random.key(1), 100)
    curve = jax.jit(lambda p: jax.lax.map(lambda key: mp.learning_curve(agents, draw, p, key), keys).mean(0))
    fresh, taught = curve(before.params), curve(after.params)
    assert fresh[-1] > 0.9 * fresh[0]
    assert taught[-1] < 0.7 * taught[0]
    assert not info.skipped.any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mp.trainer(AGENTS, None, hint=2), "hint must lie between 0 and 1, got 2"),
        (lambda: mp.trainer(AGENTS, None, lessons=0), "lessons must be a whole number of at least 1, got 0"),
        (lambda: mp.trainer(AGENTS, None, -1.0), "learning_rate must be a finite number above 0, got -1.0"),
        (lambda: mp.trainer(AGENTS, None, pool=0), "pool must be a whole number of at least 1, got 0"),
        (lambda: mp.learning_fitness(AGENTS, None, 0), "lessons must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
