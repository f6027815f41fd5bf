"""Times updates of texture automata, and their gradients, beside the same in PyTorch.

PyTorch runs eagerly, with grouped convolutions, as the published notebooks do.

    python benchmarks/relatives.py              # the peer is left out where missing: pip install torch
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from timing import compile_ahead, finish, speed, table

from neuralmutator import nca, rollout
from neuralmutator.core import each

SIDE, BATCH = 128, 4
FLOOR = 2.0
AUTOMATA: Mapping[str, Callable[[], nca.Automaton]] = {
    "micro 68": lambda: nca.micro(4),
    "micro 588": lambda: nca.micro(12),
    "texture": nca.texture,
    "reaction": nca.reaction_diffusion,
}


@dataclass(frozen=True)
class Options:
    """What is measured."""

    automata: tuple[str, ...] = tuple(AUTOMATA)
    """Which of them."""
    updates: int = 8
    """Updates in a call."""
    rounds: int = 7
    """Rounds in which all are timed, one after another."""


def ours(automaton: nca.Automaton, updates: int) -> tuple[Callable, Callable, tuple]:
    """Forward, gradient, and their arguments."""
    params = automaton.init(jax.random.key(0)) + 1e-3
    start = jax.vmap(lambda key: automaton.start(key, (SIDE, SIDE)))(jax.random.split(jax.random.key(1), BATCH))

    def run(params: jax.Array, key: jax.Array, cells: jax.Array) -> jax.Array:
        return rollout(automaton.step(params), key, cells, updates)[0]

    def forward(key: jax.Array, params: jax.Array, start: jax.Array) -> jax.Array:
        return each(lambda key, cells: run(params, key, cells), jax.random.split(key, BATCH), start)

    def gradient(key: jax.Array, params: jax.Array, start: jax.Array) -> jax.Array:
        slope = jax.grad(lambda params, key, cells: jnp.mean(run(params, key, cells) ** 2))
        return jnp.mean(each(lambda key, cells: slope(params, key, cells), jax.random.split(key, BATCH), start), 0)

    return forward, gradient, (jax.random.key(2), params, start)


def in_torch(name: str, updates: int) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """Forward and gradient of the same automaton; None without PyTorch."""
    try:
        import torch
        from torch.nn import functional
    except ImportError:
        return None
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    laplacian = torch.tensor([[1.0, 2.0, 1.0], [2.0, -12.0, 2.0], [1.0, 2.0, 1.0]])
    identity = torch.zeros(3, 3)
    identity[1, 1] = 1

    def filtered(x: Any, kernels: Any) -> Any:
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1), "circular"), kernels, groups=x.shape[1])

    if name.startswith("micro"):
        channels = {"micro 68": 4, "micro 588": 12}[name]
        first, second, third = {4: (2, 1, 1), 12: (4, 4, 4)}[channels]
        kernels = torch.stack([laplacian] * first + [sobel] * second + [sobel.T] * third)[:, None]
        dense = torch.nn.Conv2d(4 * channels, channels, 1)

        def update(x: Any) -> Any:
            seen = torch.cat([x, filtered(x, kernels)], 1)
            return x + 1e-2 * dense(torch.cat([seen, seen.abs()], 1))
    else:
        channels, hidden = (12, 96) if name == "texture" else (32, 128)
        seen_channels = 4 * channels if name == "texture" else channels
        one, two = torch.nn.Conv2d(seen_channels, hidden, 1), torch.nn.Conv2d(hidden, channels, 1)
        if name == "texture":
            kernels = torch.stack([identity, sobel / 8, sobel.T / 8, laplacian / 8]).repeat(channels, 1, 1)[:, None]

            def update(x: Any) -> Any:
                fires = torch.rand(BATCH, 1, SIDE, SIDE) <= 0.5
                return x + 1e-2 * two(torch.relu(one(filtered(x, kernels)))) * fires
        else:
            kernels = (laplacian / 16).repeat(channels, 1, 1)[:, None]
            rates = torch.tensor([0.125] * 16 + [1.0] * 16)[:, None, None]

            def update(x: Any) -> Any:
                return x + rates * filtered(x, kernels) + two(torch.tanh(one(x))) - 0.05 * x

    start = torch.rand(BATCH, channels, SIDE, SIDE) - 0.5

    def run() -> Any:
        x = start
        for _ in range(updates):
            x = update(x)
        return x

    def forward() -> None:
        with torch.no_grad():
            run()

    return forward, lambda: (run() ** 2).mean().backward()


def timed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    clock = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - clock


def main(options: Options) -> None:
    rows, numbers, at_least = [], {}, {}
    for name in options.automata:
        forward, gradient, args = ours(AUTOMATA[name](), options.updates)
        programs = {"forward": compile_ahead(forward, *args), "gradient": compile_ahead(gradient, *args)}
        calls: dict[str, Callable[[], Any]] = {kind: program.run for kind, program in programs.items()}
        if (pair := in_torch(name, options.updates)) is not None:
            calls |= {"PyTorch forward": pair[0], "PyTorch gradient": pair[1]}
        seconds: dict[str, list[float]] = {kind: [] for kind in calls}
        for call in calls.values():
            call()
        for _ in range(options.rounds):
            for kind, call in calls.items():
                seconds[kind].append(timed(call))
        for kind in programs:
            ratio = speed(seconds, kind, f"PyTorch {kind}") if pair is not None else float("nan")
            milliseconds = 1e3 * median(seconds[kind]) / options.updates
            rows.append([name, kind, programs[kind].compile_seconds, milliseconds, ratio])
            if pair is not None:
                key = f"{name.replace(' ', '_')}_{kind}_to_torch"
                numbers[key], at_least[key] = ratio, FLOOR
    columns = (f"batch of {BATCH}, {SIDE} × {SIDE} cells", "", "compile s", "ms an update", "times as fast as PyTorch")
    table("Texture automata", columns, rows)
    finish(numbers, at_least)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
