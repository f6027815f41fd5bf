"""Fitness by episodes on gymnax environments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.environment import Environment

from neuralmutator import envs
from neuralmutator.genome import Genome
from neuralmutator.networks import Network, policy_step

SEGMENT = 25  # steps between two looks at whether every episode has ended

Play = Callable[[jax.Array, Genome], tuple[jax.Array, jax.Array]]


def make(env: str | Environment, env_params: Any = None) -> tuple[Environment, Any]:
    """An environment and its parameters, from its name (ours and gymnax's, see `envs.make`) or from itself.

    Raises:
        ValueError: if no environment has that name.
    """
    made, params = envs.make(env) if isinstance(env, str) else (env, env.default_params)
    return made, params if env_params is None else env_params


def sizes(env: str | Environment, env_params: Any = None) -> tuple[tuple[int, ...], int]:
    """Shape of an environment's observation as a policy sees it, and the number of outputs that its actions need."""
    env, params = make(env, env_params)
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    return observation.shape or (1,), _num_outputs(env.action_space(params))


def _num_outputs(space: Any) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box):
        return max(1, int(jnp.prod(jnp.array(space.shape))))
    raise ValueError(f"actions must be Discrete or Box, got {type(space).__name__}")


def _to_action(space: Any) -> Callable[[jax.Array], jax.Array]:
    """Outputs f32[act] to an action: argmax, or clipped to the bounds."""
    if isinstance(space, spaces.Discrete):
        return jnp.argmax
    return lambda output: jnp.clip(output.reshape(space.shape), space.low, space.high)


def _check(env: Environment, params: Any, policy: Network) -> None:
    """Raises ValueError unless the policy's shapes are those of the environment."""
    shape, outputs = sizes(env, params)
    layers = policy.topology.max_layers if policy.topology else 0
    genome = Genome(
        policy=jnp.zeros(policy.num_params),
        mutator=jnp.zeros(0),
        compat=jnp.zeros(0),
        topology=jnp.zeros(layers, jnp.int32),
        structural_rate=jnp.zeros(()),
    )

    def act(genome: Genome, observation: jax.Array) -> jax.Array:
        return policy_step(policy, genome)(policy.initial_state, observation)[1]

    try:
        output = jax.eval_shape(act, genome, jax.ShapeDtypeStruct(shape, jnp.float32))
    except Exception as error:
        raise ValueError(f"policy cannot take the observations of {env.name}, which have shape {shape}") from error
    if output.shape != (outputs,):
        raise ValueError(f"policy must give {outputs} outputs for {env.name}, got shape {output.shape}")


def play(env: str | Environment, policy: Network, *, max_steps: int | None = None, env_params: Any = None) -> Play:
    """One episode: ``(key, genome) -> (return f32[], length i32[])``.

    The policy's output is the action clipped to its bounds, or the argmax where actions are discrete. The episode ends
    when the environment says so, or at its time limit; nothing is reset, and only sums are carried.

    Args:
        env: name of a gymnax environment, or one.
        policy: network from observations to one output per action (discrete) or action dimension (continuous).
        max_steps: a shorter time limit.
        env_params: parameters of the environment; its own defaults if None.

    Raises:
        ValueError: if the environment is unknown, or the policy's shapes are not those of the environment.
    """
    env, params = make(env, env_params)
    _check(env, params, policy)
    limit = int(params.max_steps_in_episode)
    if max_steps is not None:
        if not isinstance(max_steps, int) or max_steps < 1:
            raise ValueError(f"max_steps must be a whole number of at least 1, got {max_steps!r}")
        limit = min(limit, max_steps)
    segment = min(SEGMENT, limit)
    to_action = _to_action(env.action_space(params))
    shape, _ = sizes(env, params)

    def see(observation: jax.Array) -> jax.Array:
        if observation.dtype != jnp.uint8:
            observation = observation.astype(jnp.float32)
        return observation.reshape(shape)

    def episode(key: jax.Array, genome: Genome) -> tuple[jax.Array, jax.Array]:
        key_reset, key_steps = jax.random.split(key)
        act = policy_step(policy, genome)
        observation, env_state = env.reset_env(key_reset, params)

        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            env_state, observation, memory, total, length, alive = carry
            next_memory, output = act(memory, see(observation))
            next_observation, next_state, reward, terminated, _ = env.step_env(
                jax.random.fold_in(key_steps, length), env_state, to_action(output), params
            )
            moved = jax.tree.map(
                lambda new, old: jnp.where(alive, new, old).astype(old.dtype),
                (next_state, next_observation, next_memory),
                (env_state, observation, memory),
            )
            length = length + alive
            ended = terminated | (length >= limit)
            return (*moved, total + jnp.where(alive, reward, 0.0), length, alive & ~ended), None

        # Counters of some environments start as weakly typed Python numbers, which no loop can carry.
        start = jax.tree.map(
            lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)),
            (env_state, observation, policy.initial_state),
        )
        carry = (*start, jnp.float32(0), jnp.int32(0), jnp.bool_(True))
        carry = jax.lax.while_loop(
            lambda carry: carry[-1], lambda carry: jax.lax.scan(step, carry, None, segment)[0], carry
        )
        return carry[3], carry[4]

    return episode


def episodes(
    env: str | Environment,
    policy: Network,
    *,
    episodes: int = 5,
    max_steps: int | None = None,
    env_params: Any = None,
) -> Callable[[jax.Array, Genome], tuple[jax.Array, dict[str, jax.Array]]]:
    """Fitness: mean return of several episodes; reports ``env_steps``, the steps that were lived.

    Args:
        env: name of a gymnax environment, or one.
        policy: network from observations to actions, see `play`.
        episodes: number of episodes per evaluation.
        max_steps: a time limit shorter than the environment's own.
        env_params: parameters of the environment; its own defaults if None.

    Raises:
        ValueError: if the environment is unknown, the policy does not fit it, or a number is below 1.
    """
    if not isinstance(episodes, int) or episodes < 1:
        raise ValueError(f"episodes must be a whole number of at least 1, got {episodes!r}")
    one = play(env, policy, max_steps=max_steps, env_params=env_params)

    def fitness(key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        returns, lengths = jax.vmap(one, (0, None))(jax.random.split(key, episodes), genome)
        return jnp.mean(returns), {"env_steps": jnp.sum(lengths)}

    return fitness
