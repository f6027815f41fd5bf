"""A genome in the real Gymnasium environment of the same name, on the host."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core.genome import Genome
from neuralmutator.envs import IN_GYMNASIUM
from neuralmutator.fitness import host
from neuralmutator.networks import Network

MAX_ENVS = 64  # that episodes are played in at a time


class Recording(NamedTuple):
    """One episode of T steps; row t is what the policy saw, thought and did at step t, on the host."""

    frames: np.ndarray  # u8[T, height, width, 3] picture of the state that observation t was made in
    observations: np.ndarray  # [T, ...] as the policy sees them, f32 or u8
    actions: np.ndarray  # i32[T] where actions are discrete, else f32[T, ...]
    rewards: np.ndarray  # f64[T]
    activations: tuple[np.ndarray, ...]  # [T, ...] each: active neurons of the hidden layers, then the output


def gymnasium_returns(
    env_id: str,
    policy: Network,
    genome: Genome,
    episodes: int,
    seed: int,
    max_steps: int | None = None,
    workers: int = 0,
) -> np.ndarray:
    """Returns of whole episodes; the action is the argmax of the output, or the output clipped to its bounds.

    Args:
        env_id: name of a Gymnasium environment.
        policy: network from observations to one output per action (discrete) or action dimension (continuous).
        genome: one genome.
        episodes: number of episodes; episode i is reset with ``seed + i``.
        seed: seed of the first episode.
        max_steps: a shorter time limit.
        workers: processes that step the environments; 0: this one.

    Returns:
        f64[episodes].

    Raises:
        ValueError: if Gymnasium cannot make the environment, the policy does not fit it, or a number is out of range.
    """
    if not isinstance(episodes, int) or episodes < 1:
        raise ValueError(f"episodes must be a whole number of at least 1, got {episodes!r}")
    name, arguments = IN_GYMNASIUM.get(env_id, (env_id, {}))
    num_envs = min(episodes, MAX_ENVS)
    with host.gymnasium(
        name, policy, num_envs=num_envs, max_steps=max_steps, workers=workers, env_kwargs=arguments
    ) as evaluate:
        population = jax.tree.map(lambda x: jnp.asarray(x)[None], genome)
        returns, _ = evaluate.play(population, _seed(seed) + np.arange(episodes)[None])
    return returns[0]


def record(env_id: str, policy: Network, genome: Genome, seed: int, max_steps: int | None = None) -> Recording:
    """One episode with its pictures and what every active neuron did.

    Args:
        env_id: name of a Gymnasium environment that draws itself.
        policy: network from observations to actions, see `gymnasium_returns`.
        genome: one genome.
        seed: seed of the reset.
        max_steps: a shorter time limit; required where the environment has none.

    Raises:
        ValueError: if Gymnasium cannot make the environment, the policy does not fit it, or a number is out of range.
    """
    _check_limit(max_steps)
    name, arguments = IN_GYMNASIUM.get(env_id, (env_id, {}))
    with _headless(), host.make(name, arguments | {"render_mode": "rgb_array"}) as env:
        limits = [limit for limit in (max_steps, env.spec.max_episode_steps) if limit is not None]
        if not limits:
            raise ValueError(f"max_steps must be given for {env_id}, which has no time limit of its own")
        interface = host.interface(env, policy)

        @jax.jit
        def think(genome: Genome, carry: Any, x: jax.Array) -> tuple[Any, tuple[jax.Array, tuple[jax.Array, ...]]]:
            carry_after, action = interface.act(genome, carry, x)
            return carry_after, (action, _activations(policy, genome, carry, x))

        observation, carry = interface.see([env.reset(seed=_seed(seed))[0]])[0], policy.initial_state
        # Pages of zeros are free until written: one array, where a list would need twice the room to be stacked.
        frames = np.zeros((min(limits), *np.shape(env.render())), np.uint8)
        seen, thoughts, rewards = [], [], []
        for t in range(min(limits)):
            frames[t] = env.render()
            carry, thought = think(genome, carry, observation)
            seen.append(observation)
            thoughts.append(jax.device_get(thought))
            observation, reward, terminated, truncated, _ = env.step(thoughts[-1][0])
            observation = interface.see([observation])[0]
            rewards.append(reward)
            if terminated or truncated:
                break
    actions, activations = jax.tree.map(lambda *rows: np.stack(rows), *thoughts)
    if policy.topology is not None:
        *hidden, output = activations
        widths = zip(hidden, np.asarray(genome.topology), strict=True)
        activations = (*(layer[:, :width] for layer, width in widths if width > 0), output)
    return Recording(frames[: len(rewards)], np.stack(seen), actions, np.array(rewards, np.float64), activations)


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the mean of independent values.

    Raises:
        ValueError: if there is no value, one is not finite, or another argument is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values must be a list of at least one finite number, got shape {values.shape}: {values}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, both excluded, got {confidence!r}")
    if not isinstance(resamples, int) or resamples < 1:
        raise ValueError(f"resamples must be a whole number of at least 1, got {resamples!r}")
    means = np.random.default_rng(seed).choice(values, (resamples, values.size)).mean(axis=1)
    low, high = np.quantile(means, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def _seed(seed: int) -> int:
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    return seed


def _check_limit(max_steps: int | None) -> None:
    if max_steps is not None and (not isinstance(max_steps, int) or max_steps < 1):
        raise ValueError(f"max_steps must be None or a whole number of at least 1, got {max_steps!r}")


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


def _activations(policy: Network, genome: Genome, carry: Any, x: jax.Array) -> tuple[jax.Array, ...]:
    if policy.initial_state is not None:
        return policy.activations(genome.policy, (carry, x))
    if policy.topology is not None:
        return policy.activations(genome.policy, x, genome.topology)
    return policy.activations(genome.policy, x)
