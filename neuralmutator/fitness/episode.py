"""Fitness by episodes on gymnax environments."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.environment import Environment

from neuralmutator import envs
from neuralmutator.core import each
from neuralmutator.core.genome import Genome, take
from neuralmutator.networks import Network, check_fit, policy_step

SEGMENT = 25  # steps between two looks at whether every episode has ended
GROUP = 5  # at most so many episodes of a member wait for each other, where a member has its own

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


class _Life(NamedTuple):
    """An episode on its way."""

    state: list[jax.Array]  # what changes in the environment's
    observation: jax.Array
    memory: Any  # of the policy
    total: jax.Array  # f32[] rewards so far
    length: jax.Array  # i32[] steps so far
    alive: jax.Array  # bool[]


class _Player(NamedTuple):
    """An episode in pieces."""

    begin: Callable[[jax.Array], tuple[Any, _Life]]  # (key) -> what never changes in an episode, life
    think: Callable[[Genome, Any, jax.Array], tuple[Any, jax.Array]]  # (…, memory, observation) -> memory, output
    move: Callable[..., _Life]  # (what never changes, life, memory, output) -> life after a step
    segment: int  # steps between two looks at whether episodes have ended
    images: bool  # whether observations are some


def _changing(env: Environment, params: Any) -> tuple[Any, list[bool]]:
    """Structure of the environment's state, and which leaves a step changes; a terrain, say, it passes on as it is."""
    key = jax.random.key(0)
    leaves, structure = jax.tree.flatten(jax.eval_shape(env.reset_env, key, params)[1])

    def step(leaves: list[jax.Array]) -> list[jax.Array]:
        state, action = jax.tree.unflatten(structure, leaves), env.action_space(params).sample(key)
        return jax.tree.leaves(env.step_env(key, state, action, params)[1])

    program = jax.make_jaxpr(step)(leaves).jaxpr
    return structure, [after is not before for before, after in zip(program.invars, program.outvars, strict=True)]


def _player(env: str | Environment, policy: Network, max_steps: int | None, env_params: Any) -> _Player:
    """Raises ValueError as `play` does."""
    env, params = make(env, env_params)
    check_fit(policy, env.name, *sizes(env, params))
    limit = int(params.max_steps_in_episode)
    if max_steps is not None:
        if not isinstance(max_steps, int) or max_steps < 1:
            raise ValueError(f"max_steps must be a whole number of at least 1, got {max_steps!r}")
        limit = min(limit, max_steps)
    to_action = _to_action(env.action_space(params))
    shape, _ = sizes(env, params)

    def see(observation: jax.Array) -> jax.Array:
        if observation.dtype != jnp.uint8:
            observation = observation.astype(jnp.float32)
        return observation.reshape(shape)

    structure, changing = _changing(env, params)

    def changed(leaves: list[jax.Array], wanted: bool = True) -> list[jax.Array]:
        return [x for x, changes in zip(leaves, changing, strict=True) if changes == wanted]

    def begin(key: jax.Array) -> tuple[Any, _Life]:
        key_reset, key_steps = jax.random.split(key)
        observation, state = env.reset_env(key_reset, params)
        # Counters of some environments start as weakly typed Python numbers, which no loop can carry.
        leaves, observation, memory = jax.tree.map(
            lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)),
            (jax.tree.leaves(state), observation, policy.initial_state),
        )
        life = _Life(changed(leaves), observation, memory, jnp.float32(0), jnp.int32(0), jnp.bool_(True))
        return (key_steps, changed(leaves, False)), life

    def think(genome: Genome, memory: Any, observation: jax.Array) -> tuple[Any, jax.Array]:
        return policy_step(policy, genome)(memory, see(observation))

    def move(fixed: Any, life: _Life, memory: Any, output: jax.Array) -> _Life:
        key_steps, parts = fixed[0], (iter(fixed[1]), iter(life.state))
        state = jax.tree.unflatten(structure, [next(parts[changes]) for changes in changing])
        observation, state, reward, terminated, _ = env.step_env(
            jax.random.fold_in(key_steps, life.length), state, to_action(output), params
        )
        length = life.length + 1
        going = ~(terminated | (length >= limit))
        moving = changed(jax.tree.leaves(state))
        after = _Life(moving, observation, memory, life.total + reward, length, going)
        return jax.tree.map(lambda new, old: jnp.where(life.alive, new, old).astype(old.dtype), after, life)

    return _Player(begin, think, move, min(SEGMENT, limit), len(shape) == 3)


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
    player = _player(env, policy, max_steps, env_params)

    def episode(key: jax.Array, genome: Genome) -> tuple[jax.Array, jax.Array]:
        fixed, life = player.begin(key)

        def step(life: _Life, _: None) -> tuple[_Life, None]:
            return player.move(fixed, life, *player.think(genome, life.memory, life.observation)), None

        life = jax.lax.while_loop(
            lambda life: life.alive, lambda life: jax.lax.scan(step, life, None, player.segment)[0], life
        )
        return life.total, life.length

    return episode


@dataclass(frozen=True)
class Episodes:
    """Fitness: mean return of several episodes; reports ``env_steps``, the steps that were lived. See `episodes`."""

    player: _Player
    count: int

    def __call__(self, key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[] of one genome."""
        values, info = self.many(key, jax.tree.map(lambda x: x[None], genome), None)
        return values[0], jax.tree.map(lambda x: x[0], info)

    def many(
        self, keys: jax.Array, population: Genome, block_size: int | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness of a population [N]; see `PopulationFitness`.

        Members whose episodes have ended make room in the blocks for others; episodes that all meet are made only once.
        """
        rows = population.policy.shape[0]
        own = keys.ndim == 1  # whether members have episodes of their own
        # A column is a member with its episodes, or with some of them: all wait for the longest of a column.
        parts = self._parts() if own and block_size else 1
        columns = rows * parts
        size = -(-columns // -(-columns // ((block_size or rows) * parts)))  # blocks of one size
        # Lives are [episodes, columns]: the longer axis last, or a CPU's vectors would be mostly empty.
        split, begin = partial(jax.random.split, num=self.count), jax.vmap(self.player.begin)
        keys = jax.vmap(split, out_axes=1)(keys).reshape(-1, columns) if own else split(keys)
        fixed, lives = (jax.vmap(begin, 1, 1) if own else begin)(keys)
        if not own:
            lives = jax.tree.map(lambda x: jnp.repeat(x[:, None], columns, axis=1), lives)
        move = jax.vmap(jax.vmap(self.player.move, (0 if own else None, 0, 0, 0)))

        def live(population: Genome, fixed: Any, lives: _Life) -> _Life:
            def step(lives: _Life, _: None) -> tuple[_Life, None]:
                return move(fixed, lives, *self._think(population, lives.memory, lives.observation)), None

            return jax.lax.scan(step, lives, None, self.player.segment)[0]

        def block(index: jax.Array, lives: _Life) -> _Life:
            def some(x: jax.Array) -> jax.Array:
                return x[:, index]

            of_some = jax.tree.map(some, fixed) if own else fixed
            lived = live(take(population, index % rows), of_some, jax.tree.map(some, lives))
            return jax.tree.map(lambda all_, new: all_.at[:, index].set(new), lives, lived)

        def segment(lives: _Life) -> _Life:
            if size == rows == columns:
                return live(population, fixed, lives)
            waiting = jnp.any(lives.alive, axis=0)
            order = jnp.argsort(~waiting)
            blocks = -(-jnp.sum(waiting) // size)
            # Where the last block has room are columns that are done, which stay as they are, or one of it once more.
            order = jnp.pad(order, (0, -columns % size), mode="edge")
            return jax.lax.fori_loop(
                0, blocks, lambda i, lives: block(jax.lax.dynamic_slice(order, (i * size,), (size,)), lives), lives
            )

        lives = jax.lax.while_loop(lambda lives: jnp.any(lives.alive), segment, lives)
        totals, lengths = (x.reshape(self.count, rows) for x in (lives.total, lives.length))
        return jnp.mean(totals, axis=0), {"env_steps": jnp.sum(lengths, axis=0)}

    def _parts(self) -> int:
        """Into how many columns the episodes of a member go."""
        if self.player.images:
            return 1  # all that one genome sees at once is one convolution
        return self.count // next((n for n in range(GROUP, 1, -1) if self.count % n == 0), self.count)

    def _think(self, population: Genome, memory: Any, observations: jax.Array) -> tuple[Any, jax.Array]:
        """Memories and outputs [episodes, members, ...] of policies [members]."""
        one = jax.vmap(self.player.think, (None, 0, 0))
        if not self.player.images:
            return jax.vmap(one, (0, 1, 1), 1)(population, memory, observations)
        # One genome after another: XLA's convolutions are slow where images of a batch have kernels of their own.
        swap = partial(jax.tree.map, lambda x: jnp.swapaxes(x, 0, 1))
        return swap(each(one, population, *swap((memory, observations))))


def episodes(
    env: str | Environment,
    policy: Network,
    *,
    episodes: int = 5,
    max_steps: int | None = None,
    env_params: Any = None,
) -> Episodes:
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
    return Episodes(_player(env, policy, max_steps, env_params), episodes)
