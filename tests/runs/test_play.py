"""Champions in the real Gymnasium, against loops written out by hand."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, networks
from neuralmutator.runs.play import check_finite, gymnasium_returns


def genome_of(policy, seed=0, scale=1.0, widths=None):
    """A random genome; `scale` multiplies its policy, `widths` are the active neurons of a flexible one."""
    params = jnp.asarray(np.random.default_rng(seed).normal(size=policy.num_params) * scale / 3, jnp.float32)
    shape = jnp.array([] if widths is None else widths, jnp.int32)
    if widths is not None:
        params = jnp.where(policy.topology.mask(shape), params, 0.0)
    return Genome(params, jnp.zeros(0), jnp.zeros(0), shape, jnp.float32(0))


def by_hand(env_id, act, carry, seed):
    """One return; `act` is (carry, observation) -> (carry, action)."""
    env, total, ended = gymnasium.make(env_id), 0.0, False
    observation, _ = env.reset(seed=seed)
    while not ended:
        carry, action = act(carry, np.asarray(observation, np.float32))
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + reward, terminated or truncated
    return total


def test_discrete_returns_equal_a_loop_by_hand():
    policy = networks.flexible_mlp(4, 2, max_layers=2, max_width=12, initial_widths=(8,))
    genome = genome_of(policy, 1, 2.0, widths=(9, 8))
    output = jax.jit(policy.apply)

    def act(carry, x):
        return carry, int(np.argmax(output(genome.policy, x, genome.topology)))

    returns = gymnasium_returns("CartPole-v1", policy, genome, 6, 40)
    assert returns.tolist() == [by_hand("CartPole-v1", act, None, 40 + i) for i in range(6)]
    assert len(set(returns)) > 1


def test_continuous_actions_are_clipped_to_their_bounds():
    policy = networks.mlp(3, 1, (8,))
    genome = genome_of(policy, 3, 12.0)
    output = jax.jit(policy.apply)
    raw = []

    def act(carry, x):
        raw.append(float(output(genome.policy, x)[0]))
        return carry, np.clip(np.array(raw[-1:], np.float32), -2, 2)

    expected = [by_hand("Pendulum-v1", act, None, seed) for seed in (7, 8)]
    assert max(map(abs, raw)) > 2
    np.testing.assert_allclose(gymnasium_returns("Pendulum-v1", policy, genome, 2, 7), expected, rtol=1e-3)


def test_memory_is_carried_through_an_episode_and_starts_anew_in_each():
    policy = networks.recurrent(4, 2, 8)
    genome = genome_of(policy, 3, 3.0)
    apply = jax.jit(policy.apply)

    def remembers(carry, x):
        carry, output = apply(genome.policy, (carry, x))
        return carry, int(np.argmax(output))

    def forgets(carry, x):
        return carry, int(np.argmax(apply(genome.policy, (carry, x))[1]))

    returns = gymnasium_returns("CartPole-v1", policy, genome, 5, 0)
    assert returns.tolist() == [by_hand("CartPole-v1", remembers, policy.initial_state, i) for i in range(5)]
    assert returns.tolist() != [by_hand("CartPole-v1", forgets, policy.initial_state, i) for i in range(5)]


def test_an_episode_depends_on_its_own_seed_alone():
    policy = networks.mlp(4, 2, (8,))
    genome = genome_of(policy, 2, 2.0)
    together = gymnasium_returns("CartPole-v1", policy, genome, 5, 10)
    assert together[4] == gymnasium_returns("CartPole-v1", policy, genome, 1, 14)[0]
    assert together.dtype == np.float64


def test_a_time_limit_cuts_the_episodes():
    policy = networks.mlp(4, 2, (8,))
    returns = gymnasium_returns("CartPole-v1", policy, genome_of(policy, 2, 2.0), 5, 10, max_steps=6)
    assert returns.tolist() == [6.0] * 5


POLICY = networks.mlp(4, 2, (8,))
REFUSED = {
    "no such game": ({"env_id": "NoSuchGame-v0"}, "NoSuchGame-v0"),
    "gymnax only": ({"env_id": "Asterix-MinAtar"}, "Asterix-MinAtar"),
    "no such package": ({"env_id": "no_such_package:Game-v0"}, "no_such_package"),
    "observations": ({"env_id": "Acrobot-v1"}, r"observations of Acrobot-v1.*\(6,\)"),
    "actions": ({"policy": networks.mlp(4, 3, (8,))}, "2 outputs for CartPole-v1"),
    "kind of observation": ({"env_id": "Blackjack-v1"}, r"observations of Blackjack-v1, which have shape \(45,\)"),
    "episodes": ({"episodes": 0}, "episodes must be .* got 0"),
    "seed": ({"seed": -1}, "seed must be .* got -1"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_played_is_refused_in_one_line(change, message):
    arguments = {"env_id": "CartPole-v1", "policy": POLICY, "episodes": 1, "seed": 0} | change
    with pytest.raises(ValueError, match=message) as refusal:
        gymnasium_returns(genome=genome_of(arguments["policy"]), **arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_genome_of_another_policy_is_refused(layers):
    policy, other = (
        networks.flexible_mlp(4, 2, max_layers=n, max_width=12, initial_layers=(1,), initial_widths=(8,))
        for n in (2, layers)
    )
    genome = genome_of(other, widths=(8, 0, 0)[:layers])
    with pytest.raises(ValueError, match=rf"genome must hold the policy's {policy.num_params} parameters"):
        gymnasium_returns("CartPole-v1", policy, genome, 1, 0)


def test_a_genome_whose_weights_are_not_finite_is_refused():
    genome = genome_of(POLICY)
    check_finite(genome)
    broken = genome._replace(policy=genome.policy.at[3].set(jnp.nan).at[5].set(jnp.inf))
    with pytest.raises(ValueError, match=r"genome must have finite weights, got 2 of 58 that are not$"):
        gymnasium_returns("CartPole-v1", POLICY, broken, 1, 0)
