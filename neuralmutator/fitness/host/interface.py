"""How a policy sees and acts in a Gymnasium environment."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Genome, each, take
from neuralmutator.fitness.host.worker import with_array_observations
from neuralmutator.networks import Network, check_fit, policy_step

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

MakeEnv = Callable[..., "gymnasium.Env"]


class Interface(NamedTuple):
    """The shapes of an environment, as a policy meets them."""

    name: str
    shape: tuple[int, ...]  # of an observation
    dtype: type  # of an observation: f32, or u8 where the environment's is
    num_outputs: int  # numbers that an action needs
    to_action: Callable[[jax.Array], jax.Array]  # output f32[num_outputs] -> action
    action_dtype: Any  # of an action, on the host
    max_steps: int | None  # the environment's own time limit; None: it has none

    def observe(self, observations: Sequence[Any]) -> np.ndarray:
        """Observations of n environments as the policy takes them: a new array [n, ...]."""
        return np.array(observations, self.dtype).reshape(len(observations), *self.shape)

    def actions(self, actions: np.ndarray) -> list[Any]:
        """Actions [n, ...] as n environments take them."""
        actions = actions.astype(self.action_dtype, copy=False)
        return actions.tolist() if actions.ndim == 1 else list(actions)


def make(env: "str | EnvSpec | MakeEnv", env_kwargs: Mapping[str, Any] | None = None) -> "gymnasium.Env":
    """An environment from its name or specification, or from a function that makes one.

    Raises:
        ValueError: if `env` is an environment already, Gymnasium cannot make it, or the function makes something else.
    """
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

    if callable(env):
        made = env(**(env_kwargs or {}))
        if not isinstance(made, gymnasium.Env):
            raise ValueError(f"env must make a gymnasium.Env, got {type(made).__name__}")
        return made
    if not isinstance(env, str | EnvSpec):
        raise ValueError(
            "env must be a name, a specification or a function that makes an environment (several are needed), "
            f"got {env!r}"
        )
    try:
        return gymnasium.make(env, disable_env_checker=True, **(env_kwargs or {}))
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise ValueError(f"env {env!r} cannot be made by Gymnasium: {' '.join(str(error).split())}") from error


def interface_of(env: "gymnasium.Env") -> Interface:
    """The shapes of an environment.

    Observations other than a Box are flattened, each number of choice to a one-hot vector. The action is the argmax of
    the outputs (Discrete), the argmax of each choice's outputs (MultiDiscrete), whether each output is positive
    (MultiBinary), or the outputs clipped to their bounds (Box; rounded where it holds whole numbers).

    Raises:
        ValueError: if it has other observations or actions.
    """
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    try:
        observations = with_array_observations(env).observation_space
    except NotImplementedError as error:
        raise ValueError(
            f"observations of {name} must be arrays, choices, or Dict or Tuple of such, got {env.observation_space}"
        ) from error
    num_outputs, to_action, action_dtype = _action(name, env.action_space)
    dtype = np.uint8 if observations.dtype == np.uint8 else np.float32
    return Interface(name, observations.shape or (1,), dtype, num_outputs, to_action, action_dtype, _time_limit(env))


def sizes(env: "str | EnvSpec | MakeEnv", env_kwargs: Mapping[str, Any] | None = None) -> tuple[tuple[int, ...], int]:
    """Shape of an environment's observation as a policy sees it, and the number of outputs that its actions need.

    Raises:
        ValueError: as `make` and `interface_of` do.
    """
    with make(env, env_kwargs) as sample:
        found = interface_of(sample)
    return found.shape, found.num_outputs


def check_policy(policy: Network, found: Interface) -> None:
    """Raises ValueError unless a policy fits an environment."""
    check_fit(policy, found.name, found.shape, found.num_outputs, found.dtype)


def act(
    policy: Network, found: Interface, genome: Genome, carry: Any, observation: jax.Array
) -> tuple[Any, jax.Array, jax.Array]:
    """One thought of one policy.

    Returns:
        The carry after it; the action; and bool[] whether the output that it comes from holds numbers only.
    """
    carry, output = policy_step(policy, genome)(carry, observation)
    return carry, found.to_action(output), ~jnp.any(jnp.isnan(output))


def batched_act(policy: Network, found: Interface) -> Callable[..., tuple[Any, jax.Array, jax.Array]]:
    """The policies of a population in S environments, as one program.

    Returns:
        ``(population [N], members i32[S], memory [S, ...], first bool[S], due bool[S], observations [S, ...]) ->
        (memory [S, ...], actions [S, ...], valid bool[S])``: `members` says whose policy acts in an environment,
        `first` whether its episode begins, `due` whether it is to act at all.
    """

    def one(population: Genome, member: jax.Array, memory: Any, first: jax.Array, due: jax.Array, x: jax.Array) -> Any:
        def think() -> tuple[Any, jax.Array, jax.Array]:
            start = jax.tree.map(partial(jnp.where, first), policy.initial_state, memory)
            after, action, valid = act(policy, found, take(population, member), start, x)
            return jax.tree.map(lambda new, old: new.astype(old.dtype), after, memory), action, valid

        idle = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(think)[1:])
        return jax.lax.cond(due, think, lambda: (memory, *idle))

    @jax.jit
    def all_at_once(population: Genome, *slots: Any) -> tuple[Any, jax.Array, jax.Array]:
        return each(partial(one, population), *slots)

    return all_at_once


def _action(name: str, space: Any) -> tuple[int, Callable[[jax.Array], jax.Array], Any]:
    """Number of outputs that an action needs, how they become one, and its dtype on the host."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return int(space.n), lambda output: int(space.start) + jnp.argmax(output), space.dtype
    if isinstance(space, spaces.MultiDiscrete):
        choices = space.nvec.ravel().tolist()
        cuts, start = np.cumsum(choices)[:-1], space.start.astype(np.int32)

        def choose(output: jax.Array) -> jax.Array:
            best = [jnp.argmax(part) for part in jnp.split(output, cuts)]
            return jnp.stack(best).reshape(start.shape) + start

        return sum(choices), choose, space.dtype
    if isinstance(space, spaces.MultiBinary):
        return math.prod(space.shape), lambda output: output.reshape(space.shape) > 0, space.dtype
    if isinstance(space, spaces.Box):
        whole = np.dtype(space.dtype).kind in "iu"

        def clip(output: jax.Array) -> jax.Array:
            clipped = jnp.clip(output.reshape(space.shape), space.low, space.high)
            return jnp.round(clipped) if whole else clipped

        return max(1, math.prod(space.shape)), clip, space.dtype if whole else np.float32
    raise ValueError(f"actions of {name} must be Discrete, MultiDiscrete, MultiBinary or Box, got {space}")


def _time_limit(env: Any) -> int | None:
    """The environment's own time limit, as its specification or its wrappers say."""
    import gymnasium

    limits = [env.spec.max_episode_steps] if env.spec else []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min((limit for limit in limits if limit is not None), default=None)
