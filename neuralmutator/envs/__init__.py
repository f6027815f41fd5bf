"""Environments that gymnax lacks, or has otherwise than Gymnasium, and all environments by name.

All are gymnax Environments.
"""

from neuralmutator.envs.car.environment import CarRacing
from neuralmutator.envs.lander.environment import LunarLander
from neuralmutator.envs.mountain_car import MountainCarContinuous
from neuralmutator.envs.physics import Physics
from neuralmutator.envs.registry import (
    action_names,
    in_gymnasium,
    is_simulation,
    make,
    names,
    observation_names,
    options,
    origin,
)
from neuralmutator.envs.tasks import MultiDiscrete, Task, task

__all__ = [
    "CarRacing",
    "LunarLander",
    "MountainCarContinuous",
    "MultiDiscrete",
    "Physics",
    "Task",
    "action_names",
    "in_gymnasium",
    "is_simulation",
    "make",
    "names",
    "observation_names",
    "options",
    "origin",
    "task",
]
