"""The champion of a run, as something that acts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import envs
from neuralmutator.core import Genome, check
from neuralmutator.fitness import host
from neuralmutator.networks import Network, policy_step
from neuralmutator.runs.builders import build_policy
from neuralmutator.runs.config import Config
from neuralmutator.runs.errors import RunError, UserError
from neuralmutator.runs.folder import RunFolder


@dataclass(frozen=True)
class Champion:
    """A genome with the policy that reads it."""

    genome: Genome
    policy: Network
    see: Callable[[Any], jax.Array]  # the environment's observation -> what the policy sees
    to_action: Callable[[jax.Array], Any]  # outputs of the policy [act] -> what the environment's step takes

    @cached_property
    def _step(self) -> Callable[[Genome, Any, Any], tuple[Any, Any]]:
        def step(genome: Genome, memory: Any, observation: Any) -> tuple[Any, Any]:
            memory, output = policy_step(self.policy, genome)(memory, self.see(observation))
            return self.to_action(output), memory

        return jax.jit(step)

    def act(self, observation: Any, memory: Any = None) -> tuple[Any, Any]:
        """What the champion does.

        Args:
            observation: as the environment gives it, one, without a batch axis.
            memory: what the call before gave; None at the beginning of an episode. Policies without memory give None.

        Returns:
            The action, as the environment's step takes it (without an environment: the policy's output), and memory.
            The action is NumPy's, as Gymnasium wants it, unless the call is traced.
        """
        memory = self.policy.initial_state if memory is None else memory
        action, memory = self._step(self.genome, memory, observation)
        return jax.tree.map(lambda x: x if check.is_traced(x) else np.asarray(x), action), memory


def load_champion(path: str | Path, policy: Network | None = None) -> Champion:
    """The champion of a run folder.

    Args:
        path: folder of a run of ``neuralmutator evolve``, or of `runs.execute` for an evolution of your own.
        policy: for an evolution of your own: the policy that it evolved.

    Raises:
        RunError: if there is no champion, it cannot be read, or it is not one of this policy.
        UserError: if the run is your own and no policy is given.
    """
    folder = RunFolder(path)
    see: Callable[[Any], jax.Array] = jnp.asarray
    to_action: Callable[[jax.Array], Any] = lambda output: output  # noqa: E731
    if folder.kind == "evolution":
        config = folder.config(Config, "evolution")
        policy = build_policy(config) if policy is None else policy
        see, to_action = _host_senses(config) if config.host else _senses(config)
    if policy is None:
        raise UserError(f"policy must be given: {path} holds a run of kind {folder.kind!r}, which does not name it")
    genome = read_champion(folder, policy)
    return Champion(genome, policy, see, to_action)


def _senses(config: Config) -> tuple[Callable[[Any], jax.Array], Callable[[jax.Array], Any]]:
    """How the policy of a run sees and acts in its environment in JAX."""
    task = envs.task(config.env)
    return (lambda observation: task.see(jax.tree.map(jnp.asarray, observation))), task.to_action


def _host_senses(config: Config) -> tuple[Callable[[Any], jax.Array], Callable[[jax.Array], Any]]:
    """The same in Gymnasium. Observations that are no arrays must be flattened, as `fitness.gymnasium` does."""
    name, arguments = envs.in_gymnasium(config.env)
    with host.make(name, arguments) as env:
        found = host.interface_of(env)
    return (lambda x: jnp.asarray(x, found.dtype).reshape(found.shape)), found.to_action


def read_champion(folder: RunFolder, policy: Network) -> Genome:
    """The champion of a run folder, which must be one of this policy, of finite numbers.

    Raises:
        RunError: if there is none, it cannot be read, or it is not one of this policy.
    """
    genome, place = folder.load_champion(), folder.path / "champion.npz"
    if genome.policy.shape != (policy.num_params,):
        raise RunError(f"{place} must hold the {policy.num_params} parameters of the policy, got {genome.policy.shape}")
    if not np.isfinite(genome.policy).all():
        raise RunError(f"{place} holds a policy with parameters that are not finite")
    return genome
