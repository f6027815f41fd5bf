"""An environment, resolved once: what a policy sees of it, and how its outputs become actions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces
from gymnax.environments.environment import Environment


class MultiDiscrete(spaces.Space):
    """Several discrete choices at once, which gymnax has no space for; an action is i32[choices].

    Attributes:
        sizes: the number of values of each choice.
    """

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = tuple(sizes)
        self.shape = (len(self.sizes),)
        self.dtype = jnp.int32

    def sample(self, key: jax.Array) -> jax.Array:
        """A uniform action i32[choices]."""
        return jax.random.randint(key, self.shape, 0, jnp.array(self.sizes, jnp.int32), jnp.int32)

    def contains(self, x: jax.Array) -> jax.Array:
        """Whether every choice is one of its values, bool[]."""
        return jnp.all((x >= 0) & (x < jnp.array(self.sizes)))


class Task(NamedTuple):
    """An environment that has been made, with what a policy must know of it. See `task`."""

    name: str
    environment: Environment
    params: Any  # parameters of the environment
    state: Any  # ShapeDtypeStructs of the environment's state
    observation: jax.ShapeDtypeStruct  # what a policy sees
    num_outputs: int  # numbers that an action needs
    see: Callable[[Any], jax.Array]  # (the environment's observation) -> what a policy sees
    to_action: Callable[[jax.Array], Any]  # (outputs [num_outputs]) -> action


def task(env: str | Environment | tuple[Environment, Any] | Task, env_params: Any = None) -> Task:
    """Resolves an environment; nothing else makes one from a name.

    A policy sees one array. An observation that is an array keeps its shape; a number becomes an array of one. A nested
    observation (a dict or a tuple) of one array is that array; several arrays become one vector, in the order of
    ``jax.tree.leaves``. u8 stays as it is, everything else becomes f32.

    A discrete action needs as many outputs as it has values and is the argmax of them. A Box needs one output per
    number, which is clipped to the bounds. An action of several parts (`MultiDiscrete`, and gymnax's Tuple and Dict)
    takes its parts from consecutive outputs.

    Args:
        env: name of an environment of ours or gymnax's (see `envs.make`); an environment; what ``gymnax.make`` returns;
            or a task, which comes back as it is unless `env_params` are given.
        env_params: parameters of the environment; its own defaults if None.

    Raises:
        ValueError: if no environment has that name, `env` is none of these, or a policy cannot act in it.
    """
    from neuralmutator.envs import make  # not above: that package exports what is here

    if isinstance(env, Task):
        return env if env_params is None else _resolve(env.name, env.environment, env_params)
    made = make(env) if isinstance(env, str) else env
    if isinstance(made, Environment):
        made = made, made.default_params
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Environment)):
        raise ValueError(
            "env must be a name, a gymnax Environment, what gymnax.make returns, or a task, "
            f"got {type(env).__module__}.{type(env).__name__}"
        )
    environment, params = made
    name = env if isinstance(env, str) else environment.name
    return _resolve(name, environment, params if env_params is None else env_params)


def _resolve(name: str, environment: Environment, params: Any) -> Task:
    observation, state = jax.eval_shape(environment.reset_env, jax.random.key(0), params)
    leaves = jax.tree.leaves(observation)
    dtype = jnp.uint8 if {x.dtype for x in leaves} == {np.dtype(np.uint8)} else jnp.float32
    shape = leaves[0].shape or (1,) if len(leaves) == 1 else (sum(int(np.prod(x.shape)) for x in leaves),)
    space = environment.action_space(params)

    def see(observation: Any) -> jax.Array:
        parts = [x.astype(dtype) for x in jax.tree.leaves(observation)]
        return parts[0].reshape(shape) if len(parts) == 1 else jnp.concatenate([x.ravel() for x in parts])

    return Task(
        name,
        environment,
        params,
        state,
        jax.ShapeDtypeStruct(shape, dtype),
        _num_outputs(space, name),
        see,
        lambda outputs: _to_action(space, outputs),
    )


def _parts(space: Any) -> list[Any] | None:
    """The spaces that an action's parts are from, or None if it has no parts."""
    if isinstance(space, MultiDiscrete):
        return [spaces.Discrete(n) for n in space.sizes]
    if isinstance(space, spaces.Tuple):
        return list(space.spaces)
    return list(space.spaces.values()) if isinstance(space, spaces.Dict) else None


def _num_outputs(space: Any, name: str) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box):
        return max(1, int(np.prod(space.shape)))
    parts = _parts(space)
    if parts is None:
        known = "Discrete, Box, MultiDiscrete, or a Tuple or Dict of them"
        raise ValueError(f"actions of {name} must be {known}, got {type(space).__name__}")
    return sum(_num_outputs(part, name) for part in parts)


def _to_action(space: Any, outputs: jax.Array) -> Any:
    if isinstance(space, spaces.Discrete):
        return jnp.argmax(outputs).astype(getattr(space, "dtype", jnp.int32))
    if isinstance(space, spaces.Box):
        return jnp.clip(outputs.reshape(space.shape), space.low, space.high)
    actions, start = [], 0
    for part in _parts(space) or []:
        size = _num_outputs(part, "")
        actions.append(_to_action(part, outputs[start : start + size]))
        start += size
    if isinstance(space, MultiDiscrete):
        return jnp.stack(actions)
    return dict(zip(space.spaces, actions, strict=True)) if isinstance(space, spaces.Dict) else tuple(actions)
