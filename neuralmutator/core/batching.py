"""Functions over the members of a batch: all at once, one after another, or in blocks."""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.core.genome import take
from neuralmutator.core.platform import on_cpu
from neuralmutator.core.step import PyTree


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


def in_blocks(function: Callable, block_size: int | None, *args: PyTree) -> PyTree:
    """``vmap(function)(*args)``, at most `block_size` rows at a time; bounds memory, keeps a block's data in cache.

    Blocks of one row are not vmapped at all, so that a ``lax.cond`` in `function` stays a branch.
    """
    rows = jax.tree.leaves(args)[0].shape[0]
    if block_size is None or rows <= block_size:
        return jax.vmap(function)(*args)
    if block_size == 1:
        return jax.lax.map(lambda row: function(*row), args)
    # Blocks of one size, the last one filled up with repeats: a shorter last block would be compiled once more.
    blocks = -(-rows // block_size)
    size = -(-rows // blocks)
    index = jnp.minimum(jnp.arange(blocks * size), rows - 1).reshape(blocks, size)
    done = jax.lax.map(lambda i: jax.vmap(function)(*take(args, i)), index)
    return jax.tree.map(lambda x: x.reshape(blocks * size, *x.shape[2:])[:rows], done)
