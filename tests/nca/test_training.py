import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from neuralmutator import nca, rollout
from neuralmutator.nca.windows import SLACK

AUTOMATON = nca.growing(channels=6, hidden=16)


def ring(side=14):
    """A small target: a red disc with a green middle."""
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    distance = np.hypot(down, across)
    alpha = np.clip(3.5 - distance, 0, 1)
    red, green = alpha * (distance > 1.5), alpha * (distance <= 1.5)
    return jnp.asarray(np.stack([red, green, 0 * alpha, alpha], axis=-1), jnp.float32)


def make(regime, **options):
    options = {"batch_size": 4, "pool_size": 16, "lengths": (8, 12), "damaged": 2} | options
    return nca.trainer(AUTOMATON, ring(), regime, **options)


@pytest.mark.parametrize("regime", [pytest.param("growing", marks=pytest.mark.slow), "regenerating"])
def test_a_step_is_the_articles(regime):
    """Written out once more: batch, order, seed, damage, mean gradient, norms, Adam, pool."""
    trainer, target = make(regime), ring()
    state = trainer.init(jax.random.key(0))
    state = state._replace(params=state.params + 0.03 * jax.random.normal(jax.random.key(5), state.params.shape))
    noise = 0.1 * jax.random.normal(jax.random.key(6), state.pool.shape)
    state = state._replace(pool=state.pool + noise * (state.pool > 0))
    key = jax.random.key(1)
    new, info = jax.jit(trainer.step)(key, state)
    key_draw, key_length, key_rollouts = jax.random.split(key, 3)
    length = int(jax.random.randint(key_length, (), 8, 12))
    assert info.length == length
    grids = np.broadcast_to(nca.seed_grid((14, 14), 6), (4, 14, 14, 6)).copy()
    if regime == "regenerating":
        key_places, key_damage = jax.random.split(key_draw)
        places = np.asarray(jax.random.choice(key_places, 16, (4,), replace=False))
        losses = np.array([np.mean((np.asarray(state.pool[i, ..., :4]) - np.asarray(target)) ** 2) for i in places])
        places = places[np.argsort(-losses)]
        grids[1:] = state.pool[places[1:]]
        for i, key in enumerate(jax.random.split(key_damage, 2)):
            grids[2 + i] *= nca.random_disc(key, 14, 14)

    def loss(params):
        total, ends = 0.0, []
        for key, grid in zip(jax.random.split(key_rollouts, 4), grids, strict=True):
            end, _ = rollout(AUTOMATON.step(params), key, jnp.asarray(grid), length)
            total += jnp.mean((end[..., :4] - target) ** 2) / 4
            ends.append(end)
        return total, ends

    (value, ends), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(state.params)
    assert float(info.loss) == pytest.approx(float(value), rel=1e-4)
    parts = np.split(np.asarray(gradient), np.cumsum([18 * 16, 16, 16 * 6]))
    gradient = np.concatenate([part / (np.linalg.norm(part) + 1e-8) for part in parts])
    updates, _ = optax.adam(2e-3, eps=1e-7).update(jnp.asarray(gradient), optax.adam(2e-3).init(state.params))
    np.testing.assert_allclose(new.params, state.params + updates, atol=2e-5)
    if regime == "growing":
        assert new.pool.size == 0
    else:
        np.testing.assert_allclose(new.pool[places], np.stack(ends), atol=1e-4)
        others = np.setdiff1d(np.arange(16), places)
        np.testing.assert_array_equal(new.pool[others], state.pool[others])


def test_the_damage_is_ones_own():
    """Where everything is erased, those of the lowest loss stay empty, and the pool keeps them."""
    trainer = make("regenerating", damage=lambda key, height, width: jnp.zeros((height, width, 1)))
    state = trainer.init(jax.random.key(0))
    noise = jax.random.uniform(jax.random.key(6), (16, 1, 1, 1))
    pool = jax.jit(trainer.step)(jax.random.key(1), state._replace(pool=state.pool * noise))[0].pool
    assert (np.asarray(pool) == 0).all(axis=(1, 2, 3)).sum() == 2


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["growing", "persistent"])
def test_a_window_changes_nothing(regime):
    options = {"lengths": (4, 6), "learning_rate": 5e-4}
    whole, windowed = make(regime, **options), make(regime, margins=(1, 2, 3), **options)
    state = whole.init(jax.random.key(0))

    def run(trainer):
        def step(key, state):
            state, info = trainer.step(key, state)
            return state, (info.loss, state.room)

        return jax.jit(lambda state: rollout(step, jax.random.key(3), state, 25))(state)[1]

    (losses, rooms), (windowed_losses, windowed_rooms) = run(whole), run(windowed)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, windowed_losses, rtol=2e-2)
    np.testing.assert_allclose(losses[:10], windowed_losses[:10], rtol=1e-4)
    np.testing.assert_array_equal(windowed_rooms, rooms)
    used = [max((m for m in (1, 2, 3) if m < room - SLACK), default=0) for room in (0, *rooms[:-1].tolist())]
    assert sum(margin > 0 for margin in used) >= 10


@pytest.mark.slow
def test_windows_that_fit_the_target_are_the_default():
    """On a CPU: the same program as with these windows given by hand, and so the same bits."""
    expected = (1,) if jax.default_backend() == "cpu" else ()
    target = jnp.pad(ring()[4:10, 4:10], ((5, 5), (5, 5), (0, 0)))  # 5 empty cells, of which windows keep 4
    options = {"batch_size": 3, "pool_size": 6, "lengths": (4, 6)}
    states = []
    for margins in ({}, {"margins": expected}, {"margins": ()}):
        trainer = nca.trainer(AUTOMATON, target, "persistent", **options, **margins)
        program = jax.jit(lambda key, t=trainer: rollout(t.step, key, t.init(key), 6)[0])
        states.append((program.lower(jax.random.key(0)).as_text(), program(jax.random.key(0))))
    assert states[0][0] == states[1][0] and (states[0][0] != states[2][0]) == bool(expected)
    jax.tree.map(np.testing.assert_array_equal, states[0][1], states[1][1])


def test_any_loss_and_start():
    """A rule that is no growing automaton's, on a torus, without life: its first channel becomes a wave."""
    channels = 3
    automaton = nca.automaton(
        nca.dense_rule(9, channels, 16), channels, lambda grid: nca.perceive(grid, border="joined"), nca.random_cells
    )
    wave = jnp.sin(2 * jnp.pi * jnp.arange(8) / 8)[:, None] * jnp.ones((8, 8))
    start = jnp.stack([0 * wave, jnp.roll(wave, 2, 0), wave], axis=-1)

    def loss(grid):
        return jnp.mean((grid[..., 0] - wave) ** 2)

    trainer = nca.rollout_trainer(
        automaton, lambda key, grid: loss(grid), nca.pool_starts(start, loss, None, 0, 4, 16), 3e-3, (3, 6)
    )
    state, info = jax.jit(lambda key: rollout(trainer.step, key, trainer.init(key), 150))(jax.random.key(0))
    assert state.pool.shape == (16, 8, 8, 3) and state.room == 0
    assert info.loss[0] > 0.3 and info.loss[-10:].mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("regime", "reached"), [("growing", -2.8), ("persistent", -2.5), ("regenerating", -2.1)])
def test_training_makes_it_grow(regime, reached):
    """From an empty grid's loss of 10^-1.1 in 800 steps; those that were trained from a pool stay for 300 updates."""
    target, automaton = ring(), nca.growing(channels=8, hidden=32)
    assert float(jnp.log10(jnp.mean(target**2))) == pytest.approx(-1.1, abs=0.1)
    trainer = nca.trainer(automaton, target, regime, nca.drop_schedule(2e-3, 600), 8, 64, (16, 24))
    state, info = jax.jit(lambda key: rollout(trainer.step, key, trainer.init(key), 800))(jax.random.key(0))
    assert np.log10(info.loss[-20:]).mean() < reached
    step = nca.step_with_loss(automaton, state.params, target)
    losses = np.log10(rollout(step, jax.random.key(1), nca.seed_grid((14, 14), 8), 300)[1])
    assert losses[20] < -2
    if regime != "growing":
        assert losses[100] < -2 and losses[-1] < -2


def test_the_learning_rate_drops():
    schedule = nca.drop_schedule(2e-3, 100)
    assert [float(schedule(t)) for t in (0, 99, 101, 5000)] == pytest.approx([2e-3, 2e-3, 2e-4, 2e-4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regime": "immortal"}, "regime must be one of growing, .* got 'immortal'"),
        ({"regime": "persistent", "pool_size": 3}, "pool_size must be .* at least 4, got 3"),
        ({"regime": "growing", "batch_size": 0}, "batch_size must be .* got 0"),
        ({"regime": "persistent", "batch_size": 1}, "batch_size must be .* at least 2, got 1"),
        ({"regime": "growing", "lengths": (9, 9)}, r"lengths must be two growing .* got \(9, 9\)"),
        ({"regime": "growing", "margins": (3, 6)}, r"margins must leave .* got \(3, 6\)"),
        ({"regime": "regenerating", "damaged": 4}, "damaged must be less than batch_size, 4, got 4"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
    with pytest.raises(ValueError, match=r"target must have shape \(H, W, 4\)"):
        nca.trainer(AUTOMATON, jnp.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match=r"target must have shape \(H, W, 4\), got \(3,\)"):
        nca.trainer(AUTOMATON, jnp.zeros(3))
