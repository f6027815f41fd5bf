"""Metrics as lines of JSON, some of which may be damaged."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from neuralmutator.runs.errors import RunError


def read(path: Path, unit: str | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Lines that can be read (and have a whole number as `unit`), and the text of those that cannot.

    The last line may be the one that was being written when the process was killed: it is in neither.

    Raises:
        RunError: if the file is there and cannot be read.
    """
    try:
        rows = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    good: list[dict[str, Any]] = []
    damaged: list[str] = []
    for row in rows:
        try:
            line = json.loads(row)
            fits = isinstance(line, dict) and (unit is None or type(line.get(unit)) is int)
        except (ValueError, RecursionError):
            fits = False
        if fits:
            good.append(line)
        elif row is not rows[-1] or row.endswith("\n"):
            damaged.append(row.rstrip("\n"))
    return good, damaged


def columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Every metric over the lines, f64[lines] or of lists f64[lines, n]; NaN where a line lacks it or has no number.

    Lists of unlike lengths, and lists of lists, are left out.
    """
    found = {}
    for name in {name: None for row in rows for name in row}:
        values = [row.get(name) for row in rows]
        sizes = {len(value) for value in values if isinstance(value, list)}
        if not sizes:
            found[name] = np.array([_number(value) for value in values])
        elif len(sizes) == 1 and not any(isinstance(x, list) for value in values for x in value or ()):
            (size,) = sizes
            found[name] = np.array(
                [[_number(x) for x in value] if isinstance(value, list) else [math.nan] * size for value in values]
            )
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
