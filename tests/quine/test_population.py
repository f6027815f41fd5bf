import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import quine, rollout

KEY = jax.random.key(3)
Q = quine.weightwise()
COPIER = jnp.array([1.0, 0, 0, 0, 0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0])


def test_nothing_happens_in_a_soup_of_copiers():
    """A copier writes into its victim what stands there already."""
    members = jnp.tile(COPIER, (20, 1))
    last, infos = jax.jit(lambda m: rollout(quine.soup(Q, attack_rate=0.5), KEY, m, 10))(members)
    np.testing.assert_allclose(last, members, atol=1e-6)
    assert infos.attacks.sum() > 50 and infos.respawned.sum() == 0
    assert (np.asarray(infos.kinds) == quine.Kind.EXACT).all()


def test_an_attack_replaces_the_victim_by_what_the_attacker_says_of_it():
    members = jax.vmap(Q.init)(jax.random.split(KEY, 6))
    step = jax.jit(quine.soup(Q, attack_rate=0.4, tolerance=0.0, limit=1e9))
    after, info = step(jax.random.key(1), members)
    changed = np.flatnonzero(np.any(np.asarray(after != members), axis=1))
    assert 0 < len(changed) <= int(info.attacks)
    for victim in changed:
        written = [np.abs(Q.predict(attacker, read=members[victim]) - after[victim]).max() for attacker in members]
        assert min(written) < 1e-6 and np.argmin(written) != victim


def test_training_fills_a_soup_with_quines():
    members = jax.vmap(Q.init)(jax.random.split(KEY, 40))
    _, infos = jax.jit(lambda m: rollout(quine.soup(Q, 0.05, train=50, learning_rate=0.1), KEY, m, 60))(members)
    kinds = np.asarray(infos.kinds)
    assert (kinds[-1] == quine.Kind.EXACT).sum() > (kinds[0] == quine.Kind.EXACT).sum() + 10


def test_what_has_diverged_or_died_makes_room():
    members = jnp.stack([jnp.zeros(14), jnp.full(14, jnp.nan), jnp.full(14, 1e6), COPIER])
    after, info = jax.jit(quine.soup(Q, attack_rate=0.0))(KEY, members)
    assert int(info.respawned) == 3
    assert np.isfinite(after).all() and (np.abs(after).max(axis=1) > 0.1).all()
    np.testing.assert_array_equal(after[3], COPIER)


@pytest.mark.parametrize(("field", "value"), [("attack_rate", 1.5), ("noise", -0.1)])
def test_bad_rates_get_one_line(field, value):
    with pytest.raises(ValueError, match=f"{field} must .* got {value}"):
        quine.soup(Q, **{field: value})
