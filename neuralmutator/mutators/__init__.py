"""Variation operators that live inside the genome they rewrite; one file per mutator."""

from neuralmutator.mutators.base import Mutator
from neuralmutator.mutators.dual import dual_corrector, dual_mixture
from neuralmutator.mutators.gaussian import gaussian
from neuralmutator.mutators.self_adaptive import self_adaptive

__all__ = ["Mutator", "dual_corrector", "dual_mixture", "gaussian", "self_adaptive"]
