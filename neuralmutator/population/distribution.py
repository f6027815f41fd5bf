"""A whole generation on several devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh

from neuralmutator.core.spreading import everywhere, shardings, spread_over
from neuralmutator.population.archipelago import Islands
from neuralmutator.population.types import Evolution


def distribute(evolution: Evolution, mesh: Mesh | None = None) -> Evolution:
    """Spreads a population over devices: each holds, evaluates and rewrites its own rows.

    The same key gives the same states as without, bit for bit, on any number of devices; only means of genomes
    (`recombine`, the hall of fame's `centre`), and means among the metrics, are the same up to rounding. Genomes are
    sharded by rows; fitness, tags of species and what is as small is the same on all devices, and so are ranks, species
    and the choice of parents. Two parents of each child move, some rows at a time. Of `islands` each device has its
    own ones whole, and only migrants move. On one device it is the evolution itself.

    The first state comes from ``jax.jit(distributed.init)``. On a CPU, long programs should be compiled with
    `runs.devices.compile_options()`.

    Args:
        evolution: what to spread; also with wrappers around it.
        mesh: devices, of one axis; by default all devices of the default backend.

    Raises:
        ValueError: if the mesh has several axes, or the number of its devices does not divide that of the members, or
            that of the islands.
    """
    mesh = Mesh(np.array(jax.devices()), ("members",)) if mesh is None else mesh
    if len(mesh.axis_names) != 1:
        raise ValueError(f"mesh must have one axis, got {mesh.axis_names}")
    if mesh.size == 1:
        return evolution
    first = jax.eval_shape(lambda: evolution.init(jax.random.key(0)))
    size = jax.eval_shape(lambda state: state.population, first).policy.shape[0]
    are_islands = lambda x: isinstance(x, Islands)  # noqa: E731
    number = next((x.islands.births.shape[0] for x in jax.tree.leaves(first, is_leaf=are_islands) if are_islands(x)), 0)
    for name, count in (("number of islands", number), ("population_size", size)):
        if count % mesh.size:
            raise ValueError(f"{name} must be a multiple of the {mesh.size} devices of the mesh, got {count}")

    def placed(state: Any) -> Any:
        return jax.tree.map(
            lambda x: shardings(x, number if are_islands(x) else size, mesh), state, is_leaf=are_islands
        )

    def by_rows(state: Any) -> Any:
        return lax.with_sharding_constraint(state, placed(state))

    def spread(function: Callable[..., Any], place: Callable[[Any], Any]) -> Callable[..., Any]:
        def within(*args: Any) -> Any:
            with spread_over(mesh):
                return place(function(*args))

        return within

    def after(result: tuple[Any, Any]) -> tuple[Any, Any]:
        state, generation = result
        return by_rows(state), everywhere(generation)

    return Evolution(
        spread(evolution.init, by_rows),
        spread(evolution.step, after),
        evolution.ask,
        spread(evolution.tell, after),
        spread(evolution.best, everywhere),
        placed,
    )
