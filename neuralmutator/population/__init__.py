"""Populations that evolve: selection, speciation, a generation, and what wraps an evolution."""

from neuralmutator.population import selection, speciation
from neuralmutator.population.generation import Evolution, Generation, State, evolution, run
from neuralmutator.population.hall import Hall, hall_of_fame
from neuralmutator.population.normalisation import Moments, Normalised, normalise_observations

__all__ = [
    "Evolution",
    "Generation",
    "Hall",
    "Moments",
    "Normalised",
    "State",
    "evolution",
    "hall_of_fame",
    "normalise_observations",
    "run",
    "selection",
    "speciation",
]
