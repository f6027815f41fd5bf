"""Several processes that compute one run; they are processes of this machine."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuralmutator.runs import hosts
from neuralmutator.runs.errors import UserError
from neuralmutator.runs.folder import RunFolder

RUN = (
    "evolve Pendulum-v1 --population-size 16 --episodes 1 --max-steps 20 --generations {} --test-episodes 2 "
    "--save-every 0 --mutator gaussian --policy.hidden 8 --elites 1"
)


def start(output, number=1, generations=300, more=(), each=()):
    """The processes of a run with one device each; `each` has more arguments of single ones."""
    arguments = [
        sys.executable,
        "-m",
        "neuralmutator",
        *RUN.format(generations).split(),
        "--output",
        str(output),
        *more,
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    named = [["--hosts", str(number), "--host-index", str(i), "--coordinator", place] for i in range(number)]
    own = each or [()] * number
    return [
        subprocess.Popen(
            [*arguments, *own[i], *(named[i] if number > 1 else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
        )
        for i in range(number)
    ]


def wait_for(processes, output, moment):
    """Until the run has computed so many moments."""
    lines = Path(output) / "metrics.jsonl"
    while not lines.exists() or lines.read_text().count("\n") < moment:
        assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
        time.sleep(0.05)


def what_came_of(output):
    folder = RunFolder(output)
    result = json.loads((folder.path / "result.json").read_text())
    return [*folder.load_champion(), *folder.history().values(), result["champion_mean"], result["moments"]]


@pytest.mark.slow
def test_what_four_processes_began_two_and_one_end_with_the_bits_of_one(tmp_path):
    (alone,) = start(tmp_path / "alone")
    assert alone.wait() == 0
    together = start(tmp_path / "four", 4)
    wait_for(together, tmp_path / "four", 40)
    together[2].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    for i in (0, 1, 3):
        said = together[i].communicate(timeout=60)[1].splitlines()
        assert together[i].returncode == 2
        assert said[-1] == f"neuralmutator: {hosts.LOST}"
        assert i == 0 or len(said) == 1
    assert time.monotonic() - killed < 60
    shutil.copytree(tmp_path / "four", tmp_path / "copy")
    for output, number in (("four", 2), ("copy", 1)):
        rest = start(tmp_path / output, number, more=["--resume"])
        assert [process.wait() for process in rest] == [0] * number
        for a, b in zip(what_came_of(tmp_path / output), what_came_of(tmp_path / "alone"), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_signal_to_one_saves_all(tmp_path):
    processes = start(tmp_path / "run", 2, 10**6)
    wait_for(processes, tmp_path / "run", 20)
    processes[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [130, 130]
    assert "Interrupted after" in said[0] and said[1] == ""
    moment = int(said[0].split("Interrupted after ")[1].split()[0])
    assert (tmp_path / "run" / "checkpoints" / f"{moment}.2of2.npz").exists()


@pytest.mark.slow
def test_hosts_with_other_options_are_refused(tmp_path):
    for process in start(tmp_path / "run", 2, 10, each=[("--seed", "1"), ("--seed", "2")]):
        assert "must be given the same options" in process.communicate(timeout=120)[1]
        assert process.returncode == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, "a:1"), "hosts must be at least 1, got 0"),
        ((2, 2, "a:1"), "host-index must lie between 0 and 1, got 2"),
        ((2, -1, "a:1"), "host-index must lie between 0 and 1, got -1"),
        ((2, 0, "a"), "coordinator must be HOST:PORT, got 'a'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        hosts.join(*arguments)


def test_no_import_on_the_way_to_joining_computes_anything():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    joins = (
        f"from neuralmutator.cli import hosts, main; from neuralmutator.runs.hosts import join; join(1, 0, '{place}')"
    )
    done = subprocess.run([sys.executable, "-c", joins], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_one_process_agrees_with_itself():
    assert not hosts.several() and hosts.leads() and hosts.part() == (0, 1)
    assert hosts.any_of(True, False) == (True, False)
    assert hosts.of_first(7) == 7
    hosts.check_alike("anything")
    assert not hosts.is_loss(ValueError("Gloo all-reduce failed"))


def test_why_a_process_was_aborted():
    fatal = "Terminating process because the JAX distributed service detected fatal errors."
    assert hosts.why_aborted(f"{fatal}\nRPC: /xla.coordination.CoordinationService/RegisterTask") == hosts.ABSENT
    assert hosts.why_aborted(fatal) == hosts.LOST
    assert hosts.why_aborted("free(): invalid pointer") is None
