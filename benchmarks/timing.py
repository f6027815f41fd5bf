"""What the benchmarks share: programs compiled ahead, timed in interleaved rounds, compared within each round.

Other work on the machine slows the programs of one round alike, so the ratios of a round are to be trusted where its
seconds are not. Every number here is a median over rounds; compilation is timed apart.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table

Seconds = Mapping[str, list[float]]  # per program, one number per round


class Program(NamedTuple):
    """A compiled function with its arguments, and the seconds that tracing and compiling took."""

    compiled: Callable
    args: tuple
    compile_seconds: float

    def run(self) -> Any:
        """Calls the function."""
        return self.compiled(*self.args)


def compile_ahead(function: Callable, *args: Any, options: Mapping[str, Any] | None = None) -> Program:
    """Compiles a function for its arguments; they stay arguments, so that nothing is folded into the program."""
    clock = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile(options)
    return Program(compiled, args, time.perf_counter() - clock)


def interleave(programs: Mapping[str, Program], rounds: int, calls: int = 1) -> Seconds:
    """Seconds of a call of each program in each round; the order turns by one program from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        jax.block_until_ready(program.run())  # the first call also pays for fresh memory
    names = list(programs)
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            clock = time.perf_counter()
            for _ in range(calls):
                jax.block_until_ready(programs[name].run())
            seconds[name].append((time.perf_counter() - clock) / calls)
    return seconds


def speed(seconds: Seconds, program: str, other: str) -> float:
    """How many times as fast as another one a program is, the median over the rounds."""
    return median(b / a for a, b in zip(seconds[program], seconds[other], strict=True))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Prints a table; its first column is text, the others are numbers. The title says how busy the machine is."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    sheet = Table(title=f"{title}\n{os.cpu_count()} cores, load {load}, jax {jax.__version__}")
    for i, column in enumerate(columns):
        sheet.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        sheet.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row))
    Console(width=None if os.isatty(1) else 120).print(sheet)


def finish(numbers: Mapping[str, float], at_least: Mapping[str, float] = {}, at_most: Mapping[str, float] = {}) -> None:
    """Prints which bounds hold, and as the last line all numbers as one JSON object."""
    for bounds, word, holds in ((at_least, "at least", float.__ge__), (at_most, "at most", float.__le__)):
        for name, bound in bounds.items():
            verdict = "holds" if holds(float(numbers[name]), float(bound)) else "MISSED"
            print(f"{name}: {numbers[name]:.4g}, {word} {bound:.4g}: {verdict}")
    print(json.dumps({name: float(f"{value:.4g}") for name, value in numbers.items()}))
