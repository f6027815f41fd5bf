"""What a genome is asked to do: ``(key, genome) -> scalar``, higher is better."""

from neuralmutator.fitness.combine import combine
from neuralmutator.fitness.episodes import episodes, play
from neuralmutator.fitness.host import gymnasium
from neuralmutator.fitness.sharded import sharded

__all__ = ["combine", "episodes", "gymnasium", "play", "sharded"]
