"""Checkpoints: states by their moments, one file each, of which the newest are kept."""

from pathlib import Path

from neuralmutator.core import PyTree
from neuralmutator.runs import arrays
from neuralmutator.runs.errors import RunError


def write(folder: Path, moment: int, state: PyTree, keep: int) -> None:
    """Writes the state at a moment, then removes all but the newest `keep` checkpoints.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    arrays.save(folder / f"{moment}.npz", {"moment": moment, "state": state})
    for old in _files(folder)[keep:]:
        old.unlink()


def newest(folder: Path, state: PyTree) -> tuple[int, PyTree, list[Path], list[str]]:
    """The newest readable checkpoint, and the newer ones that are not, with what is wrong with them.

    Args:
        folder: of the checkpoints.
        state: a state of the right structure; may be abstract.

    Returns:
        Moment and state, 0 and None if there is none; damaged files; what is wrong with each.

    Raises:
        RunError: if `folder` is none.
    """
    broken: list[Path] = []
    reasons: list[str] = []
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} must be a folder")
    for path in _files(folder):
        try:
            read = arrays.load(path, {"moment": 0, "state": state})
            if read["moment"] != int(path.stem):
                raise RunError(f"{path} holds the state of moment {read['moment']}")
            return read["moment"], read["state"], broken, reasons
        except RunError as error:
            broken.append(path)
            reasons.append(str(error))
    return 0, None, broken, reasons


def _files(folder: Path) -> list[Path]:
    """Files of checkpoints, the newest first."""
    found = [path for path in folder.glob("*.npz") if path.stem.isdigit()]
    return sorted(found, key=lambda path: -int(path.stem))
