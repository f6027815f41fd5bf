"""Environments that gymnax lacks, or has otherwise than Gymnasium, and all environments by name.

All are gymnax Environments.
"""

from neuralmutator.envs.car.environment import CarRacing
from neuralmutator.envs.lander.environment import LunarLander
from neuralmutator.envs.mountain_car import MountainCarContinuous
from neuralmutator.envs.registry import action_names, in_gymnasium, is_ours, make, names, observation_names, options
from neuralmutator.envs.tasks import MultiDiscrete, Task, task

__all__ = [
    "CarRacing",
    "LunarLander",
    "MountainCarContinuous",
    "MultiDiscrete",
    "Task",
    "action_names",
    "in_gymnasium",
    "is_ours",
    "make",
    "names",
    "observation_names",
    "options",
    "task",
]
