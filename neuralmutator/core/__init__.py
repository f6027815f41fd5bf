"""What everything else is built of: the step, the genome, its evaluation."""

from neuralmutator.core.batching import default_block_size, each, in_blocks
from neuralmutator.core.evaluation import Fitness, PopulationFitness, evaluate, evaluate_members
from neuralmutator.core.genome import Genome, chunks, flatten, take, unflatten
from neuralmutator.core.step import PyTree, Step, rollout

__all__ = [
    "Fitness",
    "Genome",
    "PopulationFitness",
    "PyTree",
    "Step",
    "chunks",
    "default_block_size",
    "each",
    "evaluate",
    "evaluate_members",
    "flatten",
    "in_blocks",
    "rollout",
    "take",
    "unflatten",
]
