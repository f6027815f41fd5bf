"""Asks how fast a quine learns, predicts, and is found.

One training epoch (2,010 mini-batches of 10, Adamax) beside PyTorch, with rows gathered and with one-hot vectors as the
paper writes it; all 20,100 predictions beside the bare matrix products; 16 exact quines at once beside one after
another; 10,000 weight-reading networks (Gabor et al. 2019): fixed points without and with self-training, and heredity.

    python benchmarks/quine.py            # pip install torch for the first part; left out without it
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from timing import compile_ahead, finish, interleave, speed, table

from neuralmutator import measures, quine, rollout

GATHERED, ONE_HOT, AT_ONCE, WEIGHT_READERS = 10.0, 40.0, 1.3, 10.0  # the first three at least, seconds at most


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    rounds: int = 5
    batches: int = 200
    """Mini-batches of an epoch that PyTorch is timed for; one-hot vectors get a tenth of them."""
    quines: int = 16
    networks: int = 10_000
    epochs: int = 1000
    """Of the self-training of the weight-reading networks."""


def torch_seconds(options: Options, one_hot: bool) -> float | None:
    """Seconds of one epoch in PyTorch, from some of its mini-batches; the faster of one thread and all."""
    try:
        import torch
    except ImportError:
        return None
    n, batches = 20_100, options.batches // 10 if one_hot else options.batches
    projection = 0.1 * torch.randn(n, 100)
    layers = [torch.nn.Linear(a, b, bias=False) for a, b in ((100, 100), (100, 100), (100, 1))]
    net = torch.nn.Sequential(layers[0], torch.nn.SELU(), layers[1], torch.nn.SELU(), layers[2])
    optimizer = torch.optim.Adamax(net.parameters())
    targets = torch.cat([layer.weight.detach().T.reshape(-1) for layer in layers])

    def learn(batches: int) -> float:
        clock = time.perf_counter()
        for batch in torch.randint(n, (batches, 10)):
            x = torch.nn.functional.one_hot(batch, n).float() @ projection if one_hot else projection[batch]
            optimizer.zero_grad()
            ((net(x)[:, 0] - targets[batch]) ** 2).mean().backward()
            optimizer.step()
        return time.perf_counter() - clock

    seconds = []
    for threads in {1, torch.get_num_threads()}:
        torch.set_num_threads(threads)
        learn(5)
        seconds.append(learn(batches))
    return min(seconds) / batches * n / 10


def training(options: Options) -> tuple[list, dict[str, float]]:
    """Our epoch, PyTorch's, and the matrix products of an epoch alone."""
    keys = jax.random.split(jax.random.key(0))
    q, optimizer = quine.vanilla(keys[0]), quine.OPTIMIZERS["adamax"]
    state = quine.init_train_state(q.init(keys[1]), optimizer)

    def epoch(key: jax.Array, q: quine.Quine, state: quine.TrainState) -> Any:
        return quine.gradient(q, optimizer)(key, state)

    def products(x: jax.Array, w: jax.Array) -> jax.Array:
        """As many multiplications as forward and backward passes of an epoch take: 6 of [20100, 100] x [100, 100]."""
        return jax.lax.fori_loop(0, 6, lambda _, x: jnp.tanh(x @ w), x)

    programs = {
        "epoch": compile_ahead(epoch, keys[0], q, state),
        "matrix products": compile_ahead(products, q.addresses, state.params[:10_000].reshape(100, 100)),
    }
    seconds = {name: list(times) for name, times in interleave(programs, options.rounds).items()}
    ours = median(seconds["epoch"])
    rows = [
        ["an epoch", programs["epoch"].compile_seconds, 1e3 * ours, 1.0],
        ["… its matrix products alone, at once", None, 1e3 * median(seconds["matrix products"]), None],
    ]
    numbers = {"epoch_to_products": speed(seconds, "matrix products", "epoch")}
    for name, one_hot in (("gathered", False), ("one_hot", True)):
        theirs = torch_seconds(options, one_hot)
        if theirs is not None:
            numbers[f"to_torch_{name}"] = theirs / ours
            rows.append([f"… PyTorch, {name.replace('_', '-')}", None, 1e3 * theirs, theirs / ours])
    return rows, numbers


def prediction(options: Options) -> tuple[list, dict[str, float]]:
    """All predictions beside two bare matrix products."""
    keys = jax.random.split(jax.random.key(0))
    q = quine.vanilla(keys[0])
    params = q.init(keys[1])
    programs = {
        "predict": compile_ahead(lambda q, w: q.predict(w), q, params),
        "products": compile_ahead(lambda x, w: (x @ w) @ w, q.addresses, params[:10_000].reshape(100, 100)),
    }
    seconds = interleave(programs, options.rounds, calls=10)
    share = speed(seconds, "predict", "products")
    rows = [
        ["20,100 predictions", programs["predict"].compile_seconds, 1e3 * median(seconds["predict"]), 1.0],
        ["… two bare matrix products", None, 1e3 * median(seconds["products"]), 1 / share],
    ]
    return rows, {"predict_to_products": share}


def exact(options: Options) -> tuple[list, dict[str, float]]:
    """Exact quines at once and one after another."""
    keys = jax.random.split(jax.random.key(0), options.quines)

    def born(key: jax.Array) -> tuple[quine.Quine, jax.Array]:
        key_quine, key_weights = jax.random.split(key)
        q = quine.vanilla(key_quine, activation=quine.leaky_relu, encoding=quine.random_projection(std=0.03))
        return q, q.init(key_weights)

    quines, params = jax.vmap(born)(keys)
    together = compile_ahead(jax.vmap(quine.exact), quines, params)
    each = [jax.tree.map(lambda x, i=i: x[i], (quines, params)) for i in range(options.quines)]
    one = compile_ahead(quine.exact, *each[0])
    times: dict[str, list[float]] = {"together": [], "in turn": []}
    for _ in range(options.rounds):
        clock = time.perf_counter()
        found = jax.block_until_ready(together.run())
        times["together"].append(time.perf_counter() - clock)
        clock = time.perf_counter()
        for args in each:
            jax.block_until_ready(one.compiled(*args))
        times["in turn"].append(time.perf_counter() - clock)
    gain = speed(times, "together", "in turn")
    rows = [
        [f"{options.quines} exact quines at once", together.compile_seconds, 1e3 * median(times["together"]), 1.0],
        ["… one after another", one.compile_seconds, 1e3 * median(times["in turn"]), gain],
    ]
    return rows, {"exact_at_once": gain, "exact_worst_relative_error": float(found.relative_error.max())}


def weight_readers(options: Options) -> tuple[list, dict[str, float]]:
    """Gabor's networks; seconds with compilation."""
    q, optimizer, key = quine.weightwise(), quine.OPTIMIZERS["sgd"], jax.random.key(0)
    nets = jax.vmap(q.init)(jax.random.split(key, options.networks))
    clock = time.perf_counter()
    kinds = jax.jit(jax.vmap(lambda w: quine.fixed_point(q.regenerate, w, 100).kind))(nets)
    applied = np.bincount(kinds, minlength=5) / options.networks
    middle = time.perf_counter()

    def train(params: jax.Array) -> jax.Array:
        step = quine.gradient(q, optimizer, batch_size=1)
        return rollout(step, key, quine.init_train_state(params, optimizer), options.epochs)[0].params

    trained = jax.jit(lambda nets: jax.lax.map(train, nets, batch_size=125))(nets)
    kinds = jax.jit(jax.vmap(lambda w: quine.fixed_point(q.regenerate, w, 0).kind))(trained)
    taught = np.bincount(kinds, minlength=5) / options.networks
    heredity = float(measures.heredity(nets, trained))
    end = time.perf_counter()
    rows = [
        [f"{options.networks:,} weight-readers, applied 100 times", None, 1e3 * (middle - clock), None],
        [f"… trained on themselves for {options.epochs} epochs", None, 1e3 * (end - middle), None],
    ]
    return rows, {
        "applied_divergent": applied[quine.Kind.DIVERGENT],
        "applied_zero": applied[quine.Kind.ZERO],
        "trained_exact": taught[quine.Kind.EXACT],
        "trained_heredity": heredity,
        "weight_readers_seconds": end - clock,
    }


PARTS: tuple[Callable[[Options], tuple[list, dict[str, float]]], ...] = (training, prediction, exact, weight_readers)


def main(options: Options) -> None:
    rows, numbers = [], {}
    for part in PARTS:
        more_rows, more_numbers = part(options)
        rows += [["" if cell is None else cell for cell in row] for row in more_rows]
        numbers |= more_numbers
    table("Quines", ("what", "compile s", "ms", "ours is faster by"), rows)
    bounds = {"to_torch_gathered": GATHERED, "to_torch_one_hot": ONE_HOT, "exact_at_once": AT_ONCE}
    at_least = {name: bound for name, bound in bounds.items() if name in numbers}
    finish(numbers, at_least=at_least, at_most={"weight_readers_seconds": WEIGHT_READERS})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
