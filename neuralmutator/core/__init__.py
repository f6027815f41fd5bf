"""What everything else is built of: the step, the genome, its evaluation."""

from neuralmutator.core.batching import default_block_size, each, in_blocks, resolve_block_size
from neuralmutator.core.evaluation import (
    Fitness,
    Info,
    PopulationFitness,
    check_fitness,
    evaluate,
    evaluate_members,
    fitness_at,
    value_and_info,
)
from neuralmutator.core.genome import Genome, cast, chunks, flatten, is_finite, take, unflatten
from neuralmutator.core.platform import on_cpu
from neuralmutator.core.step import PyTree, Step, rollout

__all__ = [
    "Fitness",
    "Genome",
    "Info",
    "PopulationFitness",
    "PyTree",
    "Step",
    "cast",
    "check_fitness",
    "chunks",
    "default_block_size",
    "each",
    "evaluate",
    "evaluate_members",
    "fitness_at",
    "flatten",
    "in_blocks",
    "is_finite",
    "on_cpu",
    "resolve_block_size",
    "rollout",
    "take",
    "unflatten",
    "value_and_info",
]
