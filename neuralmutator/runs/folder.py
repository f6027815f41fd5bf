"""A run is a folder: configuration, metrics as JSON lines, checkpoints, champion, result, pictures."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from neuralmutator.core import PyTree
from neuralmutator.core.genome import Genome
from neuralmutator.runs.config import Config, changes, from_dict


class RunError(Exception):
    """Something about a run or its folder that its user must know; one line."""


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: str | Path, keep: int = 3):
        """Names a folder; nothing is read or written yet.

        Args:
            path: the folder.
            keep: number of checkpoints kept.
        """
        self.path = Path(path)
        self._keep = keep
        self._manager: ocp.CheckpointManager | None = None

    @classmethod
    def create(cls, path: str | Path, config: Any, keep: int = 3) -> "RunFolder":
        """Makes a new run folder with the configuration, a dataclass.

        Raises:
            RunError: if it exists and is not empty, or cannot be made.
        """
        folder = cls(path, keep)
        try:
            if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
                raise RunError(f"{path} exists: go on with --resume, or name another folder with --output")
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.save_config(config)
        except OSError as error:
            raise RunError(f"cannot write the run folder {path}: {error.strerror}") from error
        return folder

    @classmethod
    def reopen(
        cls, path: str | Path, config: Any, make: Callable[[dict[str, Any]], Any], length: str, keep: int = 3
    ) -> "RunFolder":
        """A run folder to go on with, which takes the configuration over.

        Args:
            path: the folder.
            config: that of the run, whose length may have grown.
            make: see `read_config`.
            length: the field that holds the length of the run.
            keep: number of checkpoints kept.

        Raises:
            RunError: if this is not the folder of such a run, or was begun with another configuration.
        """
        folder = cls(path, keep)
        old = folder.read_config(make)
        if differing := [name for name in changes(old, config) if name != length]:
            raise RunError(f"{path} was begun with another {differing[0]}: resume takes the options of the first call")
        if getattr(config, length) < (least := getattr(old, length)):
            raise RunError(f"{length} must be at least {least} as in {path}, got {getattr(config, length)}")
        folder.save_config(config)
        return folder

    def save_config(self, config: Any) -> None:
        """Writes `config.json`."""
        _write(self.path / "config.json", json.dumps(dataclasses.asdict(config), indent=2) + "\n")

    @property
    def config(self) -> Config:
        """The configuration of the run.

        Raises:
            RunError: if this is not a readable run folder.
        """
        return self.read_config(from_dict)

    def read_config(self, make: Callable[[dict[str, Any]], Any]) -> Any:
        """What `make` makes of `config.json`; it may raise ValueError for the configuration of another kind of run.

        Raises:
            RunError: if this is not a readable run folder.
        """
        try:
            return make(json.loads((self.path / "config.json").read_text()))
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is not a run folder: it has no config.json") from error
        except (OSError, ValueError, AttributeError) as error:
            raise RunError(f"cannot read {self.path / 'config.json'}: {error}") from error

    # Checkpoints

    @property
    def manager(self) -> ocp.CheckpointManager:
        """Orbax's manager of the checkpoints, opened on first use."""
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, create=True, cleanup_tmp_directories=True)
            self._manager = ocp.CheckpointManager((self.path / "checkpoints").absolute(), options=options)
        return self._manager

    def save(self, moment: int, state: PyTree) -> None:
        """Writes the state at a moment in the background; atomic: it is there whole or not at all."""
        # From the host's memory, so that a machine with more or fewer devices can go on with it.
        self.manager.save(moment, args=ocp.args.StandardSave(jax.device_get(_leaves(state))))

    def restore(self, state: PyTree) -> tuple[int, PyTree]:
        """The newest checkpoint: its moment and state; moment 0 and None if there is none yet.

        Args:
            state: a state of the right structure, may be abstract (`jax.eval_shape`).

        Raises:
            RunError: if the checkpoint cannot be read, or holds something else.
        """
        moment = self.manager.latest_step()
        if moment is None:
            return 0, None
        place = self.path / "checkpoints" / str(moment)
        try:
            restored = self.manager.restore(moment, args=ocp.args.StandardRestore(_leaves(state)))
        except Exception as error:  # orbax, tensorstore and the file system each raise their own
            reason = " ".join(str(error).split())[:160]
            raise RunError(f"cannot read checkpoint {place}: truncated or of another run ({reason})") from error
        wanted, found = jax.tree.map(_kind, _leaves(state)), jax.tree.map(_kind, restored)
        if wanted != found:
            raise RunError(f"checkpoint {place} holds the state of another run")

        def put_back(path: tuple, leaf: Any) -> Any:
            return restored[jax.tree_util.keystr(path)] if leaf.size else jax.numpy.zeros(leaf.shape, leaf.dtype)

        return moment, jax.tree_util.tree_map_with_path(put_back, state)

    def close(self) -> None:
        """Waits until everything is on disk."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()
            self._manager = None

    # Metrics

    def append_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Adds one JSON line per moment and flushes them to disk.

        NumPy's numbers are written in the fewest digits that stand for them: 0.007 where an f32 is 0.00699999975040555;
        those that are not finite become null.
        """
        with open(self.path / "metrics.jsonl", "a") as file:
            for line in lines:
                file.write(json.dumps({name: _plain(value) for name, value in line.items()}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def truncate_metrics(self, moment: int) -> None:
        """Forgets the metrics of this moment and later ones: a run goes on from a checkpoint before them."""
        kept = self.metric_lines()[:moment]
        _write(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def metrics(self) -> dict[str, np.ndarray]:
        """Every metric over the moments, f64[moments]; NaN where a line lacks it.

        Raises:
            RunError: if there are none.
        """
        lines = self.metric_lines()
        if not lines:
            raise RunError(f"{self.path} has no metrics yet")
        names = {name: None for line in lines for name in line}
        return {n: np.array([math.nan if line.get(n) is None else line[n] for line in lines]) for n in names}

    def metric_lines(self) -> list[dict[str, Any]]:
        """The metrics as they were written, one dict per moment; none if there are none."""
        try:
            text = (self.path / "metrics.jsonl").read_text()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"cannot read {self.path / 'metrics.jsonl'}: {error.strerror}") from error
        lines = []
        for row in text.splitlines():
            try:
                lines.append(json.loads(row))
            except ValueError:
                break  # the line that was being written when the process was killed
        return lines

    # Champion and result

    def save_champion(self, genome: Genome) -> None:
        """Writes a genome as `champion.npz`, one array per field."""
        self.save_arrays("champion", **genome._asdict())

    def save_arrays(self, name: str, **arrays: Any) -> None:
        """Writes arrays as `name.npz`."""
        temporary = self.path / f"{name}.tmp.npz"
        numbers: dict[str, Any] = {key: np.asarray(value) for key, value in arrays.items()}
        np.savez(temporary, **numbers)
        os.replace(temporary, self.path / f"{name}.npz")

    def load_arrays(self, name: str, fields: Sequence[str]) -> dict[str, np.ndarray]:
        """The named arrays of `name.npz`.

        Raises:
            RunError: if there are none, or they cannot be read.
        """
        place = self.path / f"{name}.npz"
        try:
            with np.load(place) as data:
                return {field: data[field] for field in fields}
        except FileNotFoundError as error:
            raise RunError(f"{self.path} has no {name} yet") from error
        except Exception as error:  # NumPy and zipfile raise half a dozen kinds
            raise RunError(f"cannot read {place}: {error}") from error

    def load_champion(self) -> Genome:
        """The champion.

        Raises:
            RunError: if there is none, or it cannot be read.
        """
        return Genome(**jax.tree.map(jax.numpy.asarray, self.load_arrays("champion", Genome._fields)))

    def save_result(self, result: dict[str, Any]) -> None:
        """Writes `result.json`; numbers that are not finite become null."""
        numbers = {name: _plain(value) if isinstance(value, float) else value for name, value in result.items()}
        _write(self.path / "result.json", json.dumps(numbers, indent=2) + "\n")


def free_folder(name: str) -> Path:
    """The first of runs/NAME-1, -2 … that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name.replace('/', '_')}-{number}").exists():
        number += 1
    return folder


def _leaves(state: PyTree) -> dict[str, Any]:
    """The leaves of a state by their paths; orbax saves no empty arrays, and they need no saving."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state) if leaf.size}


def _kind(leaf: Any) -> tuple:
    return leaf.shape, str(leaf.dtype)


def _plain(value: Any) -> Any:
    """What JSON can hold of a number or a text."""
    if isinstance(value, np.generic):
        value = float(str(value)) if isinstance(value, np.floating) else value.item()
    return value if isinstance(value, int | str) or math.isfinite(value) else None


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
