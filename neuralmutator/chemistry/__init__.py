"""Chemical reaction networks that are learnt: mass action, differentiable, pruned to the few reactions that matter.

After *Differentiable programming of chemical reaction networks* (arXiv 2302.02714). Numbers of species, steps and
prices are ours: the paper's are not used here.
"""

from neuralmutator.chemistry.fitness import reaction_network
from neuralmutator.chemistry.gates import (
    Draw,
    Questions,
    accuracy,
    answer_loss,
    answers,
    logic,
    majority,
)
from neuralmutator.chemistry.integration import Course, integrate
from neuralmutator.chemistry.kinetics import Chambers, Kinetics, chambers, field, fluxes, mass_action
from neuralmutator.chemistry.oscillator import HOPF, Rhythm, follow, hopf_start, rhythm, rhythm_loss
from neuralmutator.chemistry.reactions import (
    Reactions,
    all_reactions,
    conservation_laws,
    describe,
    find,
    network,
    take,
)
from neuralmutator.chemistry.training import (
    Loss,
    Pruned,
    Trainer,
    TrainInfo,
    TrainState,
    descent,
    fit,
    positive,
    prune,
    trainer,
)

__all__ = [
    "HOPF",
    "Chambers",
    "Course",
    "Draw",
    "Kinetics",
    "Loss",
    "Pruned",
    "Questions",
    "Reactions",
    "Rhythm",
    "TrainInfo",
    "TrainState",
    "Trainer",
    "accuracy",
    "all_reactions",
    "answer_loss",
    "answers",
    "chambers",
    "conservation_laws",
    "descent",
    "describe",
    "field",
    "find",
    "fit",
    "fluxes",
    "follow",
    "hopf_start",
    "integrate",
    "logic",
    "majority",
    "mass_action",
    "network",
    "positive",
    "prune",
    "reaction_network",
    "rhythm",
    "rhythm_loss",
    "take",
    "trainer",
]
