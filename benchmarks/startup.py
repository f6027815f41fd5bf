"""Asks how long ``neuralmutator evolve CartPole-v1`` takes, from nothing to a finished run folder.

Whole processes, interpreter and imports included, one after the other, without a compilation cache. The seconds of
processor time say what is the program's own where other work competes for the machine.

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
PARTS = ("whole process", "processor time", "imports", "compilation", "evolution", "figure and exit")


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    runs: int = 3
    generations: int = 50


def measure(generations: int) -> list[float]:
    """Seconds of one whole process, and of its parts."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-m", "neuralmutator"]
    clock = time.perf_counter()
    subprocess.run([*command, "evolve", "--help"], check=True, env=environment, capture_output=True)
    imports = time.perf_counter() - clock
    with tempfile.TemporaryDirectory() as parent:
        output = Path(parent) / "run"
        arguments = ["evolve", "CartPole-v1", "--output", str(output), "--generations", str(generations)]
        clock, worked = time.perf_counter(), processor_time()
        subprocess.run([*command, *arguments], check=True, env=environment, capture_output=True)
        whole, worked = time.perf_counter() - clock, processor_time() - worked
        result = json.loads((output / "result.json").read_text())
    compiling, evolving = result["compile_seconds"], result["seconds"] - result["compile_seconds"]
    return [whole, worked, imports, compiling, evolving, whole - imports - result["seconds"]]


def processor_time() -> float:
    """Seconds that all finished child processes have worked, over all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(options: Options) -> None:
    runs = [measure(options.generations) for _ in range(options.runs)]
    columns = [list(column) for column in zip(*runs, strict=True)]
    table(
        f"neuralmutator evolve CartPole-v1, {options.generations} generations, seconds",
        ("part", *(f"run {i + 1}" for i in range(options.runs)), "median"),
        ((part, *column, median(column)) for part, column in zip(PARTS, columns, strict=True)),
    )
    names = [part.replace(" ", "_") + "_seconds" for part in PARTS]
    numbers = {name: median(column) for name, column in zip(names, columns, strict=True)}
    finish(numbers, at_most={"whole_process_seconds": MOST_SECONDS})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
