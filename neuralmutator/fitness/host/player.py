"""What plays the episodes of a population: a schedule of environments that this process holds or steps by workers."""

from typing import NamedTuple, Protocol

import numpy as np

from neuralmutator.core import Genome
from neuralmutator.fitness.host.interface import Interface, batched_act
from neuralmutator.fitness.host.schedule import Schedule
from neuralmutator.fitness.host.workers import WorkerPool
from neuralmutator.networks import Network


class Results(NamedTuple):
    """What the episodes of an evaluation gave: E of each of N members."""

    returns: np.ndarray  # f64[N, E]; NaN where the policy or the environment gave something that is not a number
    lengths: np.ndarray  # i64[N, E] steps
    worker_deaths: int  # how often a worker had to be started again, or a task to be submitted again


class Plays(Protocol):
    """What a fitness needs to have its episodes played."""

    def play(self, population: Genome, seeds: np.ndarray) -> Results:
        """Results of the episodes of these seeds i64[N, E] of genomes [N]; a pure function of both."""

    def close(self) -> None:
        """Ends whatever was started; another `play` starts it again."""


class Player:
    """Plays in its own environments, all of whose policies are one call."""

    def __init__(self, policy: Network, interface: Interface, pool: WorkerPool, max_steps: int | None) -> None:
        self.policy, self.interface, self.pool, self.max_steps = policy, interface, pool, max_steps
        self.batched_act = batched_act(policy, interface)

    def play(self, population: Genome, seeds: np.ndarray) -> Results:
        """Results of the episodes of these seeds i64[N, E] of genomes [N] or more; a pure function of both.

        Raises:
            ValueError: if the genomes are not the policy's.
            RuntimeError: if an environment raises an exception in a worker, or its worker keeps dying.
        """
        schedule = Schedule(
            self.pool,
            self.interface,
            self.batched_act,
            self.policy.initial_state,
            population,
            seeds,
            self.max_steps,
        )
        try:
            schedule.run()
        except BaseException:
            self.close()  # its environments are in the middle of something
            raise
        returns, lengths = (x.reshape(seeds.shape) for x in (schedule.returns, schedule.lengths))
        return Results(returns, lengths, schedule.worker_deaths)

    def close(self) -> None:
        """Ends environments and workers; another `play` starts new ones."""
        self.pool.close()
