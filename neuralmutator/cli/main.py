"""Entry point of the command ``neuralmutator``."""

import contextlib
import difflib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from neuralmutator import __version__
from neuralmutator.cli import options
from neuralmutator.cli.status import status_of
from neuralmutator.runs.errors import UserError


class Command(NamedTuple):
    """A command: the module, and in it the dataclass of its options and the function that runs it."""

    module: str
    options: str
    function: str
    about: str


COMMANDS = {
    "evolve": Command("evolve", "Evolve", "evolve", "evolve a population on an environment"),
    "evaluate": Command("evaluate", "Evaluate", "evaluate", "play the champion of a run on fresh episodes"),
    "replay": Command("replay", "Replay", "replay", "film the champion of a run"),
    "plot": Command("plot", "Plot", "plot", "draw the course of runs, of every kind"),
    "quine": Command("quine", "Quine", "quine", "train networks that output their own weights"),
    "nca": Command("nca", "Nca", "nca", "train, film and pack cellular automata"),
    "life": Command("life", "Life", "life", "run soups of programs in which replicators arise"),
    "analyse": Command("analyse", "Analyse", "analyse", "say what the mutators of runs have learnt"),
    "study": Command("study", "Study", "study", "compare methods on tasks at equal evaluations"),
    "envs": Command("envs", "Envs", "envs", "list the environments that evolve takes"),
}
"""Each is imported when it is called."""

USAGE = """usage: neuralmutator COMMAND [OPTIONS]

Self-replicating neuroevolution: networks that rewrite themselves, evolved.

{commands}

neuralmutator COMMAND --help shows the options of a command. Before or after them:
  --version                show the version
  --debug                  show where an error comes from
  --no-compilation-cache   compile everything anew; also NEURALMUTATOR_COMPILATION_CACHE=0.
                           Compiled programs are kept in the user's cache folder
                           (~/.cache/neuralmutator), or in JAX_COMPILATION_CACHE_DIR.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments; those of the process by default.

    Returns:
        Exit status: 0; 1 after an error of the program, with its traceback; 2 after bad input, with one line on stderr;
        130 after an interruption; 141 where nobody reads the output any more.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options.debug = "--debug" in arguments
    return status_of(partial(_run, [argument for argument in arguments if argument != "--debug"]))


def _run(argv: list[str]) -> int:
    if "--no-compilation-cache" in argv:
        os.environ["NEURALMUTATOR_COMPILATION_CACHE"] = "0"
        argv = [argument for argument in argv if argument != "--no-compilation-cache"]
    if argv[:1] == ["--version"]:
        print(f"neuralmutator {__version__}")
        return 0
    if argv[:1] in (["--help"], ["-h"]):
        print(USAGE.format(commands="\n".join(f"  {name:10}{command.about}" for name, command in COMMANDS.items())))
        return 0
    function, chosen = parse(argv)
    return function(chosen)


def parse(argv: Sequence[str]) -> tuple[Callable[[Any], int], Any]:
    """The function that a command line calls, and its options; nothing is run.

    Raises:
        UserError: if there is no such command or option, or a value is not one that the option takes.
    """
    if not argv:
        raise UserError(f"name a command: {', '.join(COMMANDS)}; --help says more")
    if argv[0] not in COMMANDS:
        near = difflib.get_close_matches(argv[0], COMMANDS, 1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(COMMANDS)}"
        raise UserError(f"unknown command {argv[0]!r}; {meant}")
    command = COMMANDS[argv[0]]
    module = import_module(f"neuralmutator.cli.{command.module}")
    defaults = module.defaults(argv) if hasattr(module, "defaults") else None
    return getattr(module, command.function), _parse(getattr(module, command.options), list(argv), defaults)


def _parse(kind: Any, argv: list[str], defaults: Any) -> Any:
    """The options of one command; what tyro says in a box about bad ones becomes the one line of a UserError."""
    import tyro

    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            given = {} if defaults is None else {"default": defaults}
            return tyro.cli(kind, prog=f"neuralmutator {argv[0]}", args=argv[1:], **given)
    except SystemExit as stop:
        if not stop.code:
            raise
        said = re.sub(r"[\u2500-\u257f]+|-{5,}", " ", boxed.getvalue()).split("For full helptext")[0]
        # The heading of the box often says the same.
        raise UserError(re.sub(r"^(\w[\w ]*) (?=\1\b)", "", " ".join(said.split()))) from stop


def command() -> None:
    """The console script, which has the process and all its cores to itself."""
    options.own_process = True
    try:
        status = main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:  # while this program was imported, or another one while it was stopping
        status = 130
    if status == 130:
        # A second stop must not disturb the end, which waits for nothing that is being compiled or computed.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 141
    if status in (130, 141):
        # Python would wait for compiler threads, and complain about the closed pipe.
        os._exit(status)
    sys.exit(status)
