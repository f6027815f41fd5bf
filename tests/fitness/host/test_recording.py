"""Recordings of episodes in the real Gymnasium."""

import os
from typing import ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, networks
from neuralmutator.fitness.host import record
from neuralmutator.networks import structure as topology
from neuralmutator.runs.play import gymnasium_returns

POLICY = networks.mlp(4, 2, (8,))


def genome_of(policy, seed=0, scale=1.0, widths=None):
    """A random genome; `scale` multiplies its policy, `widths` are the active neurons of a flexible one."""
    params = jnp.asarray(np.random.default_rng(seed).normal(size=policy.num_params) * scale / 3, jnp.float32)
    shape = jnp.array([] if widths is None else widths, jnp.int32)
    if widths is not None:
        params = jnp.where(policy.topology.mask(shape), params, 0.0)
    return Genome(params, jnp.zeros(0), jnp.zeros(0), shape, jnp.float32(0))


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


def test_continuous_actions_are_clipped_to_their_bounds():
    policy = networks.mlp(3, 1, (8,))
    genome = genome_of(policy, 3, 12.0)
    recording = record("Pendulum-v1", policy, genome, 7, max_steps=10)
    output = jax.jit(policy.apply)
    raw = [float(output(genome.policy, x)[0]) for x in recording.observations]
    assert max(map(abs, raw)) > 2
    np.testing.assert_allclose(recording.activations[-1][:, 0], raw, rtol=1e-3)
    np.testing.assert_allclose(recording.actions, np.clip(recording.activations[-1], -2, 2), rtol=1e-6)


def test_memory_is_carried_through_the_episode():
    policy = networks.recurrent(4, 2, 8)
    genome = genome_of(policy, 3, 3.0)
    recording = record("CartPole-v1", policy, genome, 3)
    assert recording.rewards.sum() == gymnasium_returns("CartPole-v1", policy, genome, 4, 0)[3]
    memory, output = jax.jit(policy.apply)(genome.policy, (recording.activations[0][1], recording.observations[2]))
    np.testing.assert_allclose(recording.activations[0][2], memory, atol=1e-6)
    np.testing.assert_allclose(recording.activations[1][2], output, atol=1e-6)


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


def test_a_recording_of_no_steps_is_refused():
    with pytest.raises(ValueError, match=r"max_steps must be .* got 0"):
        record("CartPole-v1", POLICY, genome_of(POLICY), 0, max_steps=0)


class Mosaic(gymnasium.Env):
    """Two choices and nested observations; draws one grey picture."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"
    observation_space = gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(3), b=gymnasium.spaces.Box(-1, 1, (2,)))
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])

    def __init__(self, render_mode=None):
        pass

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert action in self.action_space
        return {"a": int(action[1]), "b": np.zeros(2, np.float32)}, float(action[0]), False, False, {}

    def render(self):
        return np.full((4, 6, 3), 128, np.uint8)


gymnasium.register("Mosaic-v0", entry_point=Mosaic)


def test_nested_observations_and_several_choices():
    policy = networks.mlp(5, 5, (8,))
    recording = record("Mosaic-v0", policy, genome_of(policy), 0, max_steps=5)
    outputs = recording.activations[-1]
    choices = np.stack([outputs[:, :2].argmax(axis=1), outputs[:, 2:].argmax(axis=1)], axis=1)
    assert recording.actions.tolist() == choices.tolist() and recording.rewards.tolist() == choices[:, 0].tolist()
    assert recording.observations[1:].tolist() == [[*np.eye(3)[b], 0, 0] for _, b in choices[:-1]]


def test_an_episode_without_an_end_is_refused():
    policy = networks.mlp(5, 5, (8,))
    with pytest.raises(ValueError, match="max_steps must be given for Mosaic-v0"):
        record("Mosaic-v0", policy, genome_of(policy), 0)


def test_outputs_that_are_not_numbers_are_refused():
    genome = genome_of(POLICY)._replace(policy=jnp.full(POLICY.num_params, jnp.nan))
    with pytest.raises(ValueError, match=r"genome must give outputs that are numbers, got \[nan nan\] at step 0"):
        record("CartPole-v1", POLICY, genome, 0)


def test_a_genome_of_another_policy_is_refused():
    with pytest.raises(ValueError, match=r"genome must hold the policy's 58 parameters, got \(44,\)"):
        record("CartPole-v1", POLICY, genome_of(networks.mlp(4, 2, (6,))), 0)
