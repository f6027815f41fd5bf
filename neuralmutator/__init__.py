"""neuralmutator: neural networks that rewrite, copy and regrow themselves, evolved by the whole population at once."""

from neuralmutator import fitness, measures, mutators, nca, networks, quine, selection, speciation
from neuralmutator.core import rollout
from neuralmutator.evolution import Evolution, Generation, State, evolution, run
from neuralmutator.experiment import presets
from neuralmutator.genome import Genome
from neuralmutator.hall import Hall, hall_of_fame

__all__ = [
    "Evolution",
    "Generation",
    "Genome",
    "Hall",
    "State",
    "evolution",
    "fitness",
    "hall_of_fame",
    "measures",
    "mutators",
    "nca",
    "networks",
    "presets",
    "quine",
    "rollout",
    "run",
    "selection",
    "speciation",
]
