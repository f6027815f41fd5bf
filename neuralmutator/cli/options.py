"""What all commands that leave a run folder share."""

from dataclasses import dataclass
from pathlib import Path

from neuralmutator.runs.folder import free_folder


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run is kept and how it is shown."""

    output: Path | None = None
    """The run folder; the first of runs/NAME-1, -2 … that is free if not given."""
    resume: bool = False
    """Go on with the run in --output, from its newest checkpoint."""
    save_every: float = 10.0
    """Seconds between two checkpoints."""
    quiet: bool = False
    """No progress display."""

    def folder(self, name: str) -> Path:
        """The run folder, by default a free one of this name.

        Raises:
            ValueError: if a run shall be resumed, but none is named.
        """
        if self.resume and self.output is None:
            raise ValueError("--resume needs --output, the folder of the run to go on with")
        return self.output or free_folder(name)
