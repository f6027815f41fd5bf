"""Entry point of the command ``neuralmutator``."""

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from neuralmutator.cli.evaluate import Evaluate, evaluate
from neuralmutator.cli.evolve import Evolve, evolve, preset
from neuralmutator.cli.nca import Nca, nca
from neuralmutator.cli.plot import Plot, plot
from neuralmutator.cli.quine import Quine, quine
from neuralmutator.cli.replay import Replay, replay
from neuralmutator.runs.devices import use_all_cores
from neuralmutator.runs.folder import RunError
from neuralmutator.runs.runner import InterruptedRunError

COMMANDS: dict[type, Callable[[Any], int]] = {
    Evolve: evolve,
    Evaluate: evaluate,
    Replay: replay,
    Plot: plot,
    Quine: quine,
    Nca: nca,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments; those of the process by default.

    Returns:
        Exit status: 0, 2 after bad input (one line on stderr says what), 130 after an interruption.
    """
    try:
        options = _parse(list(sys.argv[1:] if argv is None else argv))
        return COMMANDS[type(options)](options)
    except (ValueError, RunError) as error:
        return _complain(str(error))
    except InterruptedRunError as stop:
        print(f"Stopped after {stop.moment} of {stop.length}; the same with --resume --output {stop.path} goes on.")
        return 130
    except KeyboardInterrupt:
        _complain("stopped")
        return 130
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _parse(argv: list[str]) -> Any:
    """The options of one command; what tyro says in a box about bad ones becomes the one line of a ValueError."""
    commands = (
        Annotated[Evolve, tyro.conf.subcommand("evolve", default=preset(argv))]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Replay, tyro.conf.subcommand("replay")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Quine, tyro.conf.subcommand("quine")]
        | Annotated[Nca, tyro.conf.subcommand("nca")]
    )
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(
                commands,
                prog="neuralmutator",
                description="Networks that rewrite themselves, evolved.",
                args=argv,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        inside = [line.strip("│ ") for line in boxed.getvalue().splitlines() if line.startswith("│")]
        end = next((i for i, line in enumerate(inside) if set(line) == {"─"}), len(inside))
        raise ValueError(" ".join(inside[:end]) or boxed.getvalue()) from stop


def _complain(text: str) -> int:
    print(f"neuralmutator: {' '.join(text.split())}", file=sys.stderr)
    return 2


def command() -> None:
    """The console script, which has the process and all its cores to itself."""
    use_all_cores()
    sys.exit(main())
