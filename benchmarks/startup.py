"""Asks how long ``neuralmutator evolve CartPole-v1`` takes, from nothing to a finished run folder.

Whole processes, interpreter and imports included, one after the other: the first with an empty compilation cache, the
second with what the first has left there. The seconds of processor time say what is the program's own where other work
competes for the machine.

    python benchmarks/startup.py
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import tyro
from timing import finish, table

MOST_SECONDS = 30.0
MOST_OF_FIRST = 0.4  # of the first start, that the second may take
PARTS = ("whole process", "processor time", "until the first generation", "evolution", "champion and figure")


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    runs: int = 3
    generations: int = 50


def measure(generations: int, cache: str) -> list[float]:
    """Seconds of one whole process, and of its parts."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment["XDG_CACHE_HOME"] = cache
    with tempfile.TemporaryDirectory() as parent:
        output = Path(parent) / "run"
        arguments = ["evolve", "CartPole-v1", "--output", str(output), "--generations", str(generations)]
        clock, worked = time.perf_counter(), processor_time()
        subprocess.run(
            [sys.executable, "-m", "neuralmutator", *arguments], check=True, env=environment, capture_output=True
        )
        whole, worked = time.perf_counter() - clock, processor_time() - worked
        result = json.loads((output / "result.json").read_text())
    evolving = result["seconds"] - result["compile_seconds"]
    started = result["compile_seconds"]
    return [whole, worked, started, evolving, whole - result["seconds"]]


def processor_time() -> float:
    """Seconds that all finished child processes have worked, over all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(options: Options) -> None:
    starts: dict[str, list[list[float]]] = {"empty cache": [], "filled cache": []}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as cache:
            for runs in starts.values():
                runs.append(measure(options.generations, cache))
    medians = {name: [median(column) for column in zip(*runs, strict=True)] for name, runs in starts.items()}
    table(
        f"neuralmutator evolve CartPole-v1, {options.generations} generations, seconds, median of {options.runs}",
        ("part", *medians),
        ((part, *values) for part, *values in zip(PARTS, *medians.values(), strict=True)),
    )
    first, second = medians.values()
    names = [part.replace(" ", "_") + "_seconds" for part in PARTS]
    numbers = dict(zip(names, first, strict=True)) | {
        f"filled_{name}": x for name, x in zip(names, second, strict=True)
    }
    numbers["filled_to_empty"] = (second[0] - second[3]) / (first[0] - first[3])
    finish(numbers, at_most={"whole_process_seconds": MOST_SECONDS, "filled_to_empty": MOST_OF_FIRST})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
