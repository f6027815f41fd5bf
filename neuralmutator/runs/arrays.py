"""Pytrees of arrays as one file, an .npz that any NumPy reads; whole or not there at all, and free of code."""

import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from neuralmutator.core import PyTree
from neuralmutator.runs.errors import RunError

MANIFEST = "manifest.json"
"""Entry of a file that says what each array stands for."""


@dataclass(frozen=True)
class Part:
    """The rows of an array that one process has, where several share it."""

    start: int  # the first row
    rows: np.ndarray  # [rows, ...]
    shape: tuple[int, ...]  # of the whole array


def to_host(state: PyTree) -> PyTree:
    """Copies what this process has of a state: NumPy arrays and keys, and a `Part` of what it shares with others.

    What all processes have alike is the first one's; the others give None.
    """
    return jax.tree.map(_to_host, state)


def _to_host(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return leaf if _is_key(leaf) else jax.device_get(leaf)
    if leaf.is_fully_replicated:
        mine = leaf.addressable_data(0)
        return (mine if _is_key(leaf) else jax.device_get(mine)) if jax.process_index() == 0 else None
    rows = {shard.index[0].indices(leaf.shape[0])[0]: shard.data for shard in leaf.addressable_shards}
    return Part(min(rows), np.concatenate([np.asarray(rows[start]) for start in sorted(rows)]), leaf.shape)


def save(path: str | Path, state: PyTree) -> None:
    """Writes a pytree of arrays as one file.

    The file is an .npz with one array per leaf, named by the path of the leaf in the tree. It is written under another
    name first and then renamed, so a process that is killed leaves the old file or the new one.

    Args:
        path: the file; the folder must exist. Nothing is appended to its name.
        state: a pytree of arrays of any dtype, keys of ``jax.random.key`` included, of Python numbers, and of `Part`.

    Raises:
        ValueError: if a leaf is no array.
        OSError: if the file cannot be written.
    """
    arrays, kinds = {}, {}
    for place, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(place)
        kinds[name] = _kind(leaf)
        if isinstance(leaf, Part):
            data = leaf.rows
        else:
            data = np.asarray(jax.device_get(jax.random.key_data(leaf) if _is_key(leaf) else leaf))
        if data.dtype.hasobject:
            raise ValueError(f"state must be a pytree of arrays, got {type(leaf).__name__} at {name or 'its root'}")
        # NumPy writes bfloat16 and its like as bytes without a meaning; the manifest keeps the dtype.
        arrays[name] = data if data.dtype.isbuiltin == 1 else data.view(f"u{data.dtype.itemsize}")
    write(Path(path), arrays, json.dumps(kinds))


def load(path: str | Path | Sequence[Path], like: PyTree) -> PyTree:
    """Reads what `save` wrote.

    Args:
        path: the file, or the files that hold the parts of one state.
        like: a pytree with the structure, shapes and dtypes of what was saved; its values do not matter, so
            ``jax.eval_shape(evolution.init, key)`` will do.

    Returns:
        A pytree of JAX arrays with the structure of `like`; of NumPy arrays and Python numbers where `like` has them,
        and arrays over several devices where it has a `NamedSharding`. Of these each process reads its own rows.

    Raises:
        FileNotFoundError: if there is no such file.
        RunError: if a file cannot be read, or holds something else; one line.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else list(path)
    wanted = {jax.tree_util.keystr(place): leaf for place, leaf in jax.tree_util.tree_leaves_with_path(like)}
    kinds = {name: _kind(leaf) for name, leaf in wanted.items()}
    pieces: dict[str, dict[int, tuple[int, Path]]] = {name: {} for name in kinds}  # first row -> (end, file)
    for file in paths:
        with _opened(file) as archive:
            found = json.loads(_manifest(archive))
            for name, kind in found.items():
                start, end = kind.pop("rows", (0, 0))
                if kind != kinds.get(name):
                    raise RunError(f"{file} holds something else: it differs at {name or 'its root'}")
                pieces[name][start] = end, file
    if missing := sorted(name for name in kinds if not pieces[name]):
        raise RunError(f"{paths[0]} holds something else: it differs at {missing[0] or 'its root'}")

    def restore(place: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(place)
        # Local devices have their rows of the same file, one after another.
        held = lru_cache(maxsize=1)(partial(_held, name, kinds[name]))
        read = partial(_rows, name, kinds[name], pieces[name], held)
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding):
            data = _spread(leaf, sharding, read)
            return jax.random.wrap_key_data(data, impl=_impl(leaf)) if _is_key(leaf) else data
        whole = read(0, None)
        if _is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(whole), impl=_impl(leaf))
        if isinstance(leaf, bool | int | float):
            return type(leaf)(whole)
        return whole if isinstance(leaf, np.ndarray | np.generic) else jnp.asarray(whole)

    return jax.tree_util.tree_map_with_path(restore, like)


def _spread(leaf: Any, sharding: NamedSharding, read: Callable[[int, int | None], np.ndarray]) -> jax.Array:
    """An array of which each device has its own rows; of keys their numbers."""
    like = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf

    def rows(index: tuple[slice, ...] | None) -> np.ndarray:
        start, stop, _ = index[0].indices(like.shape[0]) if index else (0, None, 1)
        return read(start, stop)

    return jax.make_array_from_callback(like.shape, sharding, rows)


def _held(name: str, kind: dict[str, Any], file: Path) -> np.ndarray:
    """What a file holds of an array."""
    with _opened(file) as archive:
        return _array(archive, name, 8 * math.prod(kind["shape"]))


def _rows(
    name: str,
    kind: dict[str, Any],
    pieces: dict[int, tuple[int, Path]],
    held: Callable[[Path], np.ndarray],
    start: int,
    stop: int | None,
) -> np.ndarray:
    """Rows of an array that stands in pieces, or all of it; keys as numbers.

    Raises:
        RunError: if they cannot be read.
    """
    read: list[np.ndarray] = []
    at = start
    for first in sorted(pieces):
        end, file = pieces[first]
        if end == 0:  # the whole array
            data = held(file)
            return _typed(data if stop is None or data.ndim == 0 else data[start:stop], kind)
        stop = kind["shape"][0] if stop is None else stop
        if first <= at < min(end, stop):
            read.append(held(file)[at - first : stop - first])
            at = min(end, stop)
    if at != stop or sum(map(len, read)) != at - start:
        raise RunError(f"{file.parent} lacks a part of {name or 'the state'}")
    return _typed(np.concatenate(read), kind)


def _typed(data: np.ndarray, kind: dict[str, Any]) -> np.ndarray:
    return data if kind["dtype"].startswith("key<") else data.view(np.dtype(kind["dtype"]))


def write(path: Path, arrays: Mapping[str, Any], manifest: str | None = None) -> None:
    """Writes named arrays as an .npz, whole or not at all, and flushes it to disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            if manifest is not None:
                archive.writestr(MANIFEST, manifest)
            for name, value in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path, fields: Sequence[str], most: int = 2**28) -> dict[str, np.ndarray]:
    """The named arrays of an .npz.

    Args:
        path: the file.
        fields: names of the arrays.
        most: largest number of elements that an array may claim to have; nothing larger is unpacked.

    Raises:
        FileNotFoundError: if there is no such file.
        RunError: if they cannot be read, one is missing, or one is not of numbers.
    """
    with _opened(path) as archive:
        return {field: _array(archive, field, most) for field in fields}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A file of arrays; whatever is wrong with it becomes the one line of a RunError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (FileNotFoundError, RunError):
        raise
    except KeyError as error:
        raise RunError(f"cannot read {path}: {' '.join(str(error.args[0]).split())}") from error
    except Exception as error:  # NumPy, zipfile and json raise half a dozen kinds
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise RunError(f"cannot read {path}: truncated, or of another kind ({reason})") from error


def _manifest(archive: zipfile.ZipFile) -> bytes:
    if archive.getinfo(MANIFEST).file_size > 2**24:
        raise ValueError("its list of arrays is too long")
    return archive.read(MANIFEST)


def _array(archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        if dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold numbers, got {dtype}")
        if np.prod(shape, dtype=np.float64) > most:
            raise ValueError(f"{name} must have at most {most:,} numbers, got shape {shape}")
    with archive.open(f"{name}.npy") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        for _ in _rest(file):  # to the end, where the checksum is compared
            raise ValueError(f"{name} is followed by something else")
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"an array of the unknown version {version}")
    shape, _, dtype = headers[version](file)
    return shape, dtype


def _rest(file: IO[bytes]) -> Iterator[bytes]:
    if more := file.read(1):
        yield more


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _impl(leaf: Any) -> Any:
    """Name of the generator of a key, which may be abstract."""
    return jax.random.key_impl(leaf) if isinstance(leaf, jax.Array) else leaf.dtype._impl.name


def _kind(leaf: Any) -> dict[str, Any]:
    """Dtype and shape, as JSON has them, and which rows it has if they are not all."""
    if isinstance(leaf, Part):
        rows = [leaf.start, leaf.start + leaf.rows.shape[0]]
        return {"dtype": str(leaf.rows.dtype), "shape": list(leaf.shape), "rows": rows}
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return {"dtype": str(leaf.dtype), "shape": list(leaf.shape)}
