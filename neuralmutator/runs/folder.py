"""A run is a folder: configuration, metrics as JSON lines, history, checkpoints, products, result, pictures."""

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from neuralmutator.core import Genome, PyTree
from neuralmutator.runs import arrays, checkpoints, history, hosts, lines, serialise
from neuralmutator.runs.errors import RunError, UserError

DAMAGED = "damaged"
"""Folder in a run folder for what cannot be read any more; nothing is ever deleted for being damaged."""


class Resumption(NamedTuple):
    """Where a run goes on, found without changing anything in its folder."""

    moment: int  # moments that are done
    state: PyTree  # after them; None at moment 0 without a checkpoint
    lines: list[dict[str, Any]]  # metrics of these moments
    set_aside: list[Path]  # damaged files
    begun: list[Path]  # parts of checkpoints that were never completed
    damaged_lines: list[str]  # of metrics.jsonl
    notes: list[str]  # what the user must know, one line each


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
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._lock: int | None = None

    @classmethod
    def create(cls, path: str | Path, kind: str, config: Any, keep: int = 3) -> "RunFolder":
        """Makes a new run folder, locks it, and writes its configuration.

        Args:
            path: the folder.
            kind: of the run, see `stories.STORIES`.
            config: a dataclass or a mapping.
            keep: number of checkpoints kept.

        Raises:
            RunError: if it exists and is not empty, cannot be made, or another process makes it.
        """
        folder = cls(path, keep)
        try:
            if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
                raise RunError(f"{path} exists: go on with --resume, or name another folder with --output")
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.lock()
            if [path.name for path in folder.path.iterdir()] != ["lock"]:  # another process was faster
                folder.close()
                raise RunError(f"{path} exists: go on with --resume, or name another folder with --output")
            folder.save_config(kind, config)
        except OSError as error:
            raise RunError(f"cannot write the run folder {path}: {error.strerror}") from error
        return folder

    def lock(self) -> None:
        """Keeps other processes from writing this run, until `close` or the end of this process, however it ends.

        Raises:
            RunError: if another process writes it.
        """
        try:
            import fcntl
        except ImportError:  # no such locks on Windows
            return
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise RunError(f"another process writes the run folder {self.path}: wait for it, or stop it") from error
        self._lock = handle

    def close(self) -> None:
        """Waits until everything is on disk, and lets other processes write.

        Raises:
            RunError: if the last checkpoint could not be written.
        """
        try:
            self.wait()
        finally:
            if self._writer is not None:
                self._writer.shutdown()
                self._writer = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    # Configuration

    def save_config(self, kind: str, config: Any) -> None:
        """Writes `config.json`."""
        write_text(self.path / "config.json", serialise.to_json(kind, config))

    def read_config(self) -> tuple[str, dict[str, Any]]:
        """The kind of the run, and its configuration as plain data.

        Raises:
            RunError: if this is not a readable run folder.
        """
        place = self.path / "config.json"
        try:
            data = json.loads(place.read_text())
            if not isinstance(data, dict) or not isinstance(kind := data.pop("kind", None), str):
                raise ValueError("it does not say what kind of run this is")
            return kind, data
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is not a run folder: it has no config.json") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"cannot read {place}: {error}") from error

    @property
    def kind(self) -> str:
        """Kind of the run, "evolution" or "quine", say.

        Raises:
            RunError: if this is not a readable run folder.
        """
        return self.read_config()[0]

    def config(self, cls: type, kind: str) -> Any:
        """The configuration of a run of this kind, an instance of the dataclass `cls`.

        Raises:
            RunError: if this is not a readable run folder, or one of another kind.
        """
        found, data = self.read_config()
        if found != kind:
            raise RunError(f"{self.path} holds a run of kind {found!r}, not {kind!r}")
        try:
            return serialise.from_dict(cls, data)
        except UserError as error:
            raise RunError(f"cannot read {self.path / 'config.json'}: {error}") from error

    # Going on

    def resumption(self, state: PyTree, unit: str, length: int) -> Resumption:
        """Where the run goes on; nothing is changed.

        Args:
            state: a state of the right structure; may be abstract (`jax.eval_shape`).
            unit: the field of a line of metrics that holds its moment.
            length: moments of the whole run.

        Raises:
            RunError: if it cannot go on.
        """
        moment, restored, broken, reasons, begun = checkpoints.newest(self.path / "checkpoints", state)
        if restored is None and broken:
            raise RunError(f"no checkpoint in {self.path / 'checkpoints'} can be read: {reasons[0]}")
        if restored is None:
            for name in ("metrics.jsonl", "champion.npz", "automaton.npz", "weights.npz", "result.json"):
                if (self.path / name).exists():
                    raise RunError(f"{self.path} has {name} but no checkpoint to go on from; it was left as it is")
        if moment > length:
            raise RunError(f"the newest checkpoint of {self.path} is of {unit} {moment}, beyond the {length} wanted")
        kept, damaged = lines.read(self.path / "metrics.jsonl", unit)
        kept = [line for line in kept if line[unit] < moment]
        notes = [f"cannot read checkpoint {path.name}; going on from the one before" for path in broken]
        if damaged:
            notes.append(f"{len(damaged)} damaged lines of metrics.jsonl are kept in {DAMAGED}/metrics.jsonl")
        if missing := moment - len({line[unit] for line in kept}):
            notes.append(f"metrics.jsonl lacks {missing} of the {moment} moments before the checkpoint")
        lost = history.unreadable(self.path / "history")
        notes += [f"cannot read history/{path.name}; it is kept in {DAMAGED}" for path in lost]
        return Resumption(moment, restored, kept, broken + lost, begun, damaged, notes)

    def go_on(self, found: Resumption) -> None:
        """Makes the folder what it was at the moment of a resumption; damaged files are moved, not deleted.

        What a process that was killed had begun to write goes: what it was to become is computed again.
        """
        for begun in (*self.path.glob("*.tmp"), *(self.path / "checkpoints").glob("*.tmp"), *found.begun):
            begun.unlink()
        aside = self.path / DAMAGED
        if found.set_aside or found.damaged_lines:
            aside.mkdir(exist_ok=True)
        for path in found.set_aside:
            shutil.move(path, aside / _free_name(aside, path.name))
        if found.damaged_lines:
            with open(aside / "metrics.jsonl", "a") as file:
                file.writelines(line + "\n" for line in found.damaged_lines)
        if found.lines or (self.path / "metrics.jsonl").exists():
            write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in found.lines))

    # Checkpoints

    def save(self, moment: int, state: PyTree) -> None:
        """Writes the state at a moment in the background; it is there whole or not at all.

        Raises:
            RunError: if the checkpoint before could not be written.
        """
        self.wait()
        # From the host's memory, so that a machine with more or fewer devices can go on with it.
        copy = arrays.to_host(state)
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1)
        self._writing = self._writer.submit(
            checkpoints.write, self.path / "checkpoints", moment, copy, self._keep, hosts.part()
        )

    def wait(self) -> None:
        """Waits until the last checkpoint is on disk.

        Raises:
            RunError: if it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                writing.result()
            except OSError as error:
                raise RunError(f"cannot write a checkpoint to {self.path}: {error.strerror}") from error

    def restore(self, state: PyTree, at: int | None = None) -> tuple[int, PyTree]:
        """The newest checkpoint that can be read: its moment and state; moment 0 and None if there is none yet.

        Args:
            state: a state of the right structure, may be abstract (`jax.eval_shape`).
            at: moment of the checkpoint, if another than the newest is wanted.

        Raises:
            RunError: if there are some, but none can be read or they hold something else.
        """
        moment, restored, broken, reasons, _ = checkpoints.newest(self.path / "checkpoints", state, at)
        if restored is None and broken:
            raise RunError(reasons[0])
        return moment, restored

    # Metrics and history

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Adds one JSON line per moment and flushes them to disk.

        NumPy's numbers are written in the fewest digits that stand for them: 0.007 where an f32 is 0.00699999975040555;
        those that are not finite become null.
        """
        with open(self.path / "metrics.jsonl", "a") as file:
            file.writelines(serialise.json_line(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())

    def append_history(self, start: int, rows: dict[str, np.ndarray]) -> None:
        """Adds what is kept of the moments from `start` on, arrays ``[moments, ...]`` by their names."""
        history.append(self.path / "history", start, rows)

    def history(self) -> dict[str, np.ndarray]:
        """What is kept of every moment: of an evolution, ``fitness`` f32[generations, N], ``parents`` i32[…, N, 2].

        Raises:
            RunError: if it cannot be read.
        """
        return history.read(self.path / "history")

    def metrics(self) -> dict[str, np.ndarray]:
        """Every metric over the moments, f64[moments]; NaN where a line lacks it.

        Those of single islands are f64[moments, I].

        Raises:
            RunError: if there are none.
        """
        rows = self.metric_lines()
        if not rows:
            raise RunError(f"{self.path} has no metrics yet")
        return lines.columns(rows)

    def metric_lines(self) -> list[dict[str, Any]]:
        """The metrics as they were written, one dict per moment; none if there are none. Damaged lines are left out."""
        return lines.read(self.path / "metrics.jsonl")[0]

    # Products and result

    def save_champion(self, genome: Genome) -> None:
        """Writes a genome as `champion.npz`, one array per field."""
        self.save_arrays("champion", **genome._asdict())

    def save_arrays(self, name: str, **values: Any) -> None:
        """Writes arrays as `name.npz`."""
        arrays.write(self.path / f"{name}.npz", values)

    def load_arrays(self, name: str, fields: Sequence[str]) -> dict[str, np.ndarray]:
        """The named arrays of `name.npz`.

        Raises:
            RunError: if there are none, or they cannot be read.
        """
        try:
            return arrays.read(self.path / f"{name}.npz", fields)
        except FileNotFoundError as error:
            raise RunError(f"{self.path} has no {name} yet") from error

    def load_champion(self) -> Genome:
        """The champion.

        Raises:
            RunError: if there is none, or it cannot be read.
        """
        return Genome(**jax.tree.map(jax.numpy.asarray, self.load_arrays("champion", Genome._fields)))

    def save_result(self, result: dict[str, Any]) -> None:
        """Writes `result.json`; numbers that are not finite become null."""
        write_text(self.path / "result.json", json.dumps(serialise.plain(result), indent=2) + "\n")


class SharedFolder(RunFolder):
    """A run folder as another process than the first of several has it: it writes its parts of checkpoints alone."""

    def wait_for_first(self, seconds: float = 60.0) -> None:
        """Waits until what the first process has written is seen here: a network's file system may take a while.

        Raises:
            RunError: if it is not seen in time.
        """
        end = time.monotonic() + seconds
        while not (self.path / "config.json").exists():
            if time.monotonic() > end:
                raise RunError(
                    f"{self.path} must be a folder that all hosts share: what the first one wrote is not there"
                )
            time.sleep(0.1)

    def save_config(self, kind: str, config: Any) -> None:
        """Leaves it to the first process."""

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Leaves it to the first process."""

    def append_history(self, start: int, rows: dict[str, np.ndarray]) -> None:
        """Leaves it to the first process."""

    def save_arrays(self, name: str, **values: Any) -> None:
        """Leaves it to the first process."""

    def save_result(self, result: dict[str, Any]) -> None:
        """Leaves it to the first process."""


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def _free_name(folder: Path, name: str) -> str:
    names: Callable[[int], str] = lambda n: name if n == 0 else f"{name}.{n}"  # noqa: E731
    return next(names(n) for n in range(10**6) if not (folder / names(n)).exists())
