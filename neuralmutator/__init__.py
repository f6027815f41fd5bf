"""neuralmutator: neural networks that rewrite, copy and regrow themselves, evolved by the whole population at once.

Everything here is imported when it is first used, so that ``import neuralmutator`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralmutator import (
        chemistry,
        core,
        envs,
        fitness,
        life,
        measures,
        metalearning,
        mutators,
        nca,
        networks,
        population,
        quine,
        runs,
        study,
    )
    from neuralmutator.core import Genome, rollout
    from neuralmutator.population import (
        Evolution,
        Generation,
        Hall,
        State,
        distribute,
        evolution,
        evosax,
        hall_of_fame,
        islands,
        normalise_observations,
        run,
        selection,
        speciation,
        track_founders,
    )
    from neuralmutator.runs import presets
    from neuralmutator.runs.arrays import load, save
    from neuralmutator.runs.champion import Champion, load_champion

__version__ = "0.1.0"

_HOMES = {
    "core": ("Genome", "rollout"),
    "population": (
        "Evolution",
        "Generation",
        "Hall",
        "State",
        "evolution",
        "evosax",
        "hall_of_fame",
        "distribute",
        "islands",
        "normalise_observations",
        "run",
        "selection",
        "speciation",
        "track_founders",
    ),
    "runs": ("presets",),
    "runs.arrays": ("load", "save"),
    "runs.champion": ("Champion", "load_champion"),
}
"""Names by the module that they come from."""

_ROOMS = (
    *("chemistry", "core", "envs", "fitness", "life", "measures", "metalearning", "mutators", "nca", "networks"),
    *("population", "quine", "runs", "study"),
)

__all__ = [
    "Champion",
    "Evolution",
    "Generation",
    "Genome",
    "Hall",
    "State",
    "chemistry",
    "core",
    "distribute",
    "envs",
    "evolution",
    "evosax",
    "fitness",
    "hall_of_fame",
    "islands",
    "life",
    "load",
    "load_champion",
    "measures",
    "metalearning",
    "mutators",
    "nca",
    "networks",
    "normalise_observations",
    "population",
    "presets",
    "quine",
    "rollout",
    "run",
    "runs",
    "save",
    "selection",
    "speciation",
    "study",
    "track_founders",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"neuralmutator.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"neuralmutator.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'neuralmutator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
