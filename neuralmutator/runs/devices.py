"""The cores of a CPU as devices of JAX, and how programs for them are compiled."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Mapping

import jax
from jax.extend.backend import clear_backends

from neuralmutator.core import on_cpu

PATIENT: dict[str, str | bool] = {
    "xla_cpu_collective_call_warn_stuck_seconds": "1000000",
    "xla_cpu_collective_call_terminate_timeout_seconds": "1000000",
}
"""Options of compilation. Without them XLA ends a process in which one core has waited 40 seconds for another."""


SIMULATION: dict[str, str | bool] = {"xla_cpu_use_fusion_emitters": False}
"""More of them for brax and MJX: with XLA's older way of compiling loops their programs are 1.4 to 2 times as fast and
compiled in 0.4 of the time (jaxlib 0.10); CartPole's are slower. From jaxlib 0.11 on there is only the newer way."""


WIDE: dict[str, str | bool] = {"xla_cpu_prefer_vector_width": "512"}
"""For all others: XLA takes half of a CPU's widest registers if not told otherwise, and a generation takes a tenth
longer (jaxlib 0.10)."""


def options_for(env: str) -> dict[str, str | bool]:
    """The options among these for programs of an environment."""
    from neuralmutator.envs import is_simulation  # not above: environments compute, and a host has to join first

    return SIMULATION if is_simulation(env) else WIDE


def compile_options(more: Mapping[str, str | bool] | None = None) -> dict[str, str | bool] | None:
    """The options of `PATIENT`, and `more`, that this version of XLA knows; None where JAX does not use a CPU.

    An option that XLA does not know would end the compilation with an error.
    """
    if not on_cpu():
        return None
    return {name: value for name, value in (PATIENT | dict(more or {})).items() if is_known(name, value)}


def give_back() -> None:
    """Gives memory that is free but still held back to the system: half a GiB after XLA has compiled a generation.

    Where the C library is not GNU's, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def is_known(name: str, value: str | bool) -> bool:
    """Whether this version of XLA takes an option of compilation."""
    try:
        jax.jit(lambda: 0).lower().compile({name: value})
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True


def use_all_cores() -> None:
    """Makes every core that this process may use a device of JAX, so that `fitness.sharded` has several.

    Within one device XLA runs the small operations of an environment on one core. Arrays that were made before cannot
    be used in new computations. Where JAX uses another platform, nothing changes. Programs that run for long should be
    compiled with `compile_options()`.
    """
    if on_cpu():
        clear_backends()
        jax.config.update("jax_num_cpu_devices", cores())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
