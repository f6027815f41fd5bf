"""Episodes played by an executor: processes, a cluster of Dask or Ray, or whatever has Python's own interface of one.

The population is cut into tasks that do not depend on how many workers there are, and a task is a pure function
(`tasks.play`). So neither the number of workers, nor the order in which they answer, nor a task that is played twice
changes a bit. The engine authenticates, transports, and starts dead workers again; this file knows none by name.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from typing import Any

import jax
import numpy as np

from neuralmutator.core import Genome
from neuralmutator.fitness.host import tasks
from neuralmutator.fitness.host.player import Results
from neuralmutator.fitness.host.schedule import MAX_DEATHS
from neuralmutator.networks import policy_step

MakeExecutor = Callable[[], Executor]


class TaskPlayer:
    """Plays in the workers of an executor, which is made when first needed, and again after it broke."""

    def __init__(self, make_executor: MakeExecutor, description: tasks.Description, timeout: float) -> None:
        """Describes the work.

        Args:
            make_executor: makes the executor.
            description: what the workers play with.
            timeout: seconds in which one of the tasks that are out must be done.

        Raises:
            ValueError: if the environment or the policy cannot be pickled.
        """
        self.make_executor, self.timeout = make_executor, timeout
        self.policy, self.num_envs = description.policy, description.num_envs
        self.description = tasks.describe(description)
        self.executor: Executor | None = None

    def play(self, population: Genome, seeds: np.ndarray) -> Results:
        """Results of the episodes of these seeds i64[N, E] of genomes [N]; a pure function of both.

        Raises:
            ValueError: if the genomes are not the policy's, or what was to make an executor makes something else.
            RuntimeError: if an environment raises an exception, or a task is lost again and again.
        """
        policy_step(self.policy, jax.tree.map(lambda x: x[0], population))  # refuses genomes of another policy
        members, episodes = seeds.shape
        size = members_of_a_task(self.num_envs, episodes)
        policies, topologies = (_padded(np.asarray(x), size) for x in (population.policy, population.topology))
        starts = range(0, members, size)
        returns, lengths = np.zeros(seeds.shape), np.zeros(seeds.shape, int)
        lost = dict.fromkeys(starts, 0)
        out: dict[Future, tuple[int, Executor]] = {}

        def submit(start: int) -> None:
            part = slice(start, start + size)
            future, executor = self._submit(policies[part], topologies[part], seeds[part], lost[start])
            out[future] = start, executor

        try:
            for start in starts:
                submit(start)
            while out:
                done, late = wait(out, self.timeout, FIRST_COMPLETED)
                for future in done or late:
                    start, executor = out.pop(future)
                    rows = slice(start, min(start + size, members))
                    if (failure := self._failure(future)) is None:
                        answer = future.result()
                        if isinstance(answer, str):
                            raise RuntimeError(f"a task failed in a worker:\n{answer}")
                        returns[rows], lengths[rows] = answer
                        continue
                    lost[start] += 1
                    if isinstance(failure, BrokenExecutor) and executor is self.executor:
                        self._leave()
                    if lost[start] > MAX_DEATHS:
                        raise RuntimeError(
                            f"the task of members {start} to {rows.stop - 1} was lost {lost[start]} times, the last "
                            f"time to {type(failure).__name__}: {failure}"
                        ) from failure
                    submit(start)
        except BaseException:
            for future in out:
                future.cancel()
            self._leave()
            raise
        return Results(returns, lengths, sum(lost.values()))

    def close(self) -> None:
        """Ends the executor, and the environments that this process holds if it was one of threads."""
        if self.executor is not None:
            self.executor.shutdown(wait=True)
            self.executor = None
        tasks.forget(self.description)

    def _submit(self, *arguments: Any) -> tuple[Future, Executor]:
        """A task that is out, and the executor that it is with."""
        try:
            executor = self._running()
            return executor.submit(tasks.play, self.description, *arguments), executor
        except BrokenExecutor:  # while it was idle, or a moment ago
            self._leave()
            executor = self._running()
            return executor.submit(tasks.play, self.description, *arguments), executor

    def _running(self) -> Executor:
        """The executor, made if there is none."""
        if self.executor is None:
            made = self.make_executor()
            if not isinstance(made, Executor):
                raise ValueError(f"executor must make a concurrent.futures.Executor, got {type(made).__name__}")
            self.executor = made
        return self.executor

    def _leave(self) -> None:
        """Parts with an executor that may have broken, without waiting for what it still does."""
        if self.executor is not None:
            self.executor.shutdown(wait=False)
            self.executor = None

    def _failure(self, future: Future) -> BaseException | None:
        """What the engine lost a task to; None: it is done."""
        if not future.done():
            future.cancel()
            return TimeoutError(f"no task was done within {self.timeout:g} s")
        try:
            return future.exception()
        except CancelledError as cancelled:
            return cancelled


def members_of_a_task(num_envs: int, episodes: int) -> int:
    """As many members as have their episodes played side by side, at least one."""
    return max(1, num_envs // episodes)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows [n, ...] with the last one repeated until `size` divides their number: programs of one shape will do."""
    return np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % size, axis=0)])
