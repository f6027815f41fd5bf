"""Games in the real Gymnasium, against loops written out by hand."""

import os

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, networks
from neuralmutator.networks import structure as topology
from neuralmutator.runs.play import bootstrap_interval, gymnasium_returns, record


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
    recording = record("Pendulum-v1", policy, genome, 7, max_steps=10)
    np.testing.assert_allclose(recording.activations[-1][:, 0], raw[:10], rtol=1e-3)
    np.testing.assert_allclose(recording.actions, np.clip(recording.activations[-1], -2, 2), rtol=1e-6)


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
    recording = record("CartPole-v1", policy, genome, 3)
    assert recording.rewards.sum() == returns[3]
    memory, output = apply(genome.policy, (recording.activations[0][1], recording.observations[2]))
    np.testing.assert_allclose(recording.activations[0][2], memory, atol=1e-6)
    np.testing.assert_allclose(recording.activations[1][2], output, atol=1e-6)


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


def test_a_recording_holds_what_was_seen_thought_and_done():
    policy = networks.flexible_mlp(4, 2, max_layers=3, max_width=12, initial_widths=(8,))
    genome = genome_of(policy, 1, 2.0, widths=(11, 8, 0))
    recording = record("CartPole-v1", policy, genome, 5)
    steps = len(recording.rewards)
    assert recording.rewards.sum() == gymnasium_returns("CartPole-v1", policy, genome, 1, 5)[0]
    assert [layer.shape for layer in recording.activations] == [(steps, 11), (steps, 8), (steps, 2)]
    assert recording.actions.tolist() == np.argmax(recording.activations[-1], axis=1).tolist()

    layers = topology.split(topology.Room(4, 2, 3, 12), genome.policy)
    first = np.tanh(recording.observations @ layers.w_in[:, :11] + layers.b_in[:11])
    np.testing.assert_allclose(recording.activations[0], first, atol=1e-5)
    output = recording.activations[1] @ layers.w_out[:8] + layers.b_out
    np.testing.assert_allclose(recording.activations[2], output, atol=1e-5)

    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    observation, _ = env.reset(seed=5)
    for t in range(steps):
        assert np.array_equal(recording.observations[t], observation)
        if t in (0, steps - 1):
            assert np.array_equal(recording.frames[t], env.render())
        observation, *_ = env.step(recording.actions[t])
    assert recording.frames.shape[0] == steps and recording.frames.dtype == np.uint8


def test_a_recording_ends_at_its_own_limit():
    policy = networks.mlp(3, 1, (8,))
    recording = record("Pendulum-v1", policy, genome_of(policy), 0, max_steps=4)
    assert len(recording.frames) == len(recording.rewards) == len(recording.activations[0]) == 4


def test_a_recording_leaves_the_environment_variables_as_they_were(monkeypatch):
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    before = dict(os.environ)
    record("CartPole-v1", POLICY, genome_of(POLICY), 0, max_steps=1)
    assert {name: os.environ.get(name) for name in before} == before and "SDL_VIDEODRIVER" not in os.environ


POLICY = networks.mlp(4, 2, (8,))
REFUSED = {
    "no such game": ({"env_id": "NoSuchGame-v0"}, "NoSuchGame-v0"),
    "gymnax only": ({"env_id": "Asterix-MinAtar"}, "Asterix-MinAtar"),
    "no such package": ({"env_id": "no_such_package:Game-v0"}, "no_such_package"),
    "observations": ({"env_id": "Acrobot-v1"}, r"observations of Acrobot-v1.*\(6,\)"),
    "actions": ({"policy": networks.mlp(4, 3, (8,))}, "2 outputs for CartPole-v1"),
    "kind of observation": ({"env_id": "Blackjack-v1"}, "Blackjack-v1"),
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
    for play in (
        lambda: gymnasium_returns("CartPole-v1", policy, genome, 1, 0),
        lambda: record("CartPole-v1", policy, genome, 0),
    ):
        with pytest.raises(ValueError, match=rf"genome must hold the policy's {policy.num_params} parameters"):
            play()


def test_a_recording_of_no_steps_is_refused():
    with pytest.raises(ValueError, match=r"max_steps must be .* got 0"):
        record("CartPole-v1", POLICY, genome_of(POLICY), 0, max_steps=0)


def test_the_bootstrap_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    error = values.std() / np.sqrt(values.size)
    for confidence, z in ((0.95, 1.960), (0.8, 1.282)):
        low, high = bootstrap_interval(values, confidence)
        assert low == pytest.approx(values.mean() - z * error, abs=0.08 * error)
        assert high == pytest.approx(values.mean() + z * error, abs=0.08 * error)
    assert bootstrap_interval(values) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(1)
    intervals = [bootstrap_interval(random.exponential(size=80), 0.9, 400, seed=i) for i in range(300)]
    covered = np.mean([low < 1 < high for low, high in intervals])
    assert 0.83 < covered < 0.94  # 0.9 ± 2.3 standard errors of 300 trials, and a little less for a skewed law


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval([500.0] * 20) == (500.0, 500.0)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([],), "values"),
        (([1.0, np.nan],), "values"),
        (([[1.0]],), "values"),
        (([1.0], 1.0), "confidence"),
        (([1.0], 0.9, 0), "resamples"),
    ],
)
def test_bootstrap_arguments_out_of_range_are_named(arguments, field):
    with pytest.raises(ValueError, match=f"^{field} must"):
        bootstrap_interval(*arguments)
