"""Populations that evolve: selection, speciation, a generation, and what wraps an evolution."""

from neuralmutator.population import selection, speciation
from neuralmutator.population.generation import Evolution, Generation, State, evolution, run
from neuralmutator.population.hall import Hall, hall_of_fame

__all__ = [
    "Evolution",
    "Generation",
    "Hall",
    "State",
    "evolution",
    "hall_of_fame",
    "run",
    "selection",
    "speciation",
]
