"""Asks how fast a growing automaton is updated and trained.

Batch 8 of 72 × 72 cells with 16 channels and 128 hidden units: 64 updates beside CAX's growing automaton, PyTorch and
the machine's peak; then as many with their gradient beside CAX as shipped and PyTorch. Ours computes every cell: the
windows by which a training skips empty ones are left out.

    python benchmarks/nca.py              # peers, left out where missing: pip install "cax>=0.4" torch
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from timing import compile_ahead, finish, speed, table

from neuralmutator import nca, rollout
from neuralmutator.core import each

BATCH, SIDE, CHANNELS, HIDDEN = 8, 72, 16, 128
FLOP = 2 * BATCH * SIDE**2 * (3 * CHANNELS * HIDDEN + HIDDEN * CHANNELS)  # of an update's matrix products
CAX_VERSION = (0, 4)
FORWARD, PEAK_SHARE, TRAINING, TORCH = 2.7, 0.5, 25.0, 1.2


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    rounds: int = 7
    forward_steps: int = 64
    training_steps: int = 64
    cax_training_steps: int = 4
    """Of CAX, whose training takes most of a second per update here; its time is scaled."""


def ours(options: Options) -> tuple[Callable, Callable, tuple]:
    """Forward and gradient of a batch, and their arguments."""
    automaton = nca.growing()
    params = automaton.init(jax.random.key(0)) + 0.01 * jax.random.normal(jax.random.key(1), (automaton.num_params,))
    grids = jax.random.uniform(jax.random.key(2), (BATCH, SIDE, SIDE, CHANNELS))
    target = jnp.zeros((SIDE, SIDE, 4))

    def forward(key: jax.Array, params: jax.Array, grids: jax.Array) -> jax.Array:
        def one(key: jax.Array, grid: jax.Array) -> jax.Array:
            return rollout(automaton.step(params), key, grid, options.forward_steps)[0]

        return each(one, jax.random.split(key, BATCH), grids)

    def gradient(key: jax.Array, params: jax.Array, grids: jax.Array) -> jax.Array:
        def one(key: jax.Array, grid: jax.Array) -> jax.Array:
            def loss(params: jax.Array) -> jax.Array:
                return nca.growth_loss(rollout(automaton.step(params), key, grid, options.training_steps)[0], target)

            return jax.grad(loss)(params)

        return jnp.mean(each(one, jax.random.split(key, BATCH), grids), axis=0)

    return forward, gradient, (jax.random.key(3), params, grids)


def cax() -> tuple[Any, Callable] | None:
    """CAX's growing automaton, built as its notebook builds it, and the gradient of a loss; None without CAX."""
    try:
        version = metadata.version("cax")
        if tuple(map(int, version.split(".")[:2])) < CAX_VERSION:
            print(f"CAX {version} is left out: this benchmark takes {'.'.join(map(str, CAX_VERSION))} or newer")
            return None
        from cax.core import ComplexSystem
        from cax.core.perceive import ConvPerceive, grad_kernel, identity_kernel
        from cax.core.update import NCAUpdate
        from flax import nnx
    except ImportError:
        return None

    class Growing(ComplexSystem):
        def __init__(self, rngs: nnx.Rngs):
            self.perceive = ConvPerceive(
                channel_size=CHANNELS, perception_size=3 * CHANNELS, feature_group_count=CHANNELS, rngs=rngs
            )
            self.update = NCAUpdate(
                channel_size=CHANNELS,
                perception_size=3 * CHANNELS,
                hidden_layer_sizes=(HIDDEN,),
                cell_dropout_rate=0.5,
                rngs=rngs,
            )
            kernel = jnp.concatenate([identity_kernel(num_dims=2), grad_kernel(num_dims=2)], axis=-1)
            self.perceive.conv.kernel[...] = jnp.expand_dims(jnp.concatenate([kernel] * CHANNELS, axis=-1), axis=-2)

        def _step(self, state: jax.Array, input: Any = None) -> jax.Array:
            return self.update(state, self.perceive(state), input)

    trained = nnx.All(nnx.Param, nnx.Not(nnx.PathContains("perceive")))

    @partial(nnx.jit, static_argnames="steps")
    def gradient(system: Any, grids: jax.Array, steps: int) -> Any:
        def loss(system: Any) -> jax.Array:
            return jnp.mean(system(grids, num_steps=steps)[..., -4:] ** 2)

        return nnx.grad(loss, argnums=nnx.DiffState(0, trained))(system)

    return Growing(nnx.Rngs(0)), gradient


def torch_automaton() -> tuple[Callable, Callable] | None:
    """(steps) -> None, forward and with gradient, eager with channels last; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    identity = torch.zeros(3, 3)
    identity[1, 1] = 1
    kernel = torch.stack([identity, sobel, sobel.T]).repeat(CHANNELS, 1, 1)[:, None]
    first, second = torch.nn.Conv2d(3 * CHANNELS, HIDDEN, 1), torch.nn.Conv2d(HIDDEN, CHANNELS, 1)
    torch.nn.init.normal_(second.weight, std=0.01)
    start = torch.rand(BATCH, CHANNELS, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    functional = torch.nn.functional

    def alive(x: Any) -> Any:
        return functional.max_pool2d(x[:, 3:4], 3, 1, 1) > 0.1

    def develop(steps: int) -> Any:
        x = start
        for _ in range(steps):
            before = alive(x)
            seen = functional.conv2d(x, kernel, padding=1, groups=CHANNELS)
            fires = torch.rand(BATCH, 1, SIDE, SIDE) <= 0.5
            x = x + second(torch.relu(first(seen))) * fires
            x = x * (before & alive(x))
        return x

    def forward(steps: int) -> None:
        with torch.no_grad():
            develop(steps)

    def gradient(steps: int) -> None:
        (develop(steps)[:, :4] ** 2).mean().backward()

    return forward, gradient


def timed(function: Callable[[], Any]) -> float:
    """Seconds of a call."""
    clock = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - clock


def main(options: Options) -> None:
    forward, gradient, args = ours(options)
    square = jnp.ones((2048, 2048))
    programs = {
        "forward": compile_ahead(forward, *args),
        "peak": compile_ahead(jnp.matmul, square, square),
        "gradient": compile_ahead(gradient, *args),
    }
    peers: dict[str, tuple[Callable[[], Any], float]] = {}  # a call, and updates in it
    if (found := cax()) is not None:
        system, cax_gradient = found
        peers["CAX forward"] = (partial(system, args[2], num_steps=options.forward_steps), options.forward_steps)
        peers["CAX gradient"] = (
            partial(cax_gradient, system, args[2], steps=options.cax_training_steps),
            options.cax_training_steps,
        )
    if (pair := torch_automaton()) is not None:
        peers["PyTorch forward"] = (partial(pair[0], options.forward_steps), options.forward_steps)
        peers["PyTorch gradient"] = (partial(pair[1], options.training_steps), options.training_steps)
    calls = {name: program.run for name, program in programs.items()} | {
        name: call for name, (call, _) in peers.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            timed(call)  # what ran before it has emptied the caches and given memory back
            seconds[name].append(timed(call))
    updates = {"forward": options.forward_steps, "gradient": options.training_steps}
    updates |= {name: count for name, (_, count) in peers.items()}
    each_update = {name: [s / n for s in seconds[name]] for name, n in updates.items()}
    peak = 2 * 2048**3 / median(seconds["peak"])
    rows = []
    for name, times in each_update.items():
        rate = FLOP * (3 if "gradient" in name else 1) / median(times)
        compiling = programs[name].compile_seconds if name in programs else ""
        rows.append([name, compiling, 1e3 * median(times), 1 / median(times), rate / 1e9, rate / peak])
    columns = ("batch of 8, 72 × 72 cells", "compile s", "ms an update", "updates/s", "GFLOP/s", "of peak")
    table(f"Growing automata; peak {peak / 1e9:.0f} GFLOP/s", columns, rows)
    numbers = {"forward_share_of_peak": FLOP / median(each_update["forward"]) / peak}
    at_least = {"forward_share_of_peak": PEAK_SHARE}
    for peer, name, least_forward, least_gradient in (
        ("CAX", "cax", FORWARD, TRAINING),
        ("PyTorch", "torch", None, TORCH),
    ):
        if f"{peer} forward" in each_update:
            for kind, least in (("forward", least_forward), ("gradient", least_gradient)):
                numbers[f"{kind}_to_{name}"] = speed(each_update, kind, f"{peer} {kind}")
                if least is not None:
                    at_least[f"{kind}_to_{name}"] = least
    finish(numbers, at_least)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
