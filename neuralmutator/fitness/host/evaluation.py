"""Fitness by episodes in Gymnasium itself, on the host: for environments that have no JAX version."""

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Genome, check
from neuralmutator.fitness.host.executors import MakeExecutor, TaskPlayer
from neuralmutator.fitness.host.interface import MakeEnv, check_policy, interface_of, make
from neuralmutator.fitness.host.player import Player, Plays, Results
from neuralmutator.fitness.host.tasks import Description
from neuralmutator.fitness.host.workers import WorkerPool
from neuralmutator.networks import Network

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec


class HostFitness:
    """Evaluates populations in Gymnasium; `gymnasium` makes it. Holds its environments until closed."""

    runs_on_host: ClassVar[bool] = True  # no fitness that `evolution` could trace: use ask and tell, or `on_host`

    def __init__(self, player: Plays, episodes: int, common_random_numbers: bool) -> None:
        self.player, self.episodes, self.common_random_numbers = player, episodes, common_random_numbers

    def __call__(self, key: jax.Array, population: Genome) -> tuple[np.ndarray, dict[str, int]]:
        """Mean return f32[N] of every member's episodes; depends on nothing but the key and the population.

        Args:
            key: what the seeds of the episodes are drawn from.
            population: genomes [N].

        Returns:
            The fitness; and ``env_steps``, the steps of all episodes, and ``worker_deaths``, how often a worker had to
            be started again.

        Raises:
            ValueError: if the key is not one of ``jax.random.key``, the genomes are not the policy's, or the call is
                being traced.
            RuntimeError: if an environment raises an exception in a worker, or its worker keeps dying.
        """
        _check_concrete(key, population)
        check.random_key(key=key)
        members = population.policy.shape[0]
        seeds = _seeds(key, (1 if self.common_random_numbers else members, self.episodes))
        results = self.evaluate_seeds(population, np.broadcast_to(seeds, (members, self.episodes)))
        info = {"env_steps": int(results.lengths.sum()), "worker_deaths": results.worker_deaths}
        return results.returns.mean(axis=1).astype(np.float32), info

    def evaluate_seeds(self, population: Genome, seeds: np.ndarray) -> Results:
        """Results of the episodes of these seeds i64[N, E] of genomes [N]; a pure function of both.

        Raises:
            ValueError: if the genomes are not the policy's.
            RuntimeError: if an environment raises an exception in a worker, or its worker keeps dying.
        """
        return self.player.play(population, seeds)

    def of_members(self, episodes: int) -> "MemberFitness":
        """The same environments as a fitness of genomes, for `hall_of_fame` around `on_host`.

        Args:
            episodes: number of episodes of every genome.

        Raises:
            ValueError: if that is not a whole number of at least 1.
        """
        check.whole(1, episodes=episodes)
        return MemberFitness(self, episodes)

    def close(self) -> None:
        """Ends environments and workers; another evaluation starts new ones."""
        self.player.close()

    def __enter__(self) -> "HostFitness":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class MemberFitness:
    """Mean return of a genome's episodes in Gymnasium: a `core.PopulationFitness` that cannot be traced."""

    host: HostFitness
    episodes: int

    def __call__(self, key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[] of one genome, and ``env_steps``.

        Raises:
            ValueError: as `HostFitness` does.
        """
        values, info = self.many(key, jax.tree.map(lambda x: x[None], genome))
        return values[0], jax.tree.map(lambda x: x[0], info)

    def many(
        self, keys: jax.Array, population: Genome, block_size: int | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[N] of every member, and its ``env_steps`` i32[N].

        Args:
            keys: one per member [N], or a single one that all members meet.
            population: genomes [N].
            block_size: ignored; the number of environments bounds the memory.

        Raises:
            ValueError: as `HostFitness` does.
        """
        _check_concrete(keys, population)
        members = population.policy.shape[0]
        seeds = (
            jnp.stack([_seeds(key, (self.episodes,)) for key in keys]) if keys.ndim else _seeds(keys, (self.episodes,))
        )
        results = self.host.evaluate_seeds(population, np.broadcast_to(seeds, (members, self.episodes)))
        env_steps = jnp.asarray(results.lengths.sum(axis=1), jnp.int32)
        return jnp.asarray(results.returns.mean(axis=1), jnp.float32), {"env_steps": env_steps}


def gymnasium(
    env: "str | EnvSpec | MakeEnv",
    policy: Network,
    *,
    episodes: int = 5,
    num_envs: int = 64,
    workers: int = 0,
    executor: MakeExecutor | None = None,
    max_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    timeout: float = 300.0,
    common_random_numbers: bool = True,
) -> HostFitness:
    """Fitness in Gymnasium itself, for ask and tell: ``(key, population) -> (fitness f32[N], info)``.

    As many environments as `num_envs` step together, and all their policies are one call on the device; whichever
    environment is done with an episode takes the next one. Close it after use, or use it in a ``with`` statement::

        with nm.fitness.gymnasium("CartPole-v1", policy) as evaluate:
            fitness, info = evaluate(key, evolution.ask(key, state))

    Where a step takes long, worker processes step the environments (on Linux and macOS). The fitness is the same, to
    the bit, however many they are, and even if some die: a dead worker is started again and its episodes are played
    again. This asks of the environment that an episode follows from its seed and the actions.

    On several machines, an `executor` plays whole episodes where its workers are, policies included, on their CPUs. It
    is whatever has Python's own interface, ``concurrent.futures.Executor``: processes, Dask, Ray, MPI. Members go out
    in tasks of ``num_envs // episodes``, whatever the number of workers; a task that is lost is submitted again. The
    bits are those of no workers on a CPU of the same kind, with the same versions. The workers import neuralmutator,
    and unpickle what the executor brings them: see the guide on who may reach them.

    Observations are arrays; nested ones and numbers of choice are flattened (choices one-hot). The action is the argmax
    of the policy's output (Discrete), the argmax of each choice's outputs (MultiDiscrete), whether each output is
    positive (MultiBinary), or the output clipped to its bounds (Box). An episode in which the output is not a number
    has a return that is not a number, which ranks last.

    Args:
        env: whatever ``gymnasium.make`` takes, or a function that makes an environment.
        policy: network from observations to the outputs that an action needs, see `sizes`; sees images of bytes as
            such, all else as f32.
        episodes: number of episodes of every member.
        num_envs: number of environments.
        workers: number of processes that step them; 0: this one.
        executor: makes the executor, when it is first needed and again if it broke, as a ProcessPoolExecutor does when
            a worker dies; `close` shuts it down. Each of its workers makes `num_envs` environments and keeps them.
        max_steps: a time limit shorter than the environment's own. Warns if there is neither.
        env_kwargs: keyword arguments of the environment.
        timeout: seconds that a worker may take for one answer, a step or a reset of all its environments, before it
            is held to be dead; its first answer includes making them. With an executor: seconds in which one of the
            tasks that are out must be done, else all of them are submitted again; includes the start of its workers.
        common_random_numbers: whether all members meet the same episodes.

    Raises:
        ValueError: if the environment cannot be made, the policy does not fit it, or a number is out of range.
    """
    import gymnasium as gym

    check.whole(1, episodes=episodes, num_envs=num_envs)
    if max_steps is not None:
        check.whole(1, max_steps=max_steps)
    check.whole(0, workers=workers)
    if workers > num_envs:
        raise ValueError(f"workers must lie between 0 and num_envs = {num_envs}, got {workers!r}")
    if executor is not None and workers:
        raise ValueError(f"workers must be 0 with executor, which has workers of its own, got {workers!r}")
    if executor is not None and not callable(executor):
        raise ValueError(f"executor must be a function that makes a concurrent.futures.Executor, got {executor!r}")
    if workers and os.name == "nt":
        raise ValueError(f"workers must be 0 on Windows, got {workers!r}")
    check.number(0, math.inf, open_low=True, timeout=timeout)
    with make(env, env_kwargs) as sample:
        found = interface_of(sample)
        check_policy(policy, found)
        if callable(env):
            make_env = partial(env, **(env_kwargs or {}))
        else:  # a worker may not know the name, which is registered in this process
            make_env = partial(gym.make, sample.spec, disable_env_checker=True)
    if max_steps is None and found.max_steps is None:
        warnings.warn(f"{found.name} has no time limit: an episode may go on for ever; give max_steps", stacklevel=2)
    player: Plays
    if executor is None:
        player = Player(policy, found, WorkerPool(make_env, num_envs, workers, timeout), max_steps)
    else:
        player = TaskPlayer(executor, Description(make_env, policy, found, num_envs, max_steps), timeout)
    return HostFitness(player, episodes, common_random_numbers)


def _seeds(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    """Seeds i32[shape] of episodes."""
    return np.asarray(jax.random.randint(key, shape, 0, 2**31 - 1, jnp.int32))


def _check_concrete(*arguments: Any) -> None:
    if any(map(check.is_traced, jax.tree.leaves(arguments))):
        raise ValueError(
            "fitness.gymnasium is evaluated on the host and cannot be traced: use ask and tell, or fitness.on_host"
        )
