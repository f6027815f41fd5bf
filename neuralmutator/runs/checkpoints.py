"""Checkpoints: states by their moments, of which the newest are kept.

One process writes a checkpoint as one file, ``40.npz``. Of several each writes what it has, ``40.1of4.npz``, without
waiting for the others: a checkpoint is there when all of its parts are, and any number of processes can read it.
"""

import re
from pathlib import Path

from neuralmutator.core import PyTree
from neuralmutator.runs import arrays
from neuralmutator.runs.errors import RunError

NAME = re.compile(r"(\d+)(?:\.(\d+)of(\d+))?\.npz")
WHOLE = (0, 1)  # the first of one


def write(folder: Path, moment: int, state: PyTree, keep: int, part: tuple[int, int] = WHOLE) -> None:
    """Writes the state at a moment, then removes all but the newest `keep` checkpoints.

    Args:
        folder: of the checkpoints.
        moment: of the state.
        state: what this process has of it, see `arrays.to_host`.
        keep: checkpoints kept, at least 2 where several processes write.
        part: number of this process, and of all.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    index, number = part
    name = f"{moment}.npz" if part == WHOLE else f"{moment}.{index + 1}of{number}.npz"
    arrays.save(folder / name, {"moment": moment, "state": state})
    if index:
        return
    moments = sorted({moment for moment, _ in _complete(folder)}, reverse=True)
    for moment, path in _files(folder):
        if moments[keep - 1 :] and moment < moments[keep - 1]:
            path.unlink(missing_ok=True)


def newest(
    folder: Path, state: PyTree, moment: int | None = None
) -> tuple[int, PyTree, list[Path], list[str], list[Path]]:
    """The newest readable checkpoint, and the newer ones that are not, with what is wrong with them.

    Args:
        folder: of the checkpoints.
        state: a state of the right structure; may be abstract.
        moment: of the checkpoint, if another than the newest is wanted.

    Returns:
        Moment and state, 0 and None if there is none; damaged files; what is wrong with each checkpoint; parts of
        checkpoints that were never completed.

    Raises:
        RunError: if `folder` is none.
    """
    broken: list[Path] = []
    reasons: list[str] = []
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} must be a folder")
    complete = _complete(folder)
    whole = {path for _, paths in complete for path in paths}
    rest = [path for _, path in _files(folder) if path not in whole]
    for at, paths in complete:
        if moment not in (None, at):
            continue
        try:
            read = arrays.load(paths, {"moment": 0, "state": state})
            if read["moment"] != at:
                raise RunError(f"{paths[0]} holds the state of moment {read['moment']}")
            return at, read["state"], broken, reasons, rest
        except RunError as error:
            broken += paths
            reasons.append(str(error))
    return 0, None, broken, reasons, rest


def _files(folder: Path) -> list[tuple[int, Path]]:
    """Files of checkpoints with their moments."""
    return [(int(found[1]), path) for path in folder.glob("*.npz") if (found := NAME.fullmatch(path.name))]


def _complete(folder: Path) -> list[tuple[int, list[Path]]]:
    """Moments of complete checkpoints and their files, the newest first."""
    sets: dict[tuple[int, int], list[Path]] = {}
    for moment, path in _files(folder):
        found = NAME.fullmatch(path.name)
        assert found is not None
        sets.setdefault((moment, int(found[3] or 1)), []).append(path)
    whole = [(moment, sorted(paths)) for (moment, number), paths in sets.items() if len(paths) == number]
    return sorted(whole, key=lambda pair: -pair[0])
