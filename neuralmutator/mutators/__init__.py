"""Variation operators that live inside the genome they rewrite; one file per mutator."""

from neuralmutator.mutators.base import Mutator, Rewriting, base_of
from neuralmutator.mutators.dual import dual_corrector, dual_mixture
from neuralmutator.mutators.gaussian_noise import gaussian
from neuralmutator.mutators.self_adaptation import self_adaptive

__all__ = ["Mutator", "Rewriting", "base_of", "dual_corrector", "dual_mixture", "gaussian", "self_adaptive"]
