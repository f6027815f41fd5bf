"""What sees the metrics of a run while it goes on: a live line, a file, TensorBoard."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from neuralmutator.runs.errors import RunError
from neuralmutator.runs.serialise import json_line

BAR_FROM = 110  # columns that a terminal must have for a bar
BAR_WIDTH = 24


class Progress(AbstractContextManager):
    """A live line in the terminal: what is compiled, then how far the run is, the time left, and its metrics.

    In a narrow terminal the bar is left out first, and the metrics are cut. Where there is no terminal, a line is
    printed now and then.
    """

    def __init__(
        self, title: str, total: int, describe: Callable[[dict[str, Any]], str], console: Console | None = None
    ):
        """Prepares the display.

        Args:
            title: what runs.
            total: moments of the whole run.
            describe: the newest metrics as a few words.
            console: where it is shown; the terminal behind stderr by default.
        """
        self._title, self._total, self._describe = title, total, describe
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._began = self._printed = time.monotonic()
        self._first: tuple[int, float] | None = None  # moment and time of the first metrics
        self._done, self._text = 0, ""

    @contextmanager
    def early(self) -> Iterator["Progress"]:
        """Shows the live line before the run is known to be one: while it is imported and built."""
        self._start()
        try:
            yield self
        finally:
            self.__exit__()

    def __enter__(self) -> "Progress":
        self._start()
        if not self._console.is_terminal:
            self._console.print(f"{self._title}: compiling", highlight=False)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self) -> None:
        if self._console.is_terminal and self._live is None:
            self._live = Live(
                get_renderable=self.line, console=self._console, refresh_per_second=8, redirect_stdout=False
            )
            self._live.start()

    def __call__(self, moment: int, metrics: dict[str, Any]) -> None:
        """Shows the metrics of a moment."""
        self._done, self._text = moment + 1, self._describe(metrics)
        if self._first is None:
            self._first = self._done, time.monotonic()
        last = self._done == self._total
        if not self._console.is_terminal and (last or time.monotonic() - self._printed > 10):
            self._printed = time.monotonic()
            self._console.print(f"{self._done}/{self._total}  {self._text}", highlight=False)

    def line(self) -> Text:
        """The line as it is now, no longer than the terminal is wide."""
        width = self._console.width
        now = time.monotonic()
        spinner = self._spinner.render(now)
        line = Text.assemble(spinner if isinstance(spinner, Text) else "", " ", (self._title, "bold"), "  ")
        if self._first is None:
            line.append(f"compiling  {_clock(now - self._began)}")
        else:
            share = self._done / self._total
            if width >= BAR_FROM:
                filled = round(BAR_WIDTH * share)
                line.append("━" * filled, "cyan").append("━" * (BAR_WIDTH - filled), "bright_black").append("  ")
            line.append(f"{self._done}/{self._total}  left {self._left(now)}  {self._text}")
        line.no_wrap, line.overflow = True, "ellipsis"
        line.truncate(width, overflow="ellipsis")
        return line

    def _left(self, now: float) -> str:
        moment, since = self._first or (0, now)
        if self._done <= moment:
            return "-:--" if self._done < self._total else _clock(0)
        return _clock((now - since) / (self._done - moment) * (self._total - self._done))


class JsonLines(AbstractContextManager):
    """Appends the metrics of every moment as a line of JSON to a file; a run folder has ``metrics.jsonl`` anyway."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file: IO[str] | None = None

    def __enter__(self) -> "JsonLines":
        self._file = open(self.path, "a")
        return self

    def __exit__(self, *_: Any) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, moment: int, metrics: dict[str, Any]) -> None:
        """Writes one line."""
        if self._file is not None:
            self._file.write(json_line(metrics))


class TensorBoard(AbstractContextManager):
    """Writes the metrics of every moment as scalars of TensorBoard."""

    def __init__(self, path: str | Path):
        """Prepares the events.

        Args:
            path: their folder.

        Raises:
            RunError: if tensorboardX is not installed.
        """
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise RunError("TensorBoard needs tensorboardX: pip install 'neuralmutator[tensorboard]'") from error
        self._make = lambda: SummaryWriter(str(path))
        self._events: Any = None

    def __exit__(self, *_: Any) -> None:
        if self._events is not None:
            self._events.close()

    def __call__(self, moment: int, metrics: dict[str, Any]) -> None:
        """Writes one point of every curve."""
        if self._events is None:  # not before the run folder exists
            self._events = self._make()
        for name, value in metrics.items():
            for row, number in enumerate(np.ravel(value)):
                self._events.add_scalar(f"{name}/{row}" if np.ndim(value) else name, number, moment)


def _clock(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
