import platform
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.runs import devices
from neuralmutator.runs.runner import compile_chunk


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    """Versions before 0.8 know none of them, and a later one may drop any."""
    known = {"xla_cpu_collective_call_warn_stuck_seconds": "50"}
    monkeypatch.setattr(devices, "PATIENT", {"xla_from_another_time": "1"} | known)
    assert devices.compile_options() == known
    program = compile_chunk(lambda key, state, data: (state + 1, state), jax.random.key(0), jnp.float32(0), (), 3)
    state, infos = program(jax.random.key(0), jnp.float32(0), 0, ())
    assert state == 3
    np.testing.assert_array_equal(infos, [0, 1, 2])


def test_this_version_of_xla_waits_for_its_cores():
    """The lower bound of jax in pyproject.toml is the first version that does."""
    assert devices.compile_options() == devices.PATIENT


def test_other_platforms_get_no_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert devices.compile_options() is None


def test_memory_is_given_back_where_the_system_takes_it():
    blocks = [bytes(10_000) for _ in range(20_000)]  # 200 MB in pieces that the C library keeps
    blocks = blocks[::1000]
    before = resident()
    devices.give_back()
    assert platform.libc_ver()[0] != "glibc" or resident() < before - 100 * 2**20
    assert len(blocks) == 20


def resident():
    """Bytes of memory that this process holds; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() if status.exists() else 0
