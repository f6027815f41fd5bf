"""A live line of a run in the terminal."""

import time
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TextColumn, TimeRemainingColumn

from neuralmutator.experiment.config import Config


class Progress(AbstractContextManager):
    """Generation, best, mean, species, env steps/s and time left; a line now and then where there is no terminal."""

    def __init__(self, config: Config, start: int = 0):
        """Prepares the display of a run that begins at generation `start`."""
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("[bold]{task.fields[env]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._total = config.generations
        self._task = self._bars.add_task("", total=config.generations, completed=start, env=config.env, text="compiled")
        self._printed = time.monotonic()

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def update(self, moment: int, metrics: dict[str, Any]) -> None:
        """Shows the newest metrics after `moment` generations."""
        text = (
            f"best {metrics['fitness_best']:.1f}  mean {metrics['fitness_mean']:.1f}  species {metrics['species']:.0f}"
        )
        if "env_steps_per_second" in metrics:
            text += f"  {metrics['env_steps_per_second'] / 1e6:.2f} M steps/s"
        self._bars.update(self._task, completed=moment, text=text)
        if not self._console.is_terminal and (moment == self._total or time.monotonic() - self._printed > 10):
            self._printed = time.monotonic()
            self._console.print(f"generation {moment}/{self._total}  {text}", highlight=False)
