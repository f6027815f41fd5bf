"""Populations that are spread over several devices: rows of genomes by device, everything small on each of them.

What is computed of every member goes through `batching.in_blocks`, which gives each device its own rows. Genomes and
what is known of them are moved, not summed, so that the bits do not depend on the number of devices. See
`population.distribute`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_mesh: ContextVar[Mesh | None] = ContextVar("mesh that populations are spread over", default=None)
_local: ContextVar[bool] = ContextVar("whether this is the program of one device", default=False)


@contextmanager
def spread_over(mesh: Mesh) -> Iterator[None]:
    """Within it what is traced spreads populations over a mesh of one axis."""
    token = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(token)


def is_local() -> bool:
    """Whether what is being traced is the program of one device of several."""
    return _local.get()


def spreads(rows: int) -> bool:
    """Whether so many rows are spread over devices: there is a mesh, and it divides them."""
    mesh = _mesh.get()
    return mesh is not None and not _local.get() and rows % mesh.size == 0


def by_device(function: Callable[..., Any], rows: Any, *shared: Any) -> Any:
    """``function(rows, *shared)``: on each device with its own rows, where rows are spread; what it gives are rows.

    Args:
        function: of pytrees of arrays; where rows are spread it may use `fetch`.
        rows: arrays [N, ...], of which each device has [N / devices, ...].
        shared: arrays that each device has all of.
    """
    mesh = _mesh.get()
    if mesh is None or not spreads(jax.tree.leaves(rows)[0].shape[0]):
        return function(rows, *shared)
    own = PartitionSpec(*mesh.axis_names)

    def local(rows: Any, shared: tuple) -> Any:
        token = _local.set(True)
        try:
            return function(rows, *shared)
        finally:
            _local.reset(token)

    spread = jax.shard_map(local, mesh=mesh, in_specs=(own, PartitionSpec()), out_specs=own, check_vma=False)
    return spread(rows, shared)


def fetch(rows: Any, index: jax.Array) -> Any:
    """Members i32[k] of a population of which this device has its own rows; each device asks for as many.

    All that a device is asked for it gives at once.
    """
    mesh = _mesh.get()
    assert mesh is not None
    (axis,) = mesh.axis_names
    first = jax.tree.leaves(rows)[0].shape[0]
    wanted = lax.all_gather(index, axis)  # i32[devices, k]
    here = jnp.clip(wanted - lax.axis_index(axis) * first, 0, first - 1)

    def move(x: jax.Array) -> jax.Array:
        given = lax.all_to_all(x[here], axis, 0, 0)  # [devices, k, ...]: what each would give
        return given[index // first, jnp.arange(index.shape[0])]

    return jax.tree.map(move, rows)


def everywhere(tree: Any) -> Any:
    """The same arrays, whole on each device: what is summed or sorted afterwards is so everywhere alike."""
    mesh = _mesh.get()
    if mesh is None or _local.get():
        return tree
    return lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def shardings(tree: Any, size: int, mesh: Mesh) -> Any:
    """Where arrays are: those of at least two axes whose first is `size` by rows, others and empty ones everywhere.

    Args:
        tree: arrays, may be abstract.
        size: number of rows.
        mesh: devices, of one axis.
    """
    rows, whole = PartitionSpec(*mesh.axis_names), PartitionSpec()
    by_rows = lambda x: jnp.ndim(x) > 1 and x.shape[0] == size and math.prod(x.shape) > 0  # noqa: E731
    return jax.tree.map(lambda x: NamedSharding(mesh, rows if by_rows(x) else whole), tree)


def members(population: Any, index: jax.Array) -> Any:
    """The members of a population at the indices i32[...], everywhere; of a few, for all of them go to each device."""
    rows = jax.tree.leaves(population)[0].shape[0]
    if not spreads(rows):
        return jax.tree.map(lambda x: x[index], population)
    flat = jnp.ravel(index)

    def local(population: Any, index: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[None], fetch(population, index))

    found = by_device(local, population, flat)  # [devices, k, ...]: each has all of them
    return everywhere(jax.tree.map(lambda x: x[0].reshape(*index.shape, *x.shape[2:]), found))
