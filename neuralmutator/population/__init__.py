"""Populations that evolve: selection, speciation, a generation, and what wraps an evolution."""

from neuralmutator.population import baselines, selection, speciation
from neuralmutator.population.ablations import Ablated, ablated
from neuralmutator.population.archipelago import Islands, islands
from neuralmutator.population.baselines import AsEvosax, evosax
from neuralmutator.population.distribution import distribute
from neuralmutator.population.founders import Founders, track_founders
from neuralmutator.population.generation import evolution, run
from neuralmutator.population.hall import Hall, hall_of_fame
from neuralmutator.population.normalisation import Moments, Normalised, normalise_observations
from neuralmutator.population.types import Evolution, Generation, State

__all__ = [
    "Ablated",
    "AsEvosax",
    "Evolution",
    "Founders",
    "Generation",
    "Hall",
    "Islands",
    "Moments",
    "Normalised",
    "State",
    "ablated",
    "baselines",
    "distribute",
    "evolution",
    "evosax",
    "hall_of_fame",
    "islands",
    "normalise_observations",
    "run",
    "selection",
    "speciation",
    "track_founders",
]
