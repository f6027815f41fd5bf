"""One episode in pieces: it begins, the policy thinks, the environment moves."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.core.genome import Genome
from neuralmutator.envs import Task
from neuralmutator.networks import Network, check_fit, convolves, policy_step

SEGMENT = 25  # steps between two looks at whether every episode has ended


class Seen(NamedTuple):
    """Sums over the observations that a policy has acted on."""

    total: jax.Array  # f32[obs]
    square: jax.Array  # f32[obs] of their squares


class Life(NamedTuple):
    """An episode on its way."""

    state: list[jax.Array]  # the leaves of the environment's state that a step changes
    observation: Any  # as the environment gives it
    memory: Any  # of the policy
    total: jax.Array  # f32[] rewards so far
    length: jax.Array  # i32[] steps so far
    alive: jax.Array  # bool[]
    seen: Seen | None  # None unless the policy is normalised


@dataclass(frozen=True, eq=False)
class Player:
    """A policy in an environment. All methods are pure and about one episode."""

    task: Task
    policy: Network
    shape: tuple[int, ...]  # of an observation as this policy takes it
    limit: int | jax.Array  # steps of an episode
    changing: tuple[bool, ...]  # for each leaf of the environment's state, whether a step changes it
    convolves: bool  # whether the policy contains a convolution

    @property
    def segment(self) -> int:
        """Steps between two looks at whether episodes have ended."""
        return SEGMENT if check.is_traced(self.limit) else min(SEGMENT, int(self.limit))

    def begin(self, key: jax.Array) -> tuple[Any, Life]:
        """What never changes in an episode (the key of its steps, a terrain), and its first moment."""
        key_reset, key_steps = jax.random.split(key)
        observation, state = self.task.environment.reset_env(key_reset, self.task.params)
        # Counters of some environments start as weakly typed Python numbers, which no loop can carry.
        leaves, observation, memory = jax.tree.map(
            lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)),
            (jax.tree.leaves(state), observation, self.policy.initial_state),
        )
        nothing = jnp.zeros(self.policy.moments, jnp.float32)
        seen = Seen(nothing, nothing) if self.policy.moments else None
        life = Life(self._leaves(leaves), observation, memory, jnp.float32(0), jnp.int32(0), jnp.bool_(True), seen)
        return (key_steps, self._leaves(leaves, changing=False)), life

    def think(self, genome: Genome, memory: Any, observation: Any) -> tuple[Any, jax.Array]:
        """The policy's memory after an observation, and its outputs."""
        return policy_step(self.policy, genome)(memory, self.see(observation))

    def move(self, fixed: Any, life: Life, memory: Any, outputs: jax.Array) -> Life:
        """The life after a step; that of an episode that has ended stays as it is.

        Where an output is NaN, so is the return: an argmax would act as if it were a choice.
        """
        key = jax.random.fold_in(fixed[0], life.length)
        observation, state, reward, terminated, _ = self.task.environment.step_env(
            key, self.state(fixed, life), self.task.to_action(outputs), self.task.params
        )
        length = life.length + 1
        after = Life(
            self._leaves(jax.tree.leaves(state)),
            observation,
            memory,
            life.total + jnp.where(jnp.isnan(jnp.max(outputs)), jnp.nan, reward),
            length,
            ~(terminated | (length >= self.limit)),
            self._also_seen(life),
        )
        return jax.tree.map(lambda new, old: jnp.where(life.alive, new, old).astype(old.dtype), after, life)

    def state(self, fixed: Any, life: Life) -> Any:
        """The environment's state, put together of what never changes and what does."""
        parts = iter(fixed[1]), iter(life.state)
        leaves = [next(parts[changes]) for changes in self.changing]
        return jax.tree.unflatten(jax.tree.structure(self.task.state), leaves)

    def see(self, observation: Any) -> jax.Array:
        """An observation as the policy takes it."""
        return self.task.see(observation).reshape(self.shape)

    def _also_seen(self, life: Life) -> Seen | None:
        if life.seen is None:
            return None
        x = self.see(life.observation)
        return Seen(life.seen.total + x, life.seen.square + x**2)

    def _leaves(self, leaves: list[jax.Array], *, changing: bool = True) -> list[jax.Array]:
        return [x for x, changes in zip(leaves, self.changing, strict=True) if changes == changing]


def make_player(task: Task, policy: Network, max_steps: int | None = None) -> Player:
    """Puts a policy into an environment.

    Args:
        task: the environment.
        policy: takes observations in their own shape, or flattened to one vector, whichever fits.
        max_steps: a time limit shorter than the environment's own.

    Raises:
        ValueError: if the policy fits neither way, is normalised for observations of another length, or `max_steps` is
            not a whole number of at least 1.
    """
    limit = task.params.max_steps_in_episode
    if not check.is_traced(limit):
        limit = int(limit)
    if max_steps is not None:
        check.whole(1, max_steps=max_steps)
        limit = jnp.minimum(limit, max_steps) if check.is_traced(limit) else min(limit, int(max_steps))
    shape = _fitting_shape(task, policy)
    if policy.moments and shape != (policy.moments,):
        raise ValueError(
            f"policy must be normalised for the observations of {task.name}, which have shape {shape}; "
            f"it is for {policy.moments} numbers"
        )
    dtype = task.observation.dtype
    return Player(task, policy, shape, limit, _changing(task), convolves(policy, shape, dtype))


def _fitting_shape(task: Task, policy: Network) -> tuple[int, ...]:
    """The shape of an observation that the policy takes: the observation's own, or a vector."""
    shape, size, dtype = task.observation.shape, task.observation.size, task.observation.dtype
    try:
        check_fit(policy, task.name, shape, task.num_outputs, dtype)
        return shape
    except ValueError as error:
        misfit = error
    if len(shape) > 1:
        try:
            check_fit(policy, task.name, (size,), task.num_outputs, dtype)
            return (size,)
        except ValueError as error:
            # A policy that takes the vector, but gives another number of outputs, hears of those.
            misfit = error if misfit.__cause__ and not error.__cause__ else misfit
    raise misfit


def _changing(task: Task) -> tuple[bool, ...]:
    """For each leaf of the environment's state, whether a step changes it; a terrain, say, stays as it is."""
    leaves, structure = jax.tree.flatten(task.state)
    outputs = jax.ShapeDtypeStruct((task.num_outputs,), jnp.float32)

    def step(leaves: list[jax.Array], outputs: jax.Array) -> list[jax.Array]:
        state = jax.tree.unflatten(structure, leaves)
        _, state, *_ = task.environment.step_env(jax.random.key(0), state, task.to_action(outputs), task.params)
        return jax.tree.leaves(state)

    program = jax.make_jaxpr(step)(leaves, outputs).jaxpr
    before = program.invars[: len(leaves)]
    return tuple(after is not first for first, after in zip(before, program.outvars, strict=True))
