"""The cores of a CPU as devices of JAX."""

import os

import jax
from jax.extend.backend import clear_backends

PATIENT: dict[str, str | bool] = {
    "xla_cpu_collective_call_warn_stuck_seconds": "1000000",
    "xla_cpu_collective_call_terminate_timeout_seconds": "1000000",
}
"""Options of compilation. XLA ends a process in which a core has waited 40 seconds for what another one computes."""


def use_all_cores() -> None:
    """Makes every core that this process may use a device of JAX, so that `fitness.sharded` has several.

    Within one device XLA runs the small operations of an environment on one core. Arrays made before are lost to new
    computations; where JAX uses another platform, nothing changes. Programs that run for long want `PATIENT`.
    """
    if jax.default_backend() == "cpu":
        clear_backends()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        jax.config.update("jax_num_cpu_devices", cores)
