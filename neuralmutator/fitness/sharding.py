"""A fitness whose population is spread over several devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from neuralmutator.core import Fitness, Info, check_fitness, evaluate_members, fitness_at
from neuralmutator.core.genome import Genome, take
from neuralmutator.core.spreading import is_local


@dataclass(frozen=True)
class Sharded:
    """Fitness: another one, each device evaluating its share of a population. See `sharded`."""

    fitness: Fitness
    mesh: Mesh

    def at(self, generation: jax.Array) -> "Sharded":
        """The fitness of a generation i32[]."""
        return Sharded(fitness_at(self.fitness, generation), self.mesh)

    def __call__(self, key: jax.Array, genome: Genome) -> Any:
        """Fitness f32[] of one genome, on one device."""
        return self.fitness(key, genome)

    def many(self, keys: jax.Array, population: Genome, block_size: int | None) -> tuple[jax.Array, Info]:
        """Fitness of a population [N], at most `block_size` members on each device; see `PopulationFitness`."""
        if is_local():  # a device of `distribute` has its share already
            return evaluate_members(self.fitness, keys, population, block_size)
        rows, devices = population.policy.shape[0], self.mesh.size
        # Dealt in turn: neighbours are alike (the elites are the first), and some members live much longer than others.
        dealt = np.arange(-(-rows // devices) * devices).reshape(-1, devices).T.ravel()
        members, place = jnp.asarray(dealt % rows), jnp.asarray(np.argsort(dealt)[:rows])
        own, share = keys.ndim == 1, PartitionSpec(self.mesh.axis_names)
        evaluate = jax.shard_map(
            lambda keys, population: evaluate_members(self.fitness, keys, population, block_size),
            mesh=self.mesh,
            in_specs=(share if own else PartitionSpec(), share),
            out_specs=share,
            check_vma=False,
        )
        return take(evaluate(keys[members] if own else keys, take(population, members)), place)


def sharded(fitness: Fitness, devices: Sequence[jax.Device] | None = None) -> Fitness:
    """Spreads the evaluation of a population over several devices; each repeats the rest of a generation itself.

    The cores of a CPU are devices after `runs.devices.use_all_cores`; XLA ends a process in which they wait more
    than 40 seconds for one another, unless what they run is compiled with
    `runs.devices.compile_options()`.

    Args:
        fitness: the fitness function; it sees the same keys and genomes as without.
        devices: which; all of the default backend if None. On a single one the fitness is given back as it is.

    Raises:
        ValueError: if there is no device, or the fitness runs on the host.
    """
    check_fitness(fitness, None)
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("devices must be at least one, got none")
    return fitness if len(devices) == 1 else Sharded(fitness, Mesh(np.array(devices), ("members",)))
