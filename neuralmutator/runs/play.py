"""A champion in the real Gymnasium environment of the same name."""

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import envs
from neuralmutator.core import Genome, check
from neuralmutator.fitness import gymnasium
from neuralmutator.networks import Network

MAX_ENVS = 64  # that episodes are played in at a time


def gymnasium_returns(
    env_id: str,
    policy: Network,
    genome: Genome,
    episodes: int,
    seed: int,
    max_steps: int | None = None,
    workers: int = 0,
) -> np.ndarray:
    """Returns of whole episodes, with the actions of `fitness.gymnasium`.

    Args:
        env_id: name of a Gymnasium environment.
        policy: network from observations to the outputs that an action needs.
        genome: one genome.
        episodes: number of episodes; episode i is reset with ``seed + i``.
        seed: seed of the first episode.
        max_steps: a shorter time limit.
        workers: processes that step the environments; 0: this one.

    Returns:
        f64[episodes].

    Raises:
        ValueError: if Gymnasium cannot make the environment, the policy does not fit it, the genome's weights are not
            finite, or a number is out of range.
    """
    check.whole(1, episodes=episodes)
    check.whole(0, seed=seed)
    check_finite(genome)
    name, arguments = envs.in_gymnasium(env_id)
    num_envs = min(episodes, MAX_ENVS)
    with gymnasium(
        name, policy, num_envs=num_envs, max_steps=max_steps, workers=workers, env_kwargs=arguments
    ) as evaluate:
        population = jax.tree.map(lambda x: jnp.asarray(x)[None], genome)
        return evaluate.evaluate_seeds(population, seed + np.arange(episodes)[None]).returns[0]


def check_finite(genome: Genome) -> None:
    """Raises ValueError unless all policy weights of a genome are finite."""
    broken = int(np.sum(~np.isfinite(np.asarray(genome.policy))))
    if broken:
        raise ValueError(f"genome must have finite weights, got {broken} of {genome.policy.size} that are not")
