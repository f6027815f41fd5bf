"""What becomes of a command: its exit status, and a line for whoever gave it."""

import sys
import traceback
from collections.abc import Callable

from neuralmutator import __version__
from neuralmutator.cli import options
from neuralmutator.runs.errors import InterruptedRunError, RunError, UserError


def status_of(work: Callable[[], int]) -> int:
    """The exit status of some work, which may raise anything: see `main.main`."""
    try:
        return work()
    except (UserError, RunError) as error:
        if options.debug:
            traceback.print_exc()
        return _complain(str(error))
    except InterruptedRunError as stop:
        if stop.leads:
            print(
                f"Interrupted after {stop.moment} of {stop.length}. To go on, give the same command with "
                f"--resume --output {stop.path}",
                flush=True,
            )
        return 130
    except KeyboardInterrupt:
        _complain("stopped")
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        if options.debug:
            traceback.print_exc()
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        traceback.print_exc()
        _complain(f"this is an error of neuralmutator {__version__}, not of your input: {type(error).__name__}")
        return 1


def _complain(text: str) -> int:
    print(f"neuralmutator: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return 2
