"""A whole generation on several devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from neuralmutator.core.spreading import by_rows, everywhere, shardings, spread_over
from neuralmutator.population.types import Evolution


def distribute(evolution: Evolution, mesh: Mesh | None = None) -> Evolution:
    """Spreads a population over devices: each holds, evaluates and rewrites its own rows.

    The same key gives the same states as without, bit for bit, on any number of devices; only means of genomes
    (`recombine`, the hall of fame's `centre`), and means among the metrics, are the same up to rounding. Genomes are
    sharded by rows; fitness, tags of species and what is as small is the same on all devices, and so are ranks, species
    and the choice of parents. Two parents of each child move, some rows at a time. On one device it is the evolution
    itself.

    The first state comes from ``jax.jit(distributed.init)``. On a CPU, long programs should be compiled with
    `runs.devices.compile_options()`.

    Args:
        evolution: what to spread; also with wrappers around it.
        mesh: devices, of one axis; by default all devices of the default backend.

    Raises:
        ValueError: if the mesh has several axes, or the number of its devices does not divide that of the members.
    """
    mesh = Mesh(np.array(jax.devices()), ("members",)) if mesh is None else mesh
    if len(mesh.axis_names) != 1:
        raise ValueError(f"mesh must have one axis, got {mesh.axis_names}")
    if mesh.size == 1:
        return evolution
    size = jax.eval_shape(lambda: evolution.init(jax.random.key(0))).population.policy.shape[0]
    if size % mesh.size:
        raise ValueError(f"population_size must be a multiple of the {mesh.size} devices of the mesh, got {size}")

    def spread(function: Callable[..., Any], place: Callable[[Any], Any]) -> Callable[..., Any]:
        def placed(*args: Any) -> Any:
            with spread_over(mesh):
                return place(function(*args))

        return placed

    def after(result: tuple[Any, Any]) -> tuple[Any, Any]:
        state, generation = result
        return by_rows(state, size), everywhere(generation)

    return Evolution(
        spread(evolution.init, partial(by_rows, size=size)),
        spread(evolution.step, after),
        evolution.ask,
        spread(evolution.tell, after),
        spread(evolution.best, everywhere),
        partial(shardings, size=size, mesh=mesh),
    )
