"""Several processes that compute one run, each with its own devices; usually one on each machine.

All run the same program on the same arrays, of which each holds its rows (`population.distribute`). What depends on one
of them alone, such as a clock or a signal, they must agree on. Where there is one process, everything here is trivial.
"""

import os
import re
import zlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from neuralmutator.runs.devices import cores
from neuralmutator.runs.errors import RunError, UserError

HEARTBEAT = 30  # seconds without a sign of life after which a process is lost
PATIENCE = 120  # seconds that processes wait for one another at the start
ABSENT = "the first host did not answer in time, or not all of the others came"
LOST = "another host of this run has ended or cannot be reached; --resume goes on with as many hosts as there are"


def join(number: int, index: int, coordinator: str, patience: int = PATIENCE) -> None:
    """Makes this process one of several; before anything is computed.

    The first process listens at the coordinator's address, and on no other of its machine. Nothing but the network
    keeps strangers from that port: it must be one that only the hosts can reach.

    Args:
        number: of all processes.
        index: of this one, 0 … number - 1.
        coordinator: ``HOST:PORT`` of the first process, as all can reach it.
        patience: seconds to wait for the others.

    If the others do not come in time, JAX ends the process; `why_aborted` says so.

    Raises:
        UserError: naming the argument, its value and what is allowed.
        RunError: if the first process cannot listen there.
    """
    if number < 1:
        raise UserError(f"hosts must be at least 1, got {number}")
    if not 0 <= index < number:
        raise UserError(f"host-index must lie between 0 and {number - 1}, got {index}")
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"coordinator must be HOST:PORT, got {coordinator!r}")
    _initialize(
        coordinator_address=coordinator,
        num_processes=number,
        process_id=index,
        coordinator_bind_address=coordinator,
        cluster_detection_method="deactivate",
        initialization_timeout=patience,
    )


def join_scheduled(patience: int = PATIENCE) -> None:
    """The same, where SLURM or Kubernetes say how many there are, which is this one, and where the first is.

    Raises:
        RunError: if they do not.
    """
    _initialize(initialization_timeout=patience)


def _initialize(**settings: object) -> None:
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cores())
    try:
        jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT, **settings)  # type: ignore[arg-type]
    except (RuntimeError, ValueError) as error:
        raise RunError(f"cannot become one of several hosts: {' '.join(str(error).split())[:160]}") from error


def several() -> bool:
    """Whether this run is computed by several processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def leads() -> bool:
    """Whether this process writes what only one may write."""
    return not several() or jax.process_index() == 0


def part() -> tuple[int, int]:
    """Number of this process, and of all."""
    return (jax.process_index(), jax.process_count()) if several() else (0, 1)


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Whether a flag holds for any process; all must ask."""
    if not several():
        return flags
    return tuple(map(bool, np.any(multihost_utils.process_allgather(np.array(flags)), axis=0)))


def of_first(number: int) -> int:
    """The first process' number; all must ask."""
    if not several():
        return number
    return int(multihost_utils.broadcast_one_to_all(np.array(number)))


def check_alike(text: str) -> None:
    """Sees whether all processes were given the same.

    Raises:
        UserError: if not.
    """
    if not several():
        return
    mine = zlib.crc32(text.encode()) >> 1  # 31 bits
    if any_of(mine != of_first(mine))[0]:
        raise UserError("all hosts must be given the same options; runs of their own, with --hosts 1, need not")


def is_loss(error: BaseException) -> bool:
    """Whether an error says that another process does not answer any more."""
    return several() and bool(re.search(r"gloo|nccl|coordination|heartbeat", str(error), re.IGNORECASE))


def why_aborted(said: str) -> str | None:
    """Why JAX has ended a process by an abort, from what it said; None if not for the sake of other processes."""
    if "RegisterTask" in said:
        return ABSENT
    return LOST if "distributed service" in said else None
