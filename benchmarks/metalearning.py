"""Asks whether networks learn inside as their papers say: in-context gradient descent, the mesa-layer.

Everything is compared on the same test tasks, models of a table are trained equally long, and a floor is compared with
the worst seed. Seconds are of the CPU, compilation included.

    python benchmarks/metalearning.py
    python benchmarks/metalearning.py --parts one-layer mesa --seeds 1
    python benchmarks/metalearning.py --parts speed      # PyTorch is left out where missing: pip install torch
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from timing import compile_ahead, finish, speed, table

from neuralmutator import networks, rollout
from neuralmutator.metalearning import Loss, Trainer, clipped_adam, in_context, mesa, training
from neuralmutator.networks import Network

BATCH = 2048  # tasks of an in-context training step, the paper's
Measured = tuple[dict[str, float], dict[str, dict[str, float]]]  # numbers, and their bounds: at_least, at_most


@dataclass(frozen=True)
class Options:
    """What to measure."""

    parts: tuple[str, ...] = ()
    """Which; by default all."""
    seeds: int = 0
    """Of what is trained; by default as many as the part has in the table of results."""
    rounds: int = 7
    """Of timing."""


@partial(jax.jit, static_argnums=(0, 2))
def _train(trainer: Trainer, key: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    state, info = rollout(trainer.step, key, trainer.init(key), steps)
    return state.params, info.skipped.sum()


def train(network: Network, loss: Loss, optimizer: Any, steps: int, seeds: int) -> tuple[list[jax.Array], list[float]]:
    """Parameters of every seed, and the CPU seconds that each took; the first one's hold the compilation."""
    trainer = training(network, loss, optimizer)
    found, seconds = [], []
    for seed in range(seeds):
        clock = time.process_time()
        params, skipped = jax.block_until_ready(_train(trainer, jax.random.key(seed), steps))
        if skipped:
            print(f"{int(skipped)} of {steps} steps of seed {seed} had no finite gradient and were left out")
        found.append(params)
        seconds.append(time.process_time() - clock)
    return found, seconds


def test_tasks() -> in_context.Tasks:
    """The 10,000 tasks on which everything is compared."""
    return jax.jit(lambda key: in_context.linear_tasks()(key, 10_000))(jax.random.key(10**6))


loss_of = jax.jit(in_context.mean_loss, static_argnums=0)


def closed_form(options: Options) -> Measured:
    """The best step and its loss against a million random tasks; the construction against a step in NumPy."""
    rate, loss = in_context.optimal_step()
    network, descent = in_context.linear_attention(), in_context.gradient_descent()
    draw = in_context.linear_tasks()

    @jax.jit
    def moments(key: jax.Array) -> tuple[jax.Array, ...]:
        tasks = draw(key, 10_000)
        x = tasks.tokens[:, :-1, :-1]
        gram = jnp.einsum("bnd,bne->bde", x, x) / x.shape[1]
        first = jnp.mean(jnp.trace(gram, axis1=1, axis2=2))
        return in_context.mean_loss(descent, jnp.array([rate]), tasks), first, jnp.mean(jnp.sum(gram**2, (1, 2)))

    losses, first, second = np.mean([moments(jax.random.key(i)) for i in range(100)], axis=0, dtype=np.float64)
    tasks = test_tasks()
    tokens = np.asarray(tasks.tokens[:1000], np.float64)
    w = rate * np.mean(tokens[:, :-1, :-1] * tokens[:, :-1, -1:], axis=1)
    exact = np.sum(w * tokens[:, -1, :-1], axis=1)
    found = jax.vmap(network.apply, (None, 0))(in_context.construction(rate), tasks.tokens[:1000])
    numbers = {
        "optimal_rate": rate,
        "optimal_loss": loss,
        "monte_carlo_rate_error": abs(first / second / rate - 1),
        "monte_carlo_loss_error": abs(losses - loss),
        "construction_error": float(np.abs(found - exact).max()),
    }
    bounds = {"monte_carlo_rate_error": 1e-3, "monte_carlo_loss_error": 1e-3, "construction_error": 1e-5}
    return numbers, {"at_most": bounds}


def one_layer(options: Options) -> Measured:
    """One trained layer beside one step of gradient descent with the best rate for the test tasks themselves."""
    clock = time.process_time()
    network, descent, tasks = in_context.linear_attention(), in_context.gradient_descent(), test_tasks()
    tuned = in_context.tune(descent, tasks, [0.0], [20.0])
    loss = in_context.task_loss(network, in_context.linear_tasks(), BATCH)
    found, seconds = train(network, loss, clipped_adam(3e-3, steps=1000), 1000, options.seeds or 5)
    total = time.process_time() - clock
    spans, spreads = (0.5, 0.75, 1.5, 2.0), (0.5, 2.0, 5.0)
    outside = [in_context.linear_tasks(span=span)(jax.random.key(1), 10_000) for span in spans]
    outside += [in_context.linear_tasks(spread=spread)(jax.random.key(1), 10_000) for spread in spreads]
    constructed = in_context.canonical(in_context.construction(tuned.params))
    rows, ratios = [], []
    for seed, params in enumerate(found):
        same = in_context.compare(network, params, descent, tuned.params, tasks)
        line = in_context.interpolate(network, in_context.canonical(params), constructed, tasks)
        ratios.append(in_context.loss_ratios(network, params, descent, tuned.params, tuple(outside)))
        numbers = (same.loss, same.loss / same.other_loss, same.difference, same.cosine, same.distance, line.max())
        rows.append([seed, *map(float, numbers), seconds[seed]])
    names = ("seed", "loss", "to descent's", "|ŷ - ŷ'|", "cosine", "|s - s'|", "worst between", "CPU s")
    table(
        f"One layer, 1,000 steps; gradient descent {float(tuned.loss):.5f} with {float(tuned.params[0]):.3f}",
        names,
        rows,
    )
    where = [f"span {span}" for span in spans] + [f"spread {spread}" for spread in spreads]
    outer = np.stack(ratios, axis=1)
    table(
        "Loss beside gradient descent's, off the training",
        ("", "least", "most"),
        zip(where, outer.min(1).tolist(), outer.max(1).tolist(), strict=True),
    )
    measured = {
        "one_layer_to_descent": max(row[2] for row in rows),
        "one_layer_cosine": min(row[4] for row in rows),
        "one_layer_cpu_minutes": total / 60,
        "one_layer_outside": float(outer[np.array([1, 2])].max()),
    }
    return measured, {
        "at_most": {"one_layer_to_descent": 1.01, "one_layer_cpu_minutes": 3.0},
        "at_least": {"one_layer_cosine": 0.99},
    }


def layers(options: Options) -> Measured:
    """Two and five looped layers, and two free ones, beside as many steps of gradient descent and of GD++."""
    tasks, draw = test_tasks(), in_context.linear_tasks()
    rows, numbers = [], {}
    for count, looped, steps, seeds in ((2, True, 3000, options.seeds or 2), (2, False, 3000, 1), (5, True, 2500, 1)):
        tied = in_context.tune(in_context.gradient_descent(steps=count), tasks, [0.0], [20.0])
        free = in_context.gradient_descent(steps=count, looped=False)
        (rates,), _ = train(free, in_context.task_loss(free, draw, 512), clipped_adam(0.05, 10.0, 2000), 2000, 1)
        free_loss = float(loss_of(free, rates, tasks))
        plus = in_context.gd_plus_plus(steps=count)
        best = in_context.tune(plus, tasks, [0.0, 0.0], [30.0, 4.0], 12, 4)
        network = in_context.linear_attention(layers=count, looped=looped, clip=None if count <= 3 else 10.0)
        optimizer = clipped_adam(3e-3 if count <= 3 else 1e-3, 1e-3 if count <= 2 else 10.0, steps, steps // 20)
        found, seconds = train(network, in_context.task_loss(network, draw, BATCH), optimizer, steps, seeds)
        for seed, params in enumerate(found):
            same = in_context.compare(network, params, plus, best.params, tasks)
            name = f"{count}{' looped' if looped else ' free'}"
            losses = (same.loss, tied.loss, free_loss, best.loss, same.cosine)
            rows.append([name, seed, *map(float, losses), steps, seconds[seed]])
        these = rows[-seeds:]
        name = f"layers_{count}_{'looped' if looped else 'free'}"
        numbers |= {
            f"{name}_to_descent": max(row[2] / row[4] for row in these),
            f"{name}_loss": max(r[2] for r in these),
        }
        numbers[f"{name}_cosine"] = min(row[6] for row in these)
    columns = ("layers", "seed", "loss", "GD, one η", "GD, free", "GD++", "cosine to GD++", "steps", "CPU s")
    table("Layers beside as many steps, each of them tuned", columns, rows)
    return numbers, {
        "at_most": {"layers_2_looped_to_descent": 0.85},
        "at_least": {"layers_2_looped_cosine": 0.99},
    }


def sines(options: Options) -> Measured:
    """Attention behind a perceptron beside a step of gradient descent on features that were trained for it."""
    draw, steps, width = in_context.sine_tasks(), 3000, 40
    tasks = jax.jit(lambda key: draw(key, 10_000))(jax.random.key(10**6))
    features = networks.mlp(obs=1, act=width, hidden=(160,), activation=jax.nn.gelu)
    rows, found = [], {}
    for name, network in {
        "linear attention": in_context.linear_attention(width, features=features),
        "softmax attention": in_context.softmax_attention(width, features=features),
        "gradient descent": in_context.gradient_descent(width, features=features),
    }.items():
        optimizer = clipped_adam(1e-3, 100.0, steps, steps // 20)
        params, seconds = train(network, in_context.task_loss(network, draw, 512), optimizer, steps, 1)
        found[name] = network, params[0]
        rows.append([name, float(loss_of(network, params[0], tasks)), *seconds])
    same = in_context.compare(*found["linear attention"], *found["gradient descent"], tasks)
    zero = 0.5 * float(jnp.mean(tasks.answers**2))
    table(f"Sines, {steps} steps of 512; always 0: {zero:.4f}", ("behind a perceptron", "loss", "CPU s"), rows)
    numbers = {f"sines_{name.replace(' ', '_')}": loss for name, loss, _ in rows}
    return numbers | {"sines_difference": float(same.difference)}, {}


def solved_in_numpy(states: np.ndarray, regularisation: float) -> np.ndarray:
    """Ridge regression solved anew at every position, in float64; states [T + 1, D]."""
    now = np.asarray(states[:-1], np.float64)
    before = np.concatenate([np.zeros_like(now[:1]), now[:-1]])
    found = []
    for t in range(len(now)):
        k, v = before[: t + 1], now[: t + 1]
        found.append(v.T @ k @ np.linalg.solve(k.T @ k + regularisation * np.eye(k.shape[1]), now[t]))
    return np.array(found)


def exactness(options: Options) -> Measured:
    """The constructed mesa-layer beside NumPy, and its two forms beside each other."""
    states = jax.jit(lambda key: mesa.linear_dynamics()(key, 200))(jax.random.key(10**6))
    numbers = {}
    for regularisation in (1e-3, 1e-2):
        answers = []
        for chunk in (None, 8):
            network = mesa.transformer([mesa.mesa(chunk)])
            predict = mesa.predictor(network, mesa.construction(network, regularisation=regularisation))
            answers.append(np.asarray(jax.jit(jax.vmap(predict))(states)))
        exact = np.stack([solved_in_numpy(each, regularisation) for each in np.asarray(states)])
        numbers[f"mesa_to_numpy_{regularisation}"] = float(np.abs(answers[0] - exact).max())
        numbers[f"mesa_chunked_to_scanned_{regularisation}"] = float(np.abs(answers[1] - answers[0]).max())
    return numbers, {"at_most": {"mesa_to_numpy_0.001": 1e-4, "mesa_chunked_to_scanned_0.01": 1e-5}}


AT = (4, 9, 14, 19, 29, 49)


def mesa_layers(options: Options) -> Measured:
    """One mesa-layer beside ridge regression, and beside linear and softmax attention, equally trained."""
    draw, steps = mesa.linear_dynamics(), 1500
    test = jax.jit(lambda key: draw(key, 2000))(jax.random.key(10**6))
    pairs = jax.jit(lambda key: mesa.few_shot()(key, 2000))(jax.random.key(10**6))
    errors = jax.jit(mesa.errors, static_argnums=0)
    shots = jax.jit(mesa.few_shot_errors, static_argnums=(0, 3))
    ridge = np.asarray(errors(mesa.ridge, test))
    rows = [["ridge, λ 0.001", "", float(ridge.mean()), *ridge[list(AT)].tolist(), ""]]
    few = [["ridge", "", *(2 * [float(jax.jit(mesa.few_shot_ridge)(pairs)[-1])])]]
    worst = {}
    models = {
        "1 mesa": ([mesa.mesa(8)], 1e-2),
        "1 softmax": ([mesa.softmax()], 1e-2),
        "1 linear": ([mesa.linear()], 1e-2),
        "2 linear": ([mesa.linear()] * 2, 3e-3),
        "6 linear": ([mesa.linear()] * 6, 3e-3),
    }
    for name, (stack, rate) in models.items():
        network = mesa.transformer(stack)
        optimizer = clipped_adam(rate, 1.0, steps, steps // 20)
        found, seconds = train(network, mesa.sequence_loss(network, draw), optimizer, steps, options.seeds or 3)
        for seed, params in enumerate(found):
            error = np.asarray(
                jax.jit(lambda p, test, n=network: mesa.errors(mesa.predictor(n, p), test))(params, test)
            )
            rows.append([name, seed, float(error.mean()), *error[list(AT)].tolist(), seconds[seed]])
            few.append([name, seed, *(float(shots(network, params, pairs, way)[-1]) for way in (True, False))])
        means = [row[2] for row in rows[-len(found) :]]
        worst[name] = max(means) if name == "1 mesa" else min(means)
    columns = ("model", "seed", "mean", *(f"t = {t + 1}" for t in AT), "CPU s")
    table(f"½|error|², {steps} steps of 32 sequences", columns, rows)
    table("Few-shot regression after 24 pairs, ½|error|²", ("model", "seed", "as pairs", "as a sequence"), few)
    numbers = {
        "mesa_to_ridge": worst["1 mesa"] / float(ridge.mean()),
        "mesa_to_softmax": worst["1 mesa"] / worst["1 softmax"],
        "mesa_to_linear": worst["1 mesa"] / worst["1 linear"],
        "mesa_to_six_linear": worst["1 mesa"] / worst["6 linear"],
    }
    at_most = {"mesa_to_ridge": 1.12, "mesa_to_softmax": 0.3, "mesa_to_linear": 0.3, "mesa_to_six_linear": 1.0}
    return numbers, {"at_most": at_most}


def learnt_tokens(options: Options) -> Measured:
    """A first layer of softmax that has to bring the state before, then a layer of each kind."""
    draw, steps = mesa.linear_dynamics(), 3000
    test = jax.jit(lambda key: draw(key, 2000))(jax.random.key(10**6))
    rows, numbers = [], {}
    for name, second in {"mesa": mesa.mesa(8), "linear": mesa.linear(), "softmax": mesa.softmax()}.items():
        network = mesa.transformer([mesa.softmax(), second], embedding=True, width=60)
        optimizer = clipped_adam(3e-3, 1.0, steps, steps // 20)
        loss = mesa.sequence_loss(network, draw, tokens=mesa.states_alone)
        found, seconds = train(network, loss, optimizer, steps, options.seeds or 1)
        for seed, params in enumerate(found):
            predict = partial(mesa.predictor, network, tokens=mesa.states_alone)
            error = np.asarray(jax.jit(lambda p, test, predict=predict: mesa.errors(predict(p), test))(params, test))
            rows.append([f"softmax, {name}", seed, float(error.mean()), *error[list(AT)].tolist(), seconds[seed]])
        numbers[f"learnt_tokens_{name}"] = max(row[2] for row in rows[-len(found) :])
    columns = ("learnt tokens", "seed", "mean", *(f"t = {t + 1}" for t in AT), "CPU s")
    table(f"½|error|², {steps} steps of 32 sequences", columns, rows)
    return numbers, {}


def attention_in_torch(count: int) -> dict[str, Callable[[], Any]] | None:
    """A training step of the same layers in PyTorch: with products as the paper writes them, and in a better order.

    In both the last layer changes the query alone.
    """
    try:
        import torch
    except ImportError:
        return None
    size = 11

    def step_of(update: Callable[[Any, Any, Any], Any]) -> Callable[[], Any]:
        weights = [torch.nn.Parameter((0.002 / size) ** 0.5 * torch.randn(size, size)) for _ in range(4)]
        optimizer = torch.optim.Adam(weights, 1e-3)

        def step() -> Any:
            w, x = torch.randn(BATCH, size - 1, 1), torch.rand(BATCH, size, size - 1) - 0.5
            y = x @ w
            answers = y[:, -1, 0].clone()
            y[:, -1] = 0
            h = torch.cat([x, y], 2)
            for layer in range(count):
                h = update(weights, h if layer < count - 1 else h[:, -1:], h[:, :-1])
            loss = 0.5 * ((-h[:, -1, -1] - answers) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1e-3)
            optimizer.step()
            return loss.item()

        return step

    def written(weights: Any, h: Any, c: Any) -> Any:
        query, key, value, projection = weights
        return h + (h @ query) @ (c @ key).transpose(1, 2) @ (c @ value) @ projection

    def ordered(weights: Any, h: Any, c: Any) -> Any:
        query, key, value, projection = weights
        return h + (((h @ query @ key.T) @ c.transpose(1, 2)) @ c) @ value @ projection

    return {"PyTorch, as written": step_of(written), "PyTorch, in a better order": step_of(ordered)}


def speeds(options: Options) -> Measured:
    """A whole training step, fresh tasks included, beside the faster of two ways of PyTorch."""
    rows, numbers, at_least = [], {}, {}
    for count in (1, 2):
        network = in_context.linear_attention(layers=count)
        trainer = training(network, in_context.task_loss(network, in_context.linear_tasks(), BATCH))
        program = compile_ahead(trainer.step, jax.random.key(0), trainer.init(jax.random.key(1)))
        calls: dict[str, Callable[[], Any]] = {"ours": program.run}
        peers = attention_in_torch(count)
        if peers is None:
            print("PyTorch is not there and is left out")
        else:
            calls |= peers
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            jax.block_until_ready(call())
        for _ in range(options.rounds):
            for name, call in calls.items():
                clock = time.perf_counter()
                for _ in range(20):
                    jax.block_until_ready(call())
                seconds[name].append((time.perf_counter() - clock) / 20)
        rows += [[f"{count} layer{'s' * (count > 1)}, {name}", 1e3 * median(taken)] for name, taken in seconds.items()]
        if peers is not None:
            key = f"attention_{count}_to_torch"
            numbers[key], at_least[key] = min(speed(seconds, "ours", name) for name in peers), 1.5
        numbers[f"attention_{count}_compile_seconds"] = program.compile_seconds
    table(f"A training step on {BATCH} fresh tasks", ("", "ms"), rows)
    return numbers, {"at_least": at_least}


PARTS: dict[str, Callable[[Options], Measured]] = {
    "closed-form": closed_form,
    "one-layer": one_layer,
    "layers": layers,
    "sines": sines,
    "exactness": exactness,
    "mesa": mesa_layers,
    "learnt-tokens": learnt_tokens,
    "speed": speeds,
}
"""One function for each part of the table of results: ``options -> (numbers, bounds)``."""


def main(options: Options) -> None:
    numbers: dict = {}
    at_least: dict = {}
    at_most: dict = {}
    if unknown := set(options.parts) - set(PARTS):
        raise SystemExit(f"parts must be some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    for part in options.parts or PARTS:
        measured, bounds = PARTS[part](options)
        numbers |= measured
        at_least |= bounds.get("at_least", {})
        at_most |= bounds.get("at_most", {})
    finish(numbers, at_least, at_most)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
