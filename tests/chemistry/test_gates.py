import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import chemistry
from neuralmutator.chemistry import accuracy, all_reactions, answer_loss, answers, logic, majority, mass_action, network

APPROXIMATE = network("X + Y -> 2 B", "X + B -> 2 X", "Y + B -> 2 Y", species="XYB")
"""Approximate majority (Angluin, Aspnes and Eisenstat 2008)."""


def test_the_questions_of_a_majority():
    asked = majority(APPROXIMATE, gap=0.2)(jax.random.key(0), 500)
    x, y, b = np.asarray(asked.starts).T
    np.testing.assert_allclose(x + y, 1, rtol=1e-6)
    assert (b == 0).all() and (np.abs(x - y) >= 0.2 - 1e-6).all() and np.abs(x - y).max() > 0.95
    np.testing.assert_array_equal(asked.answers, np.stack([x > y, y > x, b], axis=1))
    assert 0.4 < np.mean(x > y) < 0.6


def test_approximate_majority_is_right():
    asked = majority(APPROXIMATE)(jax.random.key(1), 200)
    kinetics = mass_action(APPROXIMATE)
    found = answers(kinetics, jnp.ones(3), asked.starts, 0.2, 150)
    assert accuracy(found, asked.answers) == 1
    assert accuracy(answers(kinetics, jnp.zeros(3), asked.starts, 0.2, 150), asked.answers) < 0.3
    got = answer_loss(kinetics, majority(APPROXIMATE), count=200)(jax.random.key(1), jnp.ones(3))
    np.testing.assert_allclose(got, np.mean((np.asarray(found) - np.asarray(asked.answers)) ** 2), rtol=1e-4)


def test_the_questions_of_a_gate():
    reactions = all_reactions("ABCD")
    asked = logic(reactions, (0, 1, 1, 0), supplies={"D": 0.7}, noise=0.1)(jax.random.key(0), 400)
    a, b, c, d = np.asarray(asked.starts).T
    assert (c == 0).all() and (d == np.float32(0.7)).all()
    assert (((a <= 0.1) | (a >= 0.9)) & ((b <= 0.1) | (b >= 0.9)) & (a >= 0) & (b <= 1)).all()
    np.testing.assert_array_equal(asked.answers[:, 2], (a > 0.5) ^ (b > 0.5))
    assert np.isnan(asked.answers[:, [0, 1, 3]]).all()
    np.testing.assert_array_equal(np.unique(np.stack([a, b]) > 0.5, axis=1, return_counts=True)[1], [100] * 4)
    exact = logic(reactions, (0, 0, 0, 1), noise=0.0)(jax.random.key(0), 4)
    np.testing.assert_array_equal(exact.starts[:, :2], [[0, 0], [0, 1], [1, 0], [1, 1]])


def test_an_and_gate_by_hand():
    """A + B -> C makes as much as there is of the rarer input; only what is asked for counts."""
    reactions = network("A + B -> C")
    draw = logic(reactions, (0, 0, 0, 1), noise=0.0)
    loss = answer_loss(mass_action(reactions), draw, dt=0.2, steps=500, count=8)
    assert loss(jax.random.key(0), jnp.array([1.0])) < 1e-3
    np.testing.assert_allclose(loss(jax.random.key(0), jnp.array([0.0])), 0.25)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: majority(APPROXIMATE, ("X", "Z")), "second must be one of X, Y, B, got 'Z'"),
        (lambda: majority(APPROXIMATE, ("X", "X")), "species must differ, got ('X', 'X')"),
        (lambda: majority(APPROXIMATE, gap=1), "gap must lie in [0, 1), got 1"),
        (lambda: logic(APPROXIMATE, (0, 1), ("X", "Y"), "B"), "truth must be 4 values of 0 and 1, got (0, 1)"),
        (
            lambda: logic(APPROXIMATE, (0, 1, 1, 2), ("X", "Y"), "B"),
            "truth must be 4 values of 0 and 1, got (0, 1, 1, 2)",
        ),
        (lambda: logic(APPROXIMATE, (0, 1), ("X",), "X"), "species must be named once, got X, X"),
        (
            lambda: logic(APPROXIMATE, (0, 1), ("X",), "B", {"Y": -1}),
            "supplies must be finite and at least 0, got -1 for Y",
        ),
        (
            lambda: answer_loss(mass_action(APPROXIMATE), majority(APPROXIMATE), dt=-1),
            "dt must be a finite number above 0, got -1",
        ),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == said


@pytest.mark.slow
def test_a_majority_gate_is_learnt_from_all_reactions_and_pruned():
    reactions = all_reactions("XYB", conserve=True)
    kinetics, draw = mass_action(reactions), majority(reactions)
    size = len(reactions.texts)
    loss = answer_loss(kinetics, draw)
    pair = chemistry.trainer(loss, size, chemistry.descent(3e-2, 500), 1e-4)
    start = jnp.exp(0.5 * jax.random.normal(jax.random.key(0), (size,)) - 6)
    rates, _ = chemistry.fit(pair, jax.random.key(0), start, 500)
    again = chemistry.trainer(loss, size, chemistry.descent(2e-2, 100), 1e-4)
    judge = answer_loss(kinetics, draw, count=64)
    pruned = chemistry.prune(again, lambda n: judge(jax.random.key(9), n), jax.random.key(1), rates, size, 100)
    asked = draw(jax.random.key(1000), 500)
    assert accuracy(answers(kinetics, pruned.numbers, asked.starts, 0.2, 150), asked.answers) > 0.95
    assert (pruned.numbers > 0).sum() <= 12
