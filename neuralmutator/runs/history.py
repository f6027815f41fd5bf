"""What a run keeps of every moment beside its metrics: arrays that grow, one .npy file each.

``fitness.npy`` of an evolution is f32[generations, N], ``parents.npy`` is i32[generations, N, 2]: the whole pedigree.
The header of an .npy file has room for a larger number of rows, so a file grows in place: rows are written behind the
last one first, then the number in the header. A process that is killed in between leaves a valid file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from neuralmutator.runs.errors import RunError


def append(folder: Path, start: int, rows: Mapping[str, np.ndarray]) -> None:
    """Writes rows behind the first `start` ones of each file.

    Later rows that are there already are dropped: they are of a run that was killed and is now repeated. Where rows
    before `start` are missing, NaN or -1 stands in for them.

    Args:
        folder: of the files; made if it does not exist.
        start: moment of the first row.
        rows: by name, ``[moments, ...]``.
    """
    for name, values in rows.items():
        folder.mkdir(exist_ok=True)
        values = np.ascontiguousarray(values)
        path = folder / f"{name}.npy"
        shape, dtype, offset = _head(path) if path.exists() else ((0, *values.shape[1:]), values.dtype, 0)
        if shape[1:] != values.shape[1:] or dtype != values.dtype:
            raise RunError(f"{path} must hold {values.dtype}{list(values.shape[1:])}, got {dtype}{list(shape[1:])}")
        first = min(start, shape[0])
        if first < start:
            blank = np.nan if values.dtype.kind == "f" else -1
            lost = np.full((start - first, *values.shape[1:]), blank).astype(values.dtype)
            values = np.concatenate([lost, values])
        with open(path, "r+b" if path.exists() else "w+b") as file:
            if not offset:
                _write_head(file, (0, *values.shape[1:]), dtype)
                offset = file.tell()
            row = dtype.itemsize * int(np.prod(shape[1:]))
            file.truncate(offset + first * row)
            file.seek(offset + first * row)
            file.write(values.tobytes())
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            _write_head(file, (first + len(values), *values.shape[1:]), dtype)
            if file.tell() != offset:  # NumPy leaves room for 21 digits
                raise RunError(f"{path} cannot grow")


def read(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a history by its name, mapped into memory, not read.

    Raises:
        RunError: if one cannot be read.
    """
    arrays = {}
    for path in sorted(folder.glob("*.npy")):
        _head(path)
        arrays[path.stem] = np.load(path, mmap_mode="r")
    return arrays


def unreadable(folder: Path) -> list[Path]:
    """Files of a history that are damaged."""
    found = []
    for path in sorted(folder.glob("*.npy")):
        try:
            _head(path)
        except RunError:
            found.append(path)
    return found


def _head(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, dtype, and where the data begin; RunError if there are fewer data than the shape says."""
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, order, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
            if order or dtype.hasobject or not shape:
                raise ValueError("no rows of numbers")
            if path.stat().st_size < offset + dtype.itemsize * int(np.prod(shape)):
                raise ValueError("truncated")
            return shape, dtype, offset
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {' '.join(str(error).split())[:160]}") from error


def _write_head(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
