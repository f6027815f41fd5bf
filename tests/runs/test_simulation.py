"""Episodes of brax as they are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import Genome, fitness, networks
from neuralmutator.runs import simulation
from neuralmutator.runs.errors import RunError

NAME = "brax/inverted_pendulum"
POLICY = networks.mlp(4, 1, (8,))
GENOME = Genome(
    jnp.asarray(np.random.default_rng(0).normal(size=POLICY.num_params), jnp.float32),
    jnp.zeros(0),
    jnp.zeros(0),
    jnp.zeros(0, jnp.int32),
    jnp.float32(0),
)


@pytest.fixture(scope="module")
def episode():
    return simulation._episode(NAME, POLICY, GENOME, 3, 30)


def test_what_is_drawn_is_the_episode_that_is_evaluated(episode):
    _, states, recording = episode
    total, length = jax.jit(fitness.play(NAME, POLICY, max_steps=30))(jax.random.key(3), GENOME)
    assert len(states) == len(recording.observations) == length < 30
    np.testing.assert_allclose(recording.rewards.sum(), total, rtol=1e-5)
    assert [layer.shape for layer in recording.activations] == [(length, 8), (length, 1)]
    np.testing.assert_allclose(recording.actions, np.clip(recording.activations[-1], -1, 1))
    for state, seen in zip(states, recording.observations, strict=True):
        np.testing.assert_array_equal(np.concatenate([state.q, state.qd]), seen)


def test_the_pole_is_drawn_where_it_falls(episode, monkeypatch):
    monkeypatch.setattr(simulation, "_episode", lambda *_: episode)
    try:
        simulation.check_drawing()
    except RunError as error:
        pytest.skip(str(error))
    recording = simulation.record_simulation(NAME, POLICY, GENOME, 3)
    assert recording.frames.shape == (len(episode[1]), simulation.SIDE, simulation.SIDE, 3)
    assert np.mean(recording.frames[0] != recording.frames[-1]) > 0.005


def test_a_machine_without_opengl_is_told_what_it_needs(episode, monkeypatch):
    monkeypatch.setattr("mujoco.Renderer", lambda *_: 1 / 0)
    monkeypatch.setattr(simulation, "_episode", lambda *_: episode)
    with pytest.raises(RunError, match=r"MuJoCo cannot draw here .*libegl1"):
        simulation.record_simulation(NAME, POLICY, GENOME, 3)


def test_a_page_holds_the_episode(episode, monkeypatch):
    monkeypatch.setattr(simulation, "_episode", lambda *_: episode)
    page = simulation.simulation_page(NAME, POLICY, GENOME, 3)
    assert page.startswith("<!DOCTYPE html>") and "brax" in page and len(page) < 300_000
    with pytest.raises(ValueError, match="only environments of brax have a page, got CartPole-v1"):
        simulation.simulation_page("CartPole-v1", POLICY, GENOME, 3)


def test_bad_numbers_are_refused():
    for seed, steps, line in ((-1, 3, "seed must be"), (0, 0, "max_steps must be")):
        with pytest.raises(ValueError, match=line):
            simulation._episode(NAME, POLICY, GENOME, seed, steps)


def test_a_policy_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="policy"):
        simulation.record_simulation(NAME, networks.mlp(3, 1), GENOME, 0)
