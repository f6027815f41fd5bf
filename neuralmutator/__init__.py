"""neuralmutator: neural networks that rewrite, copy and regrow themselves, evolved by the whole population at once."""

from neuralmutator import core, envs, fitness, measures, mutators, nca, networks, population, quine
from neuralmutator.core import Genome, rollout
from neuralmutator.population import (
    Evolution,
    Generation,
    Hall,
    State,
    evolution,
    hall_of_fame,
    normalise_observations,
    run,
    selection,
    speciation,
    track_founders,
)
from neuralmutator.runs import presets

__all__ = [
    "Evolution",
    "Generation",
    "Genome",
    "Hall",
    "State",
    "core",
    "envs",
    "evolution",
    "fitness",
    "hall_of_fame",
    "measures",
    "mutators",
    "nca",
    "networks",
    "normalise_observations",
    "population",
    "presets",
    "quine",
    "rollout",
    "run",
    "selection",
    "speciation",
    "track_founders",
]
