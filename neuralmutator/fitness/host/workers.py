"""Environments in worker processes that may die: a dead worker is started again.

Processes, because an environment is Python code that holds the interpreter's lock (threads would take turns) and may
hang or crash (a process can be killed), and because EnvPool has only its own C++ environments. An episode follows from
its seed and the actions, so that one whose worker died is played again, elsewhere or later, and gives the same bits.
On many machines there is an engine that owns the processes, see `executors`.

Worker processes need a POSIX system (Linux, macOS), since a worker inherits its end of a socket. Without workers,
environments run on Windows too.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from neuralmutator.fitness.host import worker

if TYPE_CHECKING:
    import gymnasium

Answers = list[tuple[list[int], Any]]  # each with the slots that it is about


class _DeadWorkerError(Exception):
    """A worker has died, or was killed because it does not answer."""


class _Worker:
    """A process that steps environments; after its death, `send` starts it again."""

    def __init__(self, make_env: bytes, number: int, timeout: float) -> None:
        self.first_message, self.timeout = (sys.path, make_env, number), timeout
        self.process: subprocess.Popen | None = None
        self.pipe: Any = None

    def send(self, message: Any) -> None:
        if self.process is None:
            self._start()
        with suppress(OSError):  # of a dead worker; `receive` will find out
            self.pipe.send(message)

    def receive(self) -> Any:
        try:
            if self.pipe.poll(self.timeout):
                return self.pipe.recv()
        except (EOFError, OSError):
            raise _DeadWorkerError(f"died with exit code {self.end()}") from None
        self.end()
        raise _DeadWorkerError(f"gave no answer for {self.timeout:g} s")

    def _start(self) -> None:
        # A program of its own, because a fork would share the locks of JAX's threads and a spawn would import the
        # caller's script and JAX; in a session of its own, because Ctrl-C is for this process to answer; with -P,
        # because the worker's folder is no place to import from. Its standard input ends when this process does.
        self.pipe, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", worker.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        self.send(self.first_message)

    def hang_up(self) -> None:
        """Tells an idle worker to end."""
        assert self.process is not None and self.process.stdin is not None
        self.pipe.close()
        self.process.stdin.close()

    def end(self, patience: float = 0.0) -> int:
        """Kills the process unless it ends by itself in time; its exit code."""
        assert self.process is not None
        self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.process.kill()
        code, self.process = self.process.wait(), None
        return code


class WorkerPool:
    """Environments in worker processes, or in this one if there are none. They are made when first needed.

    The environment of slot i belongs to worker i modulo the number of workers.
    """

    def __init__(self, make_env: "Callable[[], gymnasium.Env]", number: int, workers: int, timeout: float) -> None:
        """Describes the environments.

        Args:
            make_env: makes one environment.
            number: number of environments (slots).
            workers: number of processes; 0: this one.
            timeout: seconds that a worker may take for one answer.

        Raises:
            ValueError: if there are workers, and `make_env` cannot be sent to them.
        """
        self.make_env, self.number = make_env, number
        self.local: worker.Envs | None = None
        recipe = pickled("env", make_env) if workers else b""
        self.workers = [_Worker(recipe, len(range(i, number, workers)), timeout) for i in range(workers)]

    def call(self, method: str, slots: list[int], values: Sequence[Any]) -> tuple[Answers, dict[int, str]]:
        """Calls a method of `worker.Envs` for some slots.

        Returns:
            The answers; and the slots whose environments were lost, which are all slots of a dead worker, with how.

        Raises:
            RuntimeError: if an environment raised an exception in a worker; the message holds its traceback.
        """
        if not self.workers:
            self.local = self.local or worker.Envs(self.make_env, self.number)
            return [(slots, getattr(self.local, method)(slots, values))] if slots else [], {}
        workers = len(self.workers)
        orders: dict[int, list[tuple[int, Any]]] = {}
        for slot, value in zip(slots, values, strict=True):
            orders.setdefault(slot % workers, []).append((slot, value))
        for i, order in orders.items():
            self.workers[i].send((method, [slot // workers for slot, _ in order], [value for _, value in order]))
        answers: Answers = []
        lost: dict[int, str] = {}
        for i, order in orders.items():
            try:
                answer = self.workers[i].receive()
            except _DeadWorkerError as death:
                lost |= dict.fromkeys(range(i, self.number, workers), f"worker {i} {death}")
                continue
            if isinstance(answer, str):
                raise RuntimeError(f"environment failed in worker {i}:\n{answer}")
            answers.append(([slot for slot, _ in order], answer))
        return answers, lost

    def close(self) -> None:
        """Closes all environments and ends all workers; another call starts new ones."""
        if self.local:
            self.local.close()
            self.local = None
        running = [each for each in self.workers if each.process]
        for each in running:
            each.hang_up()  # all before any is waited for
        for each in running:
            each.end(worker.GRACE)


def pickled(name: str, value: Any) -> bytes:
    """A value as bytes that another process can make it from, functions of any kind included.

    Raises:
        ValueError: naming the argument, if it holds something that cannot be sent.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(value)
    except Exception as error:  # whatever the parts of an environment raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{name} must be one that can be sent to workers, got {value!r}: {reason}") from error
