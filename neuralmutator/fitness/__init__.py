"""What a genome is asked to do: ``(key, genome) -> scalar``, higher is better."""

from neuralmutator.fitness.combination import combine
from neuralmutator.fitness.episode import episodes, play
from neuralmutator.fitness.host import gymnasium
from neuralmutator.fitness.sharding import sharded

__all__ = ["combine", "episodes", "gymnasium", "play", "sharded"]
