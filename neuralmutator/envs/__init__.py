"""Environments that gymnax lacks, or has otherwise than Gymnasium; all are gymnax Environments."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnax
from gymnax.environments.environment import Environment

from neuralmutator.envs.car_racing import CarRacing
from neuralmutator.envs.lunar_lander import LunarLander
from neuralmutator.envs.mountain_car import MountainCarContinuous
from neuralmutator.envs.tasks import MultiDiscrete, Task, task

ENVS: dict[str, Callable[[], Environment]] = {
    "CarRacing-v3": CarRacing,
    "CarRacingDiscrete-v3": partial(CarRacing, continuous=False),
    "LunarLander-v3": LunarLander,
    "LunarLanderContinuous-v3": partial(LunarLander, continuous=True),
    "MountainCarContinuous-v0": MountainCarContinuous,
}
"""What makes an environment of ours, by its name; these come before gymnax's of the same name."""


IN_GYMNASIUM: dict[str, tuple[str, dict[str, Any]]] = {"CarRacingDiscrete-v3": ("CarRacing-v3", {"continuous": False})}
"""What Gymnasium calls environments that it has under another name, and their arguments there."""


def make(env_id: str) -> tuple[Environment, Any]:
    """An environment of ours or of gymnax, and its default parameters.

    Raises:
        ValueError: if no environment has that name.
    """
    if env_id in ENVS:
        env = ENVS[env_id]()
        return env, env.default_params
    if env_id not in gymnax.registered_envs:
        known = ", ".join(sorted({*ENVS, *gymnax.registered_envs}))
        raise ValueError(f"unknown environment {env_id!r}; known are {known}")
    return gymnax.make(env_id)


__all__ = [
    "ENVS",
    "IN_GYMNASIUM",
    "CarRacing",
    "LunarLander",
    "MountainCarContinuous",
    "MultiDiscrete",
    "Task",
    "make",
    "task",
]
