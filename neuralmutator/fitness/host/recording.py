"""One episode in Gymnasium with its pictures, and what the policy saw, thought and did."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from neuralmutator import envs
from neuralmutator.core import Genome, check
from neuralmutator.fitness.host.interface import act, check_policy, interface_of, make
from neuralmutator.fitness.host.worker import with_array_observations
from neuralmutator.networks import Network, layer_outputs


class Recording(NamedTuple):
    """One episode of T steps; row t is what the policy saw, thought and did at step t, on the host."""

    frames: np.ndarray  # u8[T, height, width, 3] picture of the state that observation t was made in
    observations: np.ndarray  # [T, ...] as the policy sees them, f32 or u8
    actions: np.ndarray  # i32[T] where actions are discrete, else f32[T, ...]
    rewards: np.ndarray  # f64[T]
    activations: tuple[np.ndarray, ...]  # [T, ...] each: active neurons of the hidden layers, then the output


def record(env_id: str, policy: Network, genome: Genome, seed: int, max_steps: int | None = None) -> Recording:
    """One episode with its pictures and what every active neuron did.

    Args:
        env_id: name of a Gymnasium environment that draws itself.
        policy: network from observations to actions, see `gymnasium`.
        genome: one genome.
        seed: seed of the reset.
        max_steps: a shorter time limit; required where the environment has none.

    Raises:
        ValueError: if Gymnasium cannot make the environment, the policy does not fit it or gives an output that is not
            a number, or a number is out of range.
    """
    check.whole(0, seed=seed)
    if max_steps is not None:
        check.whole(1, max_steps=max_steps)
    name, arguments = envs.in_gymnasium(env_id)
    with _headless(), make(name, arguments | {"render_mode": "rgb_array"}) as made:
        found = interface_of(made)
        check_policy(policy, found)
        limits = [limit for limit in (max_steps, found.max_steps) if limit is not None]
        if not limits:
            raise ValueError(f"max_steps must be given for {env_id}, which has no time limit of its own")

        @jax.jit
        def think(genome: Genome, carry: Any, x: jax.Array) -> tuple[Any, jax.Array, tuple[jax.Array, ...], jax.Array]:
            after, action, valid = act(policy, found, genome, carry, x)
            return after, action, layer_outputs(policy, genome)(carry, x), valid

        env = with_array_observations(made)

        def picture() -> np.ndarray:
            drawn: Any = env.render()
            return np.asarray(drawn)

        observation, carry = found.observe([env.reset(seed=seed)[0]])[0], policy.initial_state
        # Pages of zeros are free until written: one array, where a list would need twice the room to be stacked.
        frames = np.zeros((min(limits), *np.shape(picture())), np.uint8)
        seen, actions, thoughts, rewards = [], [], [], []
        for t in range(min(limits)):
            frames[t] = picture()
            carry, action, thought, valid = think(genome, carry, observation)
            if not valid:
                raise ValueError(f"genome must give outputs that are numbers, got {thought[-1]} at step {t}")
            seen.append(observation)
            actions.append(np.asarray(action))
            thoughts.append(jax.device_get(thought))
            observation, reward, terminated, truncated, _ = env.step(found.actions(actions[-1][None])[0])
            observation = found.observe([observation])[0]
            rewards.append(reward)
            if terminated or truncated:
                break
    activations = active(policy, genome, jax.tree.map(lambda *rows: np.stack(rows), *thoughts))
    rewards_given = np.array(rewards, np.float64)
    return Recording(frames[: len(rewards)], np.stack(seen), np.stack(actions), rewards_given, activations)


def active(policy: Network, genome: Genome, activations: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Activations [T, ...] of every layer, of its active neurons only, where the policy's topology evolves."""
    if policy.topology is None:
        return activations
    *hidden, output = activations
    widths = zip(hidden, np.asarray(genome.topology), strict=True)
    return (*(layer[:, :width] for layer, width in widths if width > 0), output)


@contextmanager
def _headless() -> Iterator[None]:
    """Keeps pygame, which draws into memory here, from looking for a screen and a sound card, and complaining."""
    added = {name for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER") if name not in os.environ}
    os.environ.update(dict.fromkeys(added, "dummy"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
