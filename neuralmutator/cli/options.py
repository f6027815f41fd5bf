"""What all commands that leave a run folder share."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from neuralmutator.runs.errors import RunError, UserError

if TYPE_CHECKING:
    from neuralmutator.runs.story import Run, Story


OUTPUT = tyro.conf.arg(aliases=["-o"])
"""How every command takes where it writes to."""

own_process = False
"""Whether this process is the command and no other program: set by `main.command`."""

debug = False
"""Whether errors show where they come from: set by `main.main`."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run is kept and how it is shown."""

    output: Annotated[Path | None, OUTPUT] = None
    """The run folder; the first of runs/NAME-1, -2 … that is free if not given."""
    resume: bool = False
    """Go on with the run in --output, from its newest checkpoint."""
    save_every: float = 10.0
    """Seconds between two checkpoints."""
    time_limit: float | None = None
    """Seconds after which the run ends early, as soon as it can; it can be resumed."""
    quiet: bool = False
    """No progress display."""

    def folder(self, name: str) -> Path:
        """The run folder, by default a free one of this name.

        Raises:
            UserError: if a run shall be resumed and none is named, or another option cannot be used.
        """
        if not self.save_every >= 0:
            raise UserError(f"save-every must be at least 0, got {self.save_every}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UserError(f"time-limit must be above 0, got {self.time_limit}")
        if self.resume and self.output is None:
            raise UserError("--resume needs --output, the folder of the run to go on with")
        return self.output or free_folder(name)


def run_story(
    kind: str,
    config: Any,
    options: RunOptions,
    output: Path,
    title: str,
    length: int,
    build: Callable[[], "Run"] | None = None,
    sinks: Sequence[Callable[[int, dict[str, Any]], None]] = (),
    stop: Sequence[Callable[..., str | None]] = (),
    resume: bool | None = None,
) -> dict[str, Any]:
    """Runs a story with its live line, draws its figures, and says how it ended.

    Args:
        kind: name of the story.
        config: its configuration.
        options: those that all runs share.
        output: the run folder.
        title: what the live line calls the run.
        length: moments of the run.
        build: builds the run; by default the story does, of `config`.
        sinks: more that sees the metrics of every moment.
        stop: more that ends the run early.
        resume: whether the run goes on; by default what the options say.

    Returns:
        The result, as in `result.json`.
    """
    from neuralmutator.runs.sinks import Progress
    from neuralmutator.runs.stories import STORIES

    display = None if options.quiet else Progress(title, length, lambda metrics: STORIES[kind].describe(metrics))
    with display.early() if display else nullcontext():
        # Imported while the live line is shown already.
        prepare_jax()
        from neuralmutator.runs.hosts import leads
        from neuralmutator.runs.runner import execute, time_limit

        story = STORIES[kind]
        limits = [] if options.time_limit is None else [time_limit(options.time_limit)]
        result = execute(
            build or (lambda: story.build(config)),
            output,
            resume=options.resume if resume is None else resume,
            save_every=options.save_every,
            sinks=[*([display] if display else []), *sinks],
            stop=[*limits, *stop],
            tell=note,
        )
    if not leads():
        return result
    draw(story, output)
    if result["stopped"]:
        print(f"Ended early: {result['stopped']}.")
    print(story.summary(output, result))
    return result


def draw(story: "Story", output: Path) -> None:
    """Draws the course of a run into its folder, and what else its story shows."""
    from neuralmutator.runs.folder import RunFolder

    folder = RunFolder(output)
    try:
        story.figure([folder], None).savefig(output / "training.png", dpi=150)
    except RunError as error:  # a run whose metrics were lost has ended nevertheless
        note(str(error))
    for name, figure in story.pictures(folder).items():
        figure.savefig(output / f"{name}.png")


def prepare_jax() -> None:
    """Before the first array is made: all cores, and a cache of compiled programs, where the process is the command."""
    if own_process:
        from neuralmutator.runs.cache import use_cache
        from neuralmutator.runs.devices import use_all_cores
        from neuralmutator.runs.hosts import several

        use_cache()
        if not several():  # those of several processes have them already
            use_all_cores()


def note(text: str) -> None:
    """Says something that the user must know on stderr."""
    import sys

    print(f"neuralmutator: {text}", file=sys.stderr, flush=True)


def free_folder(name: str) -> Path:
    """The first of runs/NAME-1, -2 … that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name.replace('/', '_')}-{number}").exists():
        number += 1
    return folder
