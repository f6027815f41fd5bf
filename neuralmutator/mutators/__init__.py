"""Variation operators that live inside the genome they rewrite: one file each, or a chain of stages."""

from neuralmutator.mutators import stages
from neuralmutator.mutators.base import Mutator, Rewriting, base_of
from neuralmutator.mutators.dual import dual_corrector, dual_mixture
from neuralmutator.mutators.gaussian_noise import gaussian
from neuralmutator.mutators.self_adaptation import self_adaptive
from neuralmutator.mutators.stages import chain
from neuralmutator.mutators.zoo import (
    derandomised,
    differential,
    heavy_tailed,
    layerwise,
    momentum,
    perceptive,
    remembering,
    safe,
)

__all__ = [
    "Mutator",
    "Rewriting",
    "base_of",
    "chain",
    "derandomised",
    "differential",
    "dual_corrector",
    "dual_mixture",
    "gaussian",
    "heavy_tailed",
    "layerwise",
    "momentum",
    "perceptive",
    "remembering",
    "safe",
    "self_adaptive",
    "stages",
]
