"""A live line of a run in the terminal."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TextColumn, TimeRemainingColumn

from neuralmutator.runs.config import Config


class Progress(AbstractContextManager):
    """How far a run is, what it measures, and the time left; a line now and then where there is no terminal."""

    def __init__(self, title: str, total: int, describe: Callable[[dict[str, Any]], str], start: int = 0):
        """Prepares the display.

        Args:
            title: what runs.
            total: moments of the whole run.
            describe: the newest metrics as a few words.
            start: moments that are done already.
        """
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("[bold]{task.fields[title]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._total, self._describe = total, describe
        self._task = self._bars.add_task("", total=total, completed=start, title=title, text="compiled")
        self._printed = time.monotonic()

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def update(self, moment: int, metrics: dict[str, Any]) -> None:
        """Shows the newest metrics after `moment` moments."""
        text = self._describe(metrics)
        self._bars.update(self._task, completed=moment, text=text)
        if not self._console.is_terminal and (moment == self._total or time.monotonic() - self._printed > 10):
            self._printed = time.monotonic()
            self._console.print(f"{moment}/{self._total}  {text}", highlight=False)


def evolution_progress(config: Config, start: int = 0) -> Progress:
    """The display of a run of the Neural Mutator: best, mean, species and env steps/s."""
    return Progress(config.env, config.generations, _generation, start)


def _generation(metrics: dict[str, Any]) -> str:
    text = f"best {metrics['fitness_best']:.1f}  mean {metrics['fitness_mean']:.1f}  species {metrics['species']:.0f}"
    if "env_steps_per_second" in metrics:
        rate = metrics["env_steps_per_second"]
        text += f"  {rate / 1e6:.2f} M steps/s" if rate > 1e5 else f"  {rate / 1e3:.1f} k steps/s"
    return text
