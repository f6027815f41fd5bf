import subprocess
import sys

import pytest

from neuralmutator.cli.hosts import are_scheduled


@pytest.mark.parametrize(
    ("variables", "joined"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4"}, False),  # in a batch script, outside of a step
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
    ],
)
def test_who_is_one_of_several(variables, joined):
    assert are_scheduled(variables) == joined


PROGRAM = """
import os, signal, sys, time
from neuralmutator.cli.hosts import supervised

def aborted():
    os.write(2, b"{said}\\n")
    os.abort()

def ended():
    print("heard")
    os.write(1, b"not heard\\n")
    os._exit(3)

sys.exit(supervised({work}))
"""


def supervise(work, said=""):
    program = PROGRAM.replace("{said}", said).replace("{work}", work)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_what_libraries_say_is_heard_only_where_nothing_else_tells_why_it_ended():
    assert supervise("ended") == (3, "heard\n", [])
    status, _, said = supervise("aborted", "the JAX distributed service detected fatal errors")
    assert status == 2 and len(said) == 1 and "another host of this run has ended" in said[0]
    status, _, said = supervise("aborted", "free(): invalid pointer")
    assert status == 1 and said[0] == "free(): invalid pointer"
    assert said[-1] == "neuralmutator: the process was ended by signal 6"
