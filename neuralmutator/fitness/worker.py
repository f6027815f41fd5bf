"""Gymnasium environments that one process steps; run as a program, the process of a worker.

It imports neither JAX nor neuralmutator: a worker starts fast and stays small.
"""

import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import gymnasium
import numpy as np

GRACE = 2.0  # seconds that environments have to close


class Envs:
    """Environments, stepped one after another."""

    def __init__(self, make: Callable[[], gymnasium.Env], number: int) -> None:
        self.envs = [make() for _ in range(number)]

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> list[np.ndarray]:
        """First observations of the episodes of these seeds."""
        return [np.asarray(self.envs[i].reset(seed=seed)[0]) for i, seed in zip(slots, seeds, strict=True)]

    def step(self, slots: Sequence[int], actions: Sequence[Any]) -> tuple[list[np.ndarray], list[float], list[bool]]:
        """Observations, rewards, and whether the episodes have ended."""
        observations, rewards, ended = [], [], []
        for i, action in zip(slots, actions, strict=True):
            observation, reward, terminated, truncated, _ = self.envs[i].step(action)
            observations.append(np.asarray(observation))
            rewards.append(float(reward))
            ended.append(bool(terminated or truncated))
        return observations, rewards, ended

    def close(self) -> None:
        """Closes all environments."""
        for env in self.envs:
            env.close()


def _end_with_parent(descriptor: int) -> None:
    """Ends this process soon after the other end of the socket is gone, even amid a step that never returns."""
    hangup = select.poll()
    hangup.register(descriptor, 0)
    hangup.poll()
    time.sleep(GRACE)
    os._exit(1)


def _obey(pipe: Connection) -> None:
    """Makes environments as told, then answers every (method, slots, values) until told to end; text is an error."""
    sys.path[:], recipe, number = pipe.recv()
    envs: Envs | None = None
    try:
        while (command := pipe.recv()) is not None:
            method, slots, values = command
            try:
                envs = envs or Envs(cloudpickle.loads(recipe), number)
                answer = getattr(envs, method)(slots, values)
            except Exception:
                answer = traceback.format_exc()
            pipe.send(answer)
    finally:
        if envs is not None:
            envs.close()


if __name__ == "__main__":
    descriptor = int(sys.argv[1])
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    try:
        _obey(Connection(descriptor))
    except (EOFError, OSError):
        sys.exit(1)
