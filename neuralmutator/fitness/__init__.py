"""What a genome is asked to do: ``(key, genome) -> scalar``, higher is better."""

from neuralmutator.fitness.changing import changing, steps, switching
from neuralmutator.fitness.combination import combine
from neuralmutator.fitness.episode import episodes, observe, play
from neuralmutator.fitness.host import gymnasium, on_host, rollout_on_host
from neuralmutator.fitness.sharding import sharded

__all__ = [
    "changing",
    "combine",
    "episodes",
    "gymnasium",
    "observe",
    "on_host",
    "play",
    "rollout_on_host",
    "sharded",
    "steps",
    "switching",
]
