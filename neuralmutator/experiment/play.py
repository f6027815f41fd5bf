"""A genome in the real Gymnasium environment of the same name, on the host."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from neuralmutator.genome import Genome
from neuralmutator.networks import Network, policy_step


class Recording(NamedTuple):
    """One episode of T steps; row t is what the policy saw, thought and did at step t, on the host."""

    frames: np.ndarray  # u8[T, height, width, 3] picture of the state that observation t was made in
    observations: np.ndarray  # [T, ...] as the policy sees them, f32 or u8
    actions: np.ndarray  # i32[T] where actions are discrete, else f32[T, ...]
    rewards: np.ndarray  # f64[T]
    activations: tuple[np.ndarray, ...]  # [T, ...] each: active neurons of the hidden layers, then the output


def gymnasium_returns(
    env_id: str, policy: Network, genome: Genome, episodes: int, seed: int, max_steps: int | None = None
) -> np.ndarray:
    """Returns of whole episodes; the action is the argmax of the output, or the output clipped to its bounds.

    All episodes go in lockstep, so that the policy is called once a step for all of them.

    Args:
        env_id: name of a Gymnasium environment.
        policy: network from observations to one output per action (discrete) or action dimension (continuous).
        genome: one genome.
        episodes: number of episodes; episode i is reset with ``seed + i``.
        seed: seed of the first episode.
        max_steps: a shorter time limit.

    Returns:
        f64[episodes].

    Raises:
        ValueError: if Gymnasium cannot make the environment, the policy does not fit it, or a number is out of range.
    """
    if not isinstance(episodes, int) or episodes < 1:
        raise ValueError(f"episodes must be a whole number of at least 1, got {episodes!r}")
    _check_limit(max_steps)
    with ExitStack() as stack:
        envs = [stack.enter_context(_make(env_id)) for _ in range(episodes)]
        see, act = _interface(envs[0], policy, genome)
        act = jax.jit(jax.vmap(act, (None, 0, 0)))
        carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (episodes, *jnp.shape(x))), policy.initial_state)
        observations = np.stack([see(env.reset(seed=_seed(seed) + i)[0]) for i, env in enumerate(envs)])
        returns = np.zeros(episodes)
        alive = list(range(episodes))
        for _ in itertools.count() if max_steps is None else range(max_steps):
            if not alive:
                break
            carry, actions = act(genome, carry, observations)
            actions, living = np.asarray(actions), []
            for i in alive:
                observation, reward, terminated, truncated, _ = envs[i].step(actions[i])
                observations[i] = see(observation)
                returns[i] += reward
                if not (terminated or truncated):
                    living.append(i)
            alive = living
    return returns


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
    with _headless(), _make(env_id, render_mode="rgb_array") as env:
        limits = [limit for limit in (max_steps, env.spec.max_episode_steps) if limit is not None]
        if not limits:
            raise ValueError(f"max_steps must be given for {env_id}, which has no time limit of its own")
        see, act = _interface(env, policy, genome)

        @jax.jit
        def think(genome: Genome, carry: Any, x: jax.Array) -> tuple[Any, tuple[jax.Array, tuple[jax.Array, ...]]]:
            carry_after, action = act(genome, carry, x)
            return carry_after, (action, _activations(policy, genome, carry, x))

        observation, carry = see(env.reset(seed=_seed(seed))[0]), policy.initial_state
        # Pages of zeros are free until written: one array, where a list would need twice the room to be stacked.
        frames = np.zeros((min(limits), *np.shape(env.render())), np.uint8)
        seen, thoughts, rewards = [], [], []
        for t in range(min(limits)):
            frames[t] = env.render()
            carry, thought = think(genome, carry, observation)
            seen.append(observation)
            thoughts.append(jax.device_get(thought))
            observation, reward, terminated, truncated, _ = env.step(thoughts[-1][0])
            observation = see(observation)
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


def _make(env_id: str, render_mode: str | None = None) -> gymnasium.Env:
    try:
        return gymnasium.make(env_id, render_mode=render_mode, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env_id {env_id!r} cannot be made by Gymnasium: {' '.join(str(error).split())}") from error


def _interface(
    env: gymnasium.Env, policy: Network, genome: Genome
) -> tuple[Callable[[Any], np.ndarray], Callable[..., tuple[Any, jax.Array]]]:
    """``see``: an observation as the policy takes it; ``act``: (genome, carry, observation) -> (carry, action)."""
    name = env.spec.id if env.spec else type(env).__name__
    observations, actions = env.observation_space, env.action_space
    policy_step(policy, genome)  # is the genome this policy's?
    if observations.shape is None:
        raise ValueError(f"observations of {name} must be one array, got {observations}")
    if not isinstance(actions, spaces.Discrete | spaces.Box):
        raise ValueError(f"actions of {name} must be Discrete or Box, got {actions}")
    shape = observations.shape or (1,)
    dtype = np.uint8 if observations.dtype == np.uint8 else np.float32
    outputs = int(actions.n) if isinstance(actions, spaces.Discrete) else max(1, int(np.prod(actions.shape)))

    def step(genome: Genome, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        return policy_step(policy, genome)(carry, x)

    try:
        _, output = jax.eval_shape(step, genome, policy.initial_state, jax.ShapeDtypeStruct(shape, dtype))
    except Exception as error:
        raise ValueError(f"policy cannot take the observations of {name}, which have shape {shape}") from error
    if output.shape != (outputs,):
        raise ValueError(f"policy must give {outputs} outputs for {name}, got shape {output.shape}")

    def see(observation: Any) -> np.ndarray:
        return np.asarray(observation, dtype).reshape(shape)

    def act(genome: Genome, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        carry, output = step(genome, carry, x)
        if isinstance(actions, spaces.Discrete):
            return carry, jnp.argmax(output)
        return carry, jnp.clip(output.reshape(actions.shape), actions.low, actions.high)

    return see, act


def _activations(policy: Network, genome: Genome, carry: Any, x: jax.Array) -> tuple[jax.Array, ...]:
    if policy.initial_state is not None:
        return policy.activations(genome.policy, (carry, x))
    if policy.topology is not None:
        return policy.activations(genome.policy, x, genome.topology)
    return policy.activations(genome.policy, x)
