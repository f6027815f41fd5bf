"""Functions over the members of a batch: all at once, one after another, or in blocks."""

import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from neuralmutator.core import check, spreading
from neuralmutator.core.genome import take
from neuralmutator.core.platform import on_cpu
from neuralmutator.core.step import PyTree

FEWEST = 16  # rows of a block whose members are fetched from other devices


def each(function: Callable[..., PyTree], *args: PyTree) -> PyTree:
    """`function` of every member of a batch, that is, along the leading axis of all `args`; results are stacked.

    All at once on accelerators; one after another on a CPU, whose caches hold one member but not all of them, and where
    a ``lax.cond`` of one member then spares what it does not take.
    """
    if on_cpu():
        return jax.lax.map(lambda args: function(*args), args)
    return jax.vmap(function)(*args)


def default_block_size() -> int | None:
    """Members evaluated together where the caller does not say: 64 on a CPU, else all.

    On a CPU a block's parameters stay in cache through a whole episode, and a block whose episodes have ended does not
    wait for the others; an accelerator wants everything at once.
    """
    return 64 if on_cpu() else None


def resolve_block_size(block_size: int | str | None) -> int | None:
    """What an argument `block_size` means: "auto" is `default_block_size()`, None all members at once.

    Raises:
        ValueError: if it is neither of them nor a whole number of at least 1.
    """
    if block_size == "auto":
        return default_block_size()
    if block_size is None:
        return None
    if isinstance(block_size, str):
        raise ValueError(f"block_size must be 'auto', None or a whole number of at least 1, got {block_size!r}")
    check.whole(1, block_size=block_size)
    return operator.index(block_size)


Lookups = Sequence[tuple[PyTree, jax.Array]]
"""Pairs of a population [N, ...] and the index i32[rows] of the member that each row needs."""


def in_blocks(
    function: Callable, block_size: int | None, *args: PyTree, lookups: Lookups = (), whole: bool = False
) -> PyTree:
    """``vmap(function)(*args)``, at most `block_size` rows at a time; bounds memory, keeps a block's data in cache.

    Blocks of one row are not vmapped at all, so that a ``lax.cond`` in `function` stays a branch. Where populations are
    spread over devices, each device has its own rows, see `spreading`.

    Args:
        function: of a row of each of `args`, and of a member for each of `lookups`.
        block_size: most rows of a block; None: all.
        args: with a leading axis [rows].
        lookups: what rows need of other rows; fetched block by block, for at once it would be one more copy.
        whole: whether `function` takes blocks of rows [n, ...] instead of single ones.
    """
    rows = jax.tree.leaves(args)[0].shape[0]
    populations, indices = [population for population, _ in lookups], [index for _, index in lookups]
    if not spreading.spreads(rows):

        def look(args: tuple, indices: list) -> PyTree:
            return function(*args, *map(take, populations, indices))

        return _in_blocks(look, block_size, args, indices, whole=whole)

    def local(own: tuple) -> PyTree:
        args, indices, populations = own

        def block(args: tuple, indices: list) -> PyTree:
            found = list(map(spreading.fetch, populations, indices))
            return _in_blocks(lambda args, found: function(*args, *found), block_size, args, found, whole=whole)

        size = jax.tree.leaves(args)[0].shape[0]
        if not lookups:
            return block(args, [])
        # Each block asks all other devices: blocks of one row would ask too often.
        return _in_blocks(block, max(block_size or size, FEWEST), args, indices, whole=True)

    return spreading.by_device(local, (args, indices, populations))


def _in_blocks(function: Callable, block_size: int | None, *args: PyTree, whole: bool = False) -> PyTree:
    """`in_blocks` on one device; with `whole`, `function` takes whole blocks."""
    rows = jax.tree.leaves(args)[0].shape[0]
    many = function if whole else jax.vmap(function)
    if block_size is None or rows <= block_size:
        return many(*args)
    if block_size == 1 and not whole:
        return jax.lax.map(lambda row: function(*row), args)
    # Blocks of one size, the last one filled up with repeats: a shorter last block would be compiled once more.
    blocks = -(-rows // block_size)
    size = -(-rows // blocks)
    index = jnp.minimum(jnp.arange(blocks * size), rows - 1).reshape(blocks, size)
    done = jax.lax.map(lambda i: many(*take(args, i)), index)
    return jax.tree.map(lambda x: x.reshape(blocks * size, *x.shape[2:])[:rows], done)
