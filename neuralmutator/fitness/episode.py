"""Fitness by episodes in JAX environments: ours, gymnax's and those of the same interface."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from gymnax.environments.environment import Environment

from neuralmutator import envs
from neuralmutator.core import check, each, on_cpu
from neuralmutator.core.genome import Genome, take
from neuralmutator.core.lanes import Lanes, gather, is_parts, spread, take_apart
from neuralmutator.fitness.player import Life, Player, make_player
from neuralmutator.networks import Network
from neuralmutator.networks.normalisation import MOMENTS

GROUP = 5  # at most so many episodes of a member wait for each other, where a member has its own

APART = (16, 2)  # times as many columns are in a block of what is taken apart: for all cores, and for the last alive

SIMULATED = 512  # bytes of a state from which on an environment is a simulation of many bodies

Play = Callable[[jax.Array, Genome], tuple[jax.Array, jax.Array]]
Env: TypeAlias = str | Environment | tuple[Environment, Any] | envs.Task


def play(env: Env, policy: Network, *, max_steps: int | None = None, env_params: Any = None) -> Play:
    """One episode: ``(key, genome) -> (return f32[], length i32[])``.

    The policy's outputs become an action as `envs.task` says: the argmax where actions are discrete, else clipped to
    the bounds. An episode ends when the environment says so, or at its time limit; nothing is reset, and only sums are
    carried. Where an output is NaN, so is the return.

    Args:
        env: name of an environment, an environment, what ``gymnax.make`` returns, or a task; see `envs.task`.
        policy: network from observations to the outputs that an action needs. It takes observations in their own shape,
            or flattened to one vector, whichever fits.
        max_steps: a time limit shorter than the environment's own.
        env_params: parameters of the environment; its own defaults if None.

    Raises:
        ValueError: if the environment is unknown, the policy does not fit it, or a number is below 1.
    """
    life_of = make_player(envs.task(env, env_params), policy, max_steps)

    def episode(key: jax.Array, genome: Genome) -> tuple[jax.Array, jax.Array]:
        fixed, life = life_of.begin(key)

        def step(life: Life, _: None) -> tuple[Life, None]:
            return life_of.move(fixed, life, *life_of.think(genome, life.memory, life.observation)), None

        life = jax.lax.while_loop(
            lambda life: life.alive, lambda life: jax.lax.scan(step, life, None, life_of.segment)[0], life
        )
        return life.total, life.length

    return episode


def observe(
    env: Env, policy: Network, key: jax.Array, count: int = 32, *, max_steps: int | None = None, env_params: Any = None
) -> jax.Array:
    """Observations of fresh policies, [count, ...]: each of another policy, at a random moment of its episode.

    Args:
        env: see `play`.
        policy: network of fixed topology whose initialiser draws the policies.
        key: random key.
        count: number of observations.
        max_steps: a time limit shorter than the environment's own.
        env_params: parameters of the environment; its own defaults if None.

    Raises:
        ValueError: as `play`, and if `count` is below 1.
    """
    check.whole(1, count=count)
    player = make_player(envs.task(env, env_params), policy, max_steps)

    def one(key: jax.Array) -> jax.Array:
        key_policy, key_episode, key_moment = jax.random.split(key, 3)
        nothing = jnp.zeros(0, jnp.float32)
        genome = Genome(policy.init(key_policy), nothing, nothing, nothing.astype(jnp.int32), jnp.float32(0))
        fixed, life = player.begin(key_episode)

        def step(carry: tuple[Life, jax.Array]) -> tuple[Life, jax.Array]:
            # Each observation takes the place of the one before with probability 1 / t: all are as likely in the end.
            life, kept = carry
            here = jax.random.randint(jax.random.fold_in(key_moment, life.length), (), 0, life.length + 1) == 0
            kept = jnp.where(here, player.see(life.observation), kept)
            return player.move(fixed, life, *player.think(genome, life.memory, life.observation)), kept

        first = life, player.see(life.observation)
        return jax.lax.while_loop(lambda carry: carry[0].alive, step, first)[1]

    # It runs once, and with all optimisations it takes ten times as long to compile as to run.
    hurry = on_cpu() and not check.is_traced(key)
    many = jax.jit(jax.vmap(one), compiler_options={"xla_backend_optimization_level": 0} if hurry else None)
    return many(jax.random.split(key, count))


@dataclass(frozen=True, eq=False)
class Episodes:
    """Fitness: mean return of several episodes. See `episodes`."""

    player: Player
    count: int

    def __call__(self, key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[] of one genome."""
        values, info = self.many(key, jax.tree.map(lambda x: x[None], genome), None)
        return values[0], jax.tree.map(lambda x: x[0], info)

    def many(
        self, keys: jax.Array, population: Genome, block_size: int | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness of a population [N]; see `PopulationFitness`.

        Lives are arrays [episodes, columns]. A column is a member with its episodes, or with some of them where members
        have their own; all of a column wait for the longest. Columns live in blocks, and one whose episodes have ended
        makes room for others; of what is taken apart, blocks are larger (`APART`). Episodes that all members meet are
        begun only once.
        """
        rows = population.policy.shape[0]
        own = keys.ndim == 1  # whether members have episodes of their own
        parts = self._parts() if own and block_size else 1
        columns = rows * parts
        fixed, lives = self._begin(keys, columns)
        lanes = self._lanes(population, fixed, lives, own)

        def play(population: Genome, fixed: Any, lives: Life) -> Life:
            if lanes is None:
                return self._live(population, fixed, lives, own)
            return self._live_in_lanes(lanes, population, fixed, lives, own)

        def live(columns: jax.Array, lives: Life) -> Life:
            return play(take(population, columns % rows), _columns(fixed, columns) if own else fixed, lives)

        def segment(size: int, lives: Life) -> Life:
            return play(population, fixed, lives) if size == rows == columns else _in_blocks(live, size, lives)

        sizes = _sizes(columns, (block_size or rows) * parts, (1,) if lanes is None else APART)
        for size, rest in zip(sizes, (*sizes[1:], 0), strict=True):
            lives = jax.lax.while_loop(partial(_more_wait, rest), partial(segment, size), lives)
        return self._report(lives, rows)

    def _parts(self) -> int:
        """Into how many columns the episodes of a member go."""
        if self.player.convolves:
            return 1  # all that one genome sees at once is one convolution
        return self.count // next((n for n in range(GROUP, 1, -1) if self.count % n == 0), self.count)

    def _begin(self, keys: jax.Array, columns: int) -> tuple[Any, Life]:
        """What never changes in each episode, and first lives [episodes, columns]: the longer axis is the last.

        Otherwise a CPU's vectors would be mostly empty. What never changes has no axis of columns where all members
        meet the same episodes.
        """
        split, begin = partial(jax.random.split, num=self.count), jax.vmap(self.player.begin)
        if keys.ndim == 1:
            return jax.vmap(begin, 1, 1)(jax.vmap(split, out_axes=1)(keys).reshape(-1, columns))
        fixed, lives = begin(split(keys))
        return fixed, jax.tree.map(lambda x: jnp.repeat(x[:, None], columns, axis=1), lives)

    def _live(self, population: Genome, fixed: Any, lives: Life, own: bool) -> Life:
        """Lives [episodes, members] after a segment of steps."""
        move = partial(self._move, own)

        def step(lives: Life, _: None) -> tuple[Life, None]:
            decided = self._think(population, lives.memory, lives.observation)
            # Else XLA computes the policy once for every quantity of the environment that depends on it.
            return move(fixed, lives, *jax.lax.optimization_barrier(decided)), None

        return jax.lax.scan(step, lives, None, self.player.segment)[0]

    def _lanes(self, population: Genome, fixed: Any, lives: Life, own: bool) -> Lanes | None:
        """A step of one life, taken apart for a CPU (`benchmarks/evaluation.py`); None where that is not worth it."""
        if not on_cpu() or self._simulates(lives):
            return None

        def step(genome: Genome, fixed: Any, life: Life) -> Life:
            decided = self.player.think(genome, life.memory, life.observation)
            return self.player.move(fixed, life, *jax.lax.optimization_barrier(decided))

        def one(tree: Any, axes: int) -> Any:
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), tree)

        return take_apart(step, one(population, 1), one(fixed, 2 if own else 1), one(lives, 2))

    def _live_in_lanes(self, lanes: Lanes, population: Genome, fixed: Any, lives: Life, own: bool) -> Life:
        """`_live` where episodes and members are lanes."""
        prepared = lanes.prepare(population)
        fixed = jax.tree.map(lambda x: spread(x if own else x[:, None]), fixed)

        def step(lives: Life, _: None) -> tuple[Life, None]:
            return lanes(prepared, fixed, lives), None

        lived, _ = jax.lax.scan(step, jax.tree.map(spread, lives), None, self.player.segment)
        return jax.tree.map(partial(gather, lanes=lives.alive.shape), lived, is_leaf=is_parts)

    def _move(self, own: bool, fixed: Any, lives: Life, memory: Any, outputs: jax.Array) -> Life:
        """Lives [episodes, members] after a step.

        For a CPU a simulation is a tenth faster on a single axis, a small environment on two. What never changes, a
        terrain, say, is copied for every member only where it is small.
        """
        if not self._simulates(lives) or _bytes(fixed) > _bytes(lives.state):
            return jax.vmap(jax.vmap(self.player.move, (0 if own else None, 0, 0, 0)))(fixed, lives, memory, outputs)
        count, members = lives.alive.shape
        if not own:
            fixed = jax.tree.map(lambda x: jnp.repeat(x, members, axis=0), fixed)
        else:
            fixed = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), fixed)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (lives, memory, outputs))
        moved = jax.vmap(self.player.move)(fixed, *flat)
        return jax.tree.map(lambda x: x.reshape(count, members, *x.shape[1:]), moved)

    @staticmethod
    def _simulates(lives: Life) -> bool:
        """Whether the environment is a simulation of many bodies, by the bytes of a state."""
        return _bytes(lives.state) >= SIMULATED * lives.alive.size

    def _think(self, population: Genome, memory: Any, observations: Any) -> tuple[Any, jax.Array]:
        """Memories and outputs [episodes, members, ...] of policies [members]."""
        one = jax.vmap(self.player.think, (None, 0, 0))
        if not self.player.convolves:
            return jax.vmap(one, (0, 1, 1), 1)(population, memory, observations)
        # One genome after another: XLA's convolutions are slow where images of a batch have kernels of their own.
        swap = partial(jax.tree.map, lambda x: jnp.swapaxes(x, 0, 1))
        return swap(each(one, population, *swap((memory, observations))))

    def _report(self, lives: Life, rows: int) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[N] and infos [N, ...] of lives that have ended."""
        ended = jax.tree.map(
            lambda x: x.reshape(self.count, rows, *x.shape[2:]), (lives.total, lives.length, lives.seen)
        )
        totals, lengths, seen = ended
        steps = jnp.sum(lengths, axis=0)
        info = {"env_steps": steps}
        if seen is not None:
            sums = steps.astype(jnp.float32)[:, None], jnp.sum(seen.total, axis=0), jnp.sum(seen.square, axis=0)
            # What a simulation that has exploded saw must not spoil the sums of everyone.
            finite = jnp.all(jnp.isfinite(sums[1]) & jnp.isfinite(sums[2]), axis=1, keepdims=True)
            count, total, square = (jnp.where(finite, x, 0.0) for x in sums)
            info |= dict(zip(MOMENTS, (count[:, 0], total, square), strict=True))
        return jnp.mean(totals, axis=0), info


def _bytes(tree: Any) -> int:
    """Bytes of all arrays; keys have theirs."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _columns(tree: Any, index: jax.Array) -> Any:
    """The columns `index` of arrays [episodes, columns, ...]."""
    return jax.tree.map(lambda x: x[:, index], tree)


def _sizes(columns: int, size: int, times: Sequence[int]) -> list[int]:
    """Sizes of blocks, at most these times `size`; each divides the columns as evenly as can be. No size twice."""
    return list(dict.fromkeys(-(-columns // -(-columns // (size * n))) for n in times))


def _more_wait(number: int, lives: Life) -> jax.Array:
    """Whether an episode is still alive in more columns than that."""
    return jnp.sum(jnp.any(lives.alive, axis=0)) > number


def _in_blocks(live: Callable[[jax.Array, Life], Life], size: int, lives: Life) -> Life:
    """A segment of the columns in which an episode is still alive, `size` columns at a time.

    Args:
        live: ``(columns i32[size], their lives) -> lives after a segment``.
        size: columns of a block.
        lives: [episodes, columns].
    """
    waiting = jnp.any(lives.alive, axis=0)
    blocks = -(-jnp.sum(waiting) // size)
    # Where the last block has room are columns that are done, which stay as they are, or one of it once more.
    order = jnp.pad(jnp.argsort(~waiting), (0, -waiting.size % size), mode="edge")

    def block(i: jax.Array, lives: Life) -> Life:
        columns = jax.lax.dynamic_slice(order, (i * size,), (size,))
        lived = live(columns, _columns(lives, columns))
        return jax.tree.map(lambda every, new: every.at[:, columns].set(new), lives, lived)

    return jax.lax.fori_loop(0, blocks, block, lives)


def episodes(
    env: Env,
    policy: Network,
    *,
    episodes: int = 5,
    max_steps: int | None = None,
    env_params: Any = None,
) -> Episodes:
    """Fitness: mean return of several episodes; reports ``env_steps``, the steps that were lived.

    Where the policy is `networks.normalised`, it also reports the number, the sum and the sum of squares of the
    observations that it acted on (``observation_count`` f32[], ``observation_sum`` f32[obs], ``observation_square``
    f32[obs]), which `population.normalise_observations` takes in. The sums are f32: a std that is some hundred times
    smaller than the mean is lost in them.

    Args:
        env: name of an environment, an environment, what ``gymnax.make`` returns, or a task; see `envs.task`.
        policy: network from observations to actions, see `play`.
        episodes: number of episodes per evaluation.
        max_steps: a time limit shorter than the environment's own.
        env_params: parameters of the environment; its own defaults if None.

    Raises:
        ValueError: if the environment is unknown, the policy does not fit it, or a number is below 1.
    """
    check.whole(1, episodes=episodes)
    return Episodes(make_player(envs.task(env, env_params), policy, max_steps), int(episodes))
