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
from neuralmutator.genome import Genome, take
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

    begin: Callable[[jax.Array], tuple[list[jax.Array], _Life]]  # (key) -> what never changes in an episode, life
    think: Callable[[Genome, Any, jax.Array], tuple[Any, jax.Array]]  # (…, memory, observation) -> memory, output
    move: Callable[..., _Life]  # (key, what never changes, life, memory, output) -> life after a step
    segment: int  # steps between two looks at whether episodes have ended
    images: bool  # whether observations are some


def _changing(env: Environment, params: Any, key: jax.Array, state: Any) -> list[bool]:
    """Which leaves of the environment's state a step changes; a terrain, say, it passes on as it is."""
    action = env.action_space(params).sample(key)

    def step(leaves: list[jax.Array]) -> list[jax.Array]:
        stepped = env.step_env(key, jax.tree.unflatten(jax.tree.structure(state), leaves), action, params)[1]
        return jax.tree.leaves(stepped)

    program = jax.make_jaxpr(step)(jax.tree.leaves(state)).jaxpr
    return [after is not before for before, after in zip(program.invars, program.outvars, strict=True)]


def _player(env: str | Environment, policy: Network, max_steps: int | None, env_params: Any) -> _Player:
    """Raises ValueError as `play` does."""
    env, params = make(env, env_params)
    _check(env, params, policy)
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

    def begin(key: jax.Array) -> tuple[list[jax.Array], _Life]:
        observation, state = env.reset_env(jax.random.split(key)[0], params)
        # Counters of some environments start as weakly typed Python numbers, which no loop can carry.
        leaves, observation, memory = jax.tree.map(
            lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)),
            (jax.tree.leaves(state), observation, policy.initial_state),
        )
        changing = _changing(env, params, key, state)
        fixed = [x for x, changes in zip(leaves, changing, strict=True) if not changes]
        moving = [x for x, changes in zip(leaves, changing, strict=True) if changes]
        return fixed, _Life(moving, observation, memory, jnp.float32(0), jnp.int32(0), jnp.bool_(True))

    def think(genome: Genome, memory: Any, observation: jax.Array) -> tuple[Any, jax.Array]:
        return policy_step(policy, genome)(memory, see(observation))

    def move(key: jax.Array, fixed: list[jax.Array], life: _Life, memory: Any, output: jax.Array) -> _Life:
        key_reset, key_steps = jax.random.split(key)
        state = jax.eval_shape(env.reset_env, key_reset, params)[1]
        changing = _changing(env, params, key, state)
        parts = iter(fixed), iter(life.state)
        now = jax.tree.unflatten(jax.tree.structure(state), [next(parts[changes]) for changes in changing])
        observation, following, reward, terminated, _ = env.step_env(
            jax.random.fold_in(key_steps, life.length), now, to_action(output), params
        )
        moving = [x for x, changes in zip(jax.tree.leaves(following), changing, strict=True) if changes]
        length = life.length + 1
        going = ~(terminated | (length >= limit))
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
            return player.move(key, fixed, life, *player.think(genome, life.memory, life.observation)), None

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
        """Fitness f32[N] of a population; members whose episodes have ended make room in the blocks for others.

        Args:
            keys: one per member [N], or a single one: all then meet the same episodes, which are made only once.
            population: genomes [N].
            block_size: members that live side by side; None: all.
        """
        rows = population.policy.shape[0]
        size = -(-rows // -(-rows // (block_size or rows)))  # blocks of one size
        own = keys.ndim == 1  # whether members have episodes of their own
        # Lives are [episodes, members]: the longer axis last, or a CPU's vectors would be mostly empty.
        split, begin = partial(jax.random.split, num=self.count), jax.vmap(self.player.begin)
        keys = jax.vmap(split, out_axes=1)(keys) if own else split(keys)
        fixed, lives = (jax.vmap(begin, 1, 1) if own else begin)(keys)
        if not own:
            lives = jax.tree.map(lambda x: jnp.repeat(x[:, None], rows, axis=1), lives)
        move = jax.vmap(jax.vmap(self.player.move, (0 if own else None, 0 if own else None, 0, 0, 0)))

        def live(keys: jax.Array, population: Genome, fixed: list[jax.Array], lives: _Life) -> _Life:
            def step(lives: _Life, _: None) -> tuple[_Life, None]:
                return move(keys, fixed, lives, *self._think(population, lives.memory, lives.observation)), None

            return jax.lax.scan(step, lives, None, self.player.segment)[0]

        def block(index: jax.Array, lives: _Life) -> _Life:
            def some(x: jax.Array) -> jax.Array:
                return x[:, index]

            episodes = jax.tree.map(some, (keys, fixed)) if own else (keys, fixed)
            lived = live(episodes[0], take(population, index), episodes[1], jax.tree.map(some, lives))
            return jax.tree.map(lambda all_, new: all_.at[:, index].set(new), lives, lived)

        def segment(lives: _Life) -> _Life:
            if size == rows:
                return live(keys, population, fixed, lives)
            waiting = jnp.any(lives.alive, axis=0)
            order = jnp.argsort(~waiting)
            blocks = -(-jnp.sum(waiting) // size)
            # Where the last block has room, it repeats members that are done, which stay as they are.
            order = jnp.pad(order, (0, -rows % size), mode="edge")
            return jax.lax.fori_loop(
                0, blocks, lambda i, lives: block(jax.lax.dynamic_slice(order, (i * size,), (size,)), lives), lives
            )

        lives = jax.lax.while_loop(lambda lives: jnp.any(lives.alive), segment, lives)
        return jnp.mean(lives.total, axis=0), {"env_steps": jnp.sum(lives.length, axis=0)}

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
