"""Gymnasium environments that one process steps; run as a program, the process of a worker.

It imports neither JAX nor neuralmutator: a worker starts fast and stays small. Gymnasium is imported when the
environments are made.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import gymnasium

GRACE = 2.0  # seconds that environments have to close


def with_array_observations(env: gymnasium.Env) -> gymnasium.Env:
    """`env` as it is if its observations are a Box, else with each flattened to one array (numbers of choice one-hot).

    Raises:
        NotImplementedError: if Gymnasium cannot flatten such observations to an array.
    """
    from gymnasium import spaces
    from gymnasium.wrappers import FlattenObservation

    space = env.observation_space
    if isinstance(space, spaces.Box):
        return env
    if not space.is_np_flattenable:
        raise NotImplementedError(f"{space} cannot be flattened")
    return FlattenObservation(env)


class Envs:
    """Environments, stepped one after another."""

    def __init__(self, make: Callable[[], gymnasium.Env], number: int) -> None:
        self.envs = [with_array_observations(make()) for _ in range(number)]

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


def _take_standard_input() -> int:
    """A descriptor of this process's standard input, which is empty from now on for the environments."""
    kept = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return kept


def _end_with_parent(lifeline: int) -> None:
    """Ends this process soon after the parent has closed the pipe or died, even during a step that never returns."""
    while os.read(lifeline, 1):
        pass
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
                envs = envs or Envs(pickle.loads(recipe), number)
                answer = getattr(envs, method)(slots, values)
            except Exception:
                answer = traceback.format_exc()
            pipe.send(answer)
    finally:
        if envs is not None:
            envs.close()


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(_take_standard_input(),), daemon=True).start()
    try:
        _obey(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        sys.exit(1)
