"""A command that is one of several processes of a run, see `runs.hosts`."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from neuralmutator.cli.options import note
from neuralmutator.runs.errors import UserError

if TYPE_CHECKING:
    from typing import IO

STOPS = ("SIGINT", "SIGTERM", "SIGHUP")


def are_scheduled(variables: Mapping[str, str] = os.environ) -> bool:
    """Whether a scheduler has started this process as one of several: a SLURM step, or an indexed job of Kubernetes."""
    if int(variables.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return True
    return {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= {*variables}


def supervised(work: Callable[[], int]) -> int:
    """Does the work in a process of its own, and says in one line how it was lost, if it was.

    JAX ends a process that has lost the others by an abort in the middle of whatever it does, after pages of what its
    libraries have to say. That goes to a file, and is shown only where the reason is another one.

    Returns:
        The exit status.

    Raises:
        UserError: on a system that cannot do it.
    """
    if not hasattr(os, "fork"):
        raise UserError("--hosts needs a system with fork: Linux or macOS")
    with tempfile.TemporaryFile() as said:
        alive, ours = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            os.close(ours)
            _work(work, alive, said)
        os.close(alive)
        for name in STOPS:
            signal.signal(getattr(signal, name), lambda number, _: os.kill(child, number))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status >= 0:
            return status
        said.seek(0)
        text = said.read().decode(errors="replace")
        from neuralmutator.runs.hosts import why_aborted

        if status == -signal.SIGABRT and (reason := why_aborted(text)):
            note(reason)
            return 2
        sys.stderr.write(text)
        note(f"the process was ended by signal {-status}")
        return 1


def _work(work: Callable[[], int], alive: int, said: "IO[bytes]") -> NoReturn:
    """The life of the process that works."""
    # Signals of the terminal come from the one that waits for it.
    os.setpgid(0, 0)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    for number in (1, 2):
        os.dup2(said.fileno(), number)

    def watch() -> None:
        os.read(alive, 1)  # ends with the process that waits
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    status: Any = 1
    try:
        status = work()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if status in (0, 130):  # ends that the others have as well
            import jax

            jax.distributed.shutdown()  # waits for them
    finally:
        os._exit(status)  # whatever happens: this is a copy of the process that waits
