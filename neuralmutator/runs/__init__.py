"""Runs: folders with metrics, history and checkpoints that are written while a step is repeated, and resumed.

A run of your own evolution, with whatever you want to see of it::

    run = nm.runs.from_evolution(evolution, jax.random.key(0), generations=100)
    result = nm.runs.execute(run, "runs/mine", sinks=[lambda generation, metrics: print(generation, metrics)])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralmutator.runs import presets
    from neuralmutator.runs.errors import InterruptedRunError, RunError, UserError
    from neuralmutator.runs.evolve import from_evolution
    from neuralmutator.runs.folder import RunFolder
    from neuralmutator.runs.runner import execute, target_fitness, time_limit
    from neuralmutator.runs.sinks import JsonLines, Progress, TensorBoard
    from neuralmutator.runs.stories import STORIES
    from neuralmutator.runs.story import Run, Story

_HOMES = {
    "errors": ("InterruptedRunError", "RunError", "UserError"),
    "evolve": ("from_evolution",),
    "folder": ("RunFolder",),
    "runner": ("execute", "target_fitness", "time_limit"),
    "sinks": ("JsonLines", "Progress", "TensorBoard"),
    "stories": ("STORIES",),
    "story": ("Run", "Story"),
}

__all__ = [
    "STORIES",
    "InterruptedRunError",
    "JsonLines",
    "Progress",
    "Run",
    "RunError",
    "RunFolder",
    "Story",
    "TensorBoard",
    "UserError",
    "execute",
    "from_evolution",
    "presets",
    "target_fitness",
    "time_limit",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"neuralmutator.runs.{home}"), name)
    if name == "presets":
        return import_module("neuralmutator.runs.presets")
    raise AttributeError(f"module 'neuralmutator.runs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
