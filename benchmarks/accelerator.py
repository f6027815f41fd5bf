"""Asks everything that matters on an accelerator, in one command; a person with a GPU or a TPU runs it.

The scripts of this folder, one process after another: evaluation and whole generations beside a bare rollout and
evosax, environments, brax, automata, quines, and several devices where there are any. Each times its peers in the same
run; a peer that is not installed is left out (``pip install "cax>=0.4" torch``). The last line holds all numbers as one
JSON object, with the kind of device.

    python benchmarks/accelerator.py           # some 15 minutes; --quick: smaller, to see that it runs whole
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

HERE = Path(__file__).parent
SCRIPTS: dict[str, str] = {
    "evaluation": "--populations 1 --steps 20 --rounds 1",
    "generation": "--population 16 --episodes 1 --steps 20 --rounds 1",
    "reproduction": "--rounds 1 --calls 1",
    "env_speed": "--landers 8 --lander-episodes 1 --drivers 8 --tracks 1 --steps 5 --rounds 1",
    "physics": "--tasks inverted_pendulum --population 4 --steps 5 --rounds 1",
    "nca": "--rounds 1 --forward-steps 2 --training-steps 2 --cax-training-steps 1",
    "quine": "--rounds 1 --batches 20 --quines 2 --networks 100 --epochs 10",
    "devices": "--population 64 --steps 20 --rounds 1",
}
"""The scripts, and the arguments that make them small."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    scripts: tuple[str, ...] = tuple(SCRIPTS)
    """Names of scripts of this folder."""
    quick: bool = False
    """Small sizes, whose numbers mean nothing."""


def device() -> str:
    """Kind, number and platform of the devices, and the version of JAX; asked by a process that then lets them go."""
    program = "import jax; d = jax.devices(); print(len(d), d[0].device_kind, d[0].platform, 'jax', jax.__version__)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def numbers_of(script: str, arguments: str) -> dict[str, float] | None:
    """What a script prints as its last line; None where it fails. All that it prints is shown."""
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments.split()]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return None


def main(options: Options) -> int:
    found: dict[str, object] = {"device": device()}
    print(found["device"], flush=True)
    failed = []
    for script in options.scripts:
        print(f"== {script}", flush=True)
        numbers = numbers_of(script, SCRIPTS.get(script, "") if options.quick else "")
        if numbers is None:
            failed.append(script)
        else:
            found |= {f"{script}/{name}": value for name, value in numbers.items()}
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(json.dumps(found))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
