"""A leap is as many steps as it says that it has made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import life
from neuralmutator.life import brackets
from neuralmutator.life.leaps import leap

DIALECT = brackets.Dialect(dict(zip("[]+-.,<>{}", range(6, 16), strict=True)), 15, heads=False)
LANES, LONGEST = 256, 400


def loops():
    """Tapes with one loop of up to five operations, and heads that stand anywhere; as states that wait at its start."""
    random = np.random.default_rng(3)
    language = life.get_language("bff_noheads_4bit")
    tapes = random.integers(0, 256, (LANES, 128), dtype=np.uint8)
    starts = random.integers(0, 100, LANES)
    for tape, start in zip(tapes, starts, strict=True):
        tape[random.random(128) < random.choice([0.0, 0.02, 0.2])] = 0
        text = "[" + "".join(random.choice(list("+-.,<>{}·"), random.integers(1, 6))) + "]"
        tape[start : start + len(text)] = life.assemble(language, text, len(text))
    heads = random.integers(0, 128, (2, LANES)).astype(np.int32)
    state = brackets.load(DIALECT, *jax.jit(lambda tapes: (tapes, brackets.start(DIALECT, tapes)))(tapes))
    state = state._replace(
        pc=jnp.asarray(starts + 1, jnp.int32), head=jnp.asarray(heads[0]), head1=jnp.asarray(heads[1])
    )
    return brackets.looking(DIALECT, state._replace(waits=jnp.ones(LANES, jnp.int32)))


@pytest.fixture(scope="module")
def leapt():
    return jax.jit(lambda state: leap(DIALECT, state))(loops())


def test_a_leap_is_so_many_steps(leapt):
    """Each machine goes on step by step until it has made as many as its leap."""
    state = loops()._replace(waits=jnp.zeros(LANES, jnp.int32))

    @jax.jit
    def walked(state, steps):
        def on(_, now):
            # No snapshot, so that no machine waits for a leap or takes the laps of a cycle at once.
            after = brackets.step(DIALECT, now._replace(waits=jnp.zeros_like(now.pc), seen=jnp.full_like(now.pc, -1)))
            goes = after.steps <= steps
            return brackets.State(*(_where(goes, a, b) for a, b in zip(after, now, strict=True)))

        return jax.lax.fori_loop(0, 6 * LONGEST, on, state)

    some = np.asarray(leapt.steps) <= LONGEST
    assert some.mean() > 0.5
    after = walked(state, jnp.where(some, leapt.steps, 0))
    for name in ("tape", "pc", "steps", "operations", "head", "head1"):
        np.testing.assert_array_equal(getattr(after, name)[some], getattr(leapt, name)[some], err_msg=name)


def _where(goes, new, old):
    """By lanes, which are the last axis of masks and the first of all else."""
    lanes = goes[None] if new.ndim == 2 and new.dtype == jnp.uint32 else goes.reshape(-1, *[1] * (new.ndim - 1))
    return jnp.where(lanes, new, old)


def test_most_loops_leap_and_some_far(leapt):
    steps = np.asarray(leapt.steps)
    assert np.mean(steps > 0) > 0.3 and np.mean(steps > 50) > 0.1
    assert not np.any(leapt.waits)
