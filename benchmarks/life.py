"""Asks how many pairs of programs a second run: in JAX's lanes, in the compiled engine, and in a plain loop.

The plain loop is compiled too, and goes byte by byte as the reference program does: no mask, no cycles, no leaps. All
three run whole epochs, shuffle and mutation included, of the same soups, and the same bits must come out. Seconds are
those of the CPU, the least of some rounds; ratios are medians over rounds. One core is enough:

    taskset -c 0 python benchmarks/life.py
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import jax
import numpy as np
import psutil
import tyro
from numba import njit
from timing import compile_ahead, finish, table

from neuralmutator import life
from neuralmutator.life import native

KEY = jax.random.key(0)
RATE = 2**18
ENGINES = ("jax", "native", "plain loop")
PLANTED = np.frombuffer(bytes([0, 64]) + b"[].>}[.>}]" + 52 * b" ", np.uint8)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    rounds: int = 7
    """Of timing; each engine runs one epoch in each."""
    programs: int = 131_072
    """Of the random soup."""
    grown: int = 8192
    """Of the soup after a takeover."""
    epochs: int = 129
    """Until the planted replicator has taken over."""
    memory_of: Literal["", "jax", "native"] = ""
    """Only print the MiB that an engine takes; the benchmark calls itself for it, in a process of its own."""


_U = np.uint64


@njit(cache=True)
def _hash(x):
    z = x + _U(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
    return z ^ (z >> _U(31))


@njit(cache=True)
def _plain_program(tape, kinds, heads):
    """Kinds: the place in "[]+-.,<>{}" of what a byte does, 10 for a null, 11 for nothing."""
    size = len(tape)
    pc, head, head1 = 0, 0, 0
    if heads:
        pc, head, head1 = 2, tape[0] % size, tape[1] % size
    for _ in range(8192):
        head, head1 = head & (size - 1), head1 & (size - 1)
        does = kinds[tape[pc]]
        if does == 6:
            head -= 1
        elif does == 7:
            head += 1
        elif does == 8:
            head1 -= 1
        elif does == 9:
            head1 += 1
        elif does == 2:
            tape[head] += 1
        elif does == 3:
            tape[head] -= 1
        elif does == 4:
            tape[head1] = tape[head]
        elif does == 5:
            tape[head] = tape[head1]
        elif does == 0 and kinds[tape[head]] == 10:
            depth = 1
            pc += 1
            while pc < size and depth:
                depth += (kinds[tape[pc]] == 0) - (kinds[tape[pc]] == 1)
                pc += 1
            pc -= 1
            if depth:
                return
        elif does == 1 and kinds[tape[head]] != 10:
            depth = 1
            pc -= 1
            while pc >= 0 and depth:
                depth += (kinds[tape[pc]] == 1) - (kinds[tape[pc]] == 0)
                pc -= 1
            pc += 1
            if depth:
                return
        pc += 1
        if pc >= size:
            return


@njit(cache=True)
def _plain_epoch(soup, seed, epoch, kinds, heads):
    programs, length = soup.shape
    order, size = np.arange(programs), 2 * length
    seed = _hash(seed)
    for place in range(programs - 1, -1, -1):
        draw = _hash(_hash(seed ^ _hash(_U(epoch * programs + place))))
        other = np.int64(draw % _U(place + 1))
        order[place], order[other] = order[other], order[place]
    first = _U(programs) * _hash(seed ^ _hash(_U(epoch)))
    tape, after = np.empty(size, np.uint8), np.empty_like(soup)
    for pair in range(programs // 2):
        left, right = order[2 * pair], order[2 * pair + 1]
        tape[:length], tape[length:] = soup[left], soup[right]
        for place in range(size):
            drawn = _hash((first + _U(pair)) * _U(size) + _U(place))
            if (drawn >> _U(8)) & _U(0x3FFFFFFF) < _U(RATE):
                tape[place] = drawn & _U(255)
        _plain_program(tape, kinds, heads)
        after[left], after[right] = tape[:length], tape[length:]
    return after


def plain_loop(language: str, seed: int, state: life.Programs) -> Callable[[], np.ndarray]:
    *codes, _, _, heads, _ = life.get_language(language).kernel[1]
    kinds = np.full(256, 11, np.uint8)
    kinds[codes], kinds[0] = np.arange(10), 10
    soup, epoch = np.array(state.bytes), int(state.epoch)
    return lambda: _plain_epoch(soup, _U(seed), epoch, kinds, bool(heads))


def compare(title: str, language: str, seed: int, state: life.Programs, rounds: int) -> tuple[list[list], dict]:
    """A row an engine, and the numbers of all."""
    runs: dict[str, Callable[[], Any]] = {}
    compiling = dict.fromkeys(ENGINES, 0.0)
    for engine in ("jax", "native"):
        soup = life.soup(language, len(state.bytes), stream=life.cubff(seed), engine=engine)
        program = compile_ahead(soup.step, KEY, state)
        compiling[engine] = program.compile_seconds
        runs[engine] = lambda program=program: np.asarray(program.run()[0].bytes)
    runs["plain loop"] = plain_loop(language, seed, state)
    outcomes, seconds = {}, {engine: [] for engine in ENGINES}
    for engine, run in runs.items():  # numba compiles at its first call, or takes what an earlier process has compiled
        clock = time.perf_counter()
        outcomes[engine] = run()
        compiling[engine] += (time.perf_counter() - clock) * (engine != "jax")
    for _ in range(rounds):
        for engine, run in runs.items():
            clock = time.process_time()
            run()
            seconds[engine].append(time.process_time() - clock)
    pairs = len(state.bytes) / 2e6
    best = {engine: pairs / min(seconds[engine]) for engine in ENGINES}
    ratios = {
        engine: median(b / a for a, b in zip(seconds[engine], seconds["plain loop"], strict=True)) for engine in ENGINES
    }
    rows = [[title, engine, best[engine], ratios[engine], compiling[engine]] for engine in ENGINES]
    numbers = {f"{title}: {engine}": best[engine] for engine in ENGINES}
    numbers |= {f"{title}: {engine} / plain loop": ratios[engine] for engine in ("jax", "native")}
    same = all(np.array_equal(outcomes["plain loop"], outcomes[engine]) for engine in ENGINES)
    return rows, numbers | {f"{title}: same bits": float(same)}


def random_soup(programs: int) -> life.Programs:
    return life.soup("bff_noheads", programs, stream=life.cubff(10248)).init(KEY)


def grown_soup(options: Options) -> life.Programs:
    soup = life.soup("bff", options.grown, stream=life.cubff(1), engine="native")
    state = life.plant(soup.init(KEY), PLANTED)
    grow = jax.jit(lambda state: jax.lax.fori_loop(0, options.epochs, lambda _, x: soup.step(KEY, x)[0], state))
    return grow(state)


def memory(options: Options) -> float:
    """MiB at the peak of three epochs, beyond the process with its compiled step."""
    soup = life.soup("bff_noheads", options.programs, stream=life.cubff(10248), engine=options.memory_of)
    given = life.Programs(jax.ShapeDtypeStruct((options.programs, 64), np.uint8), jax.ShapeDtypeStruct((), np.int32))
    step, process = compile_ahead(soup.step, KEY, given).compiled, psutil.Process()
    before, stop, seen = process.memory_info().rss, threading.Event(), []

    def watch() -> None:
        while not stop.wait(0.002):
            seen.append(process.memory_info().rss)

    state = jax.block_until_ready(soup.init(KEY))
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(3):
        state, _ = jax.block_until_ready(step(KEY, state))
    stop.set()
    watcher.join()
    return (max(seen) - before) / 2**20


def main(options: Options) -> None:
    if options.memory_of:
        print(memory(options))
        return
    rows, numbers = [], {}
    soups = {
        "random": ("bff_noheads", 10248, random_soup(options.programs)),
        "grown": ("bff", 1, grown_soup(options)),
    }
    for title, soup in soups.items():
        some, measured = compare(title, *soup, options.rounds)
        rows += some
        numbers |= measured
    sizes = f"{options.programs} random, {options.grown} after {options.epochs} epochs with a replicator"
    columns = ("soup", "engine", "M pairs / CPU s", "/ plain loop", "compile s")
    table(f"Whole epochs: {sizes}; {native.__name__} on {native._cores()} cores", columns, rows)
    for engine in ("jax", "native"):
        command = [sys.executable, __file__, "--memory-of", engine, "--programs", str(options.programs)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        numbers[f"memory: {engine}, MiB"] = float(out.split()[-1])
    finish(
        numbers,
        at_least={
            "random: jax": 0.4,
            "grown: jax": 0.25,
            "random: native": 1.2,
            "random: same bits": 1.0,
            "grown: same bits": 1.0,
        },
        at_most={"memory: jax, MiB": 300, "memory: native, MiB": 300},
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
