"""Fitness that is computed on the host: episodes in Gymnasium, in worker processes if asked to."""

from neuralmutator.fitness.host.evaluation import HostFitness, MemberFitness, gymnasium
from neuralmutator.fitness.host.evolution import on_host, rollout_on_host
from neuralmutator.fitness.host.interface import Interface, interface_of, make, sizes
from neuralmutator.fitness.host.player import Results
from neuralmutator.fitness.host.recording import Recording, active, record

__all__ = [
    "HostFitness",
    "Interface",
    "MemberFitness",
    "Recording",
    "Results",
    "active",
    "gymnasium",
    "interface_of",
    "make",
    "on_host",
    "record",
    "rollout_on_host",
    "sizes",
]
