import jax
import numpy as np
import optax

from neuralmutator.metalearning import message_passing as mp

SMALL = {"message": 3, "hidden": 2, "widths": (6, 5)}


def test_descent_is_plain_gradient_descent():
    agents, draw, key = mp.agents((1, 1), **SMALL), mp.sinusoids(2, 5, 20), jax.random.key(4)
    curve = mp.descent_curve(agents, draw, optax.sgd(0.1), key, std=3.0)
    key_lesson, key_learner = jax.random.split(key)
    lesson = draw(key_lesson)
    w, b = 3 * float(agents.begin(key_learner, 5).weights[0][0, 0]), 0.0
    losses = []
    for x, y in [*zip(lesson.x, lesson.y, strict=True), (None, None)]:
        losses.append(np.mean((w * lesson.unseen_x + b - lesson.unseen_y) ** 2) / 2)
        if x is not None:
            error = w * x + b - y
            w, b = w - 0.1 * float((error * x).mean()), b - 0.1 * float(error.mean())
    np.testing.assert_allclose(curve, losses, rtol=1e-5)
