"""Asks whether agents learn to learn: the published rules, rules trained here, beside gradient descent and PyTorch.

    python benchmarks/message_passing.py
    python benchmarks/message_passing.py --parts published --published sinusoid_weights_00035869.npy

The published weights are in google-research/self-organising-systems, mplp/savedmodels. PyTorch is left out where it is
missing.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from timing import Program, compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.metalearning import message_passing as mp

Part = Literal["published", "trained", "digits", "speed"]

SIZES = (1, 20, 1)
SMALL = {"message": 4, "hidden": 3, "widths": (16, 8)}
REDUCED = mp.agents(SIZES, "tanh", start=mp.spread_start(SIZES), **SMALL)
"""The reduced case: one hidden layer, whose units are spread over the input, and 5,224 numbers."""
DIGITS = mp.agents((64, 20, 10), "sigmoid", "cross-entropy", shared=True, std=0.1, **SMALL)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    parts: tuple[Part, ...] = ("published", "trained", "digits", "speed")
    published: Path | None = None
    """File of the published rules for sinusoids; without it, that part is left out."""
    seeds: int = 3
    """Of what is trained."""
    tasks: int = 100
    """Lessons that were never given, by which rules are judged."""
    meta_steps: int = 4000
    """Of the training on sinusoids."""
    digit_steps: int = 1500
    """Meta-steps of the training on digits."""
    rounds: int = 5
    """Of timing."""


def curves(agents: mp.Agents, draw: mp.Draw, params: jax.Array, tasks: int) -> np.ndarray:
    """Losses f32[tasks, T + 1] on unseen examples of lessons of their own."""
    keys = jax.random.split(jax.random.key(10_000), tasks)
    return np.asarray(jax.jit(lambda p: jax.lax.map(lambda k: mp.learning_curve(agents, draw, p, k), keys))(params))


def best_descent(agents: mp.Agents, draw: mp.Draw, tasks: int) -> dict[str, tuple[float, float]]:
    """For Adam and SGD, the best rate, and the mean loss of the same learners after the same lessons."""
    keys = jax.random.split(jax.random.key(10_000), tasks)
    found = {}
    for name, make in (("Adam", optax.adam), ("SGD", optax.sgd)):

        @jax.jit
        def last(rate: jax.Array, make: Callable = make) -> jax.Array:
            return jnp.mean(jax.vmap(lambda key: mp.descent_curve(agents, draw, make(rate), key)[-1])(keys))

        rates = (1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 5e-2, 0.1, 0.2, 0.3, 0.5, 1.0)
        losses = [float(last(jnp.float32(rate))) for rate in rates]
        best = int(np.nanargmin(losses))
        found[name] = (rates[best], losses[best])
    return found


def published(options: Options) -> tuple[dict, dict]:
    if options.published is None:
        print("the published weights are left out: no file was given")
        return {}, {}
    agents, draw = mp.agents(), mp.sinusoids(unseen=100)
    params = mp.read_published(options.published, agents)
    losses = curves(agents, draw, params, 200)
    descent = best_descent(agents, draw, 200)
    rows = [[f"{step}", *map(float, (x.mean(), x.std(), np.median(x)))] for step, x in enumerate(losses.T)]
    table("The published rules, 200 fresh sinusoids", ("step", "mean loss", "std", "median"), rows)
    print("best of gradient descent after 5 steps:", descent)
    mean = losses.mean(axis=0)
    numbers = {"published_before": float(mean[0]), "published_after": float(mean[-1])}
    numbers["published_beside_descent"] = float(mean[-1] / min(loss for _, loss in descent.values()))
    return numbers, {"at_most": {"published_after": 0.0017}, "at_least": {"published_after": 0.0009}}


def train(
    agents: mp.Agents, draw: mp.Draw, rate: float, steps: int, lessons: int, seed: int
) -> tuple[Any, float, float]:
    """Rules f32[P] after a training, the seconds that a meta-step took, and those of compilation."""
    pair = mp.trainer(agents, draw, optax.cosine_decay_schedule(rate, steps), lessons)
    key = jax.random.key(seed)
    state = jax.jit(pair.init)(key)
    program = compile_ahead(lambda state: nm.rollout(pair.step, key, state, steps), state)
    clock = time.process_time()
    state, info = program.run()
    jax.block_until_ready(state)
    assert not info.skipped.any()
    return state.params, (time.process_time() - clock) / steps, program.compile_seconds


def trained(options: Options) -> tuple[dict, dict]:
    draw = mp.sinusoids(unseen=100)
    descent = best_descent(REDUCED, draw, options.tasks)
    best = min(loss for _, loss in descent.values())
    rows, ratios = [], []
    for seed in range(options.seeds):
        params, seconds, compiling = train(REDUCED, mp.sinusoids(), 3e-3, options.meta_steps, 4, seed)
        losses = curves(REDUCED, draw, params, options.tasks).mean(axis=0)
        ratios.append(float(losses[-1] / best))
        rows.append([f"seed {seed}", *map(float, losses), ratios[-1], 1e3 * seconds, compiling])
    steps = [f"{step}" for step in range(6)]
    table(
        f"{REDUCED.num_params} numbers, {options.meta_steps} meta-steps; {options.tasks} sinusoids, loss after steps",
        ("rules", *steps, "beside descent", "CPU ms a meta-step", "compile s"),
        rows,
    )
    print("best of gradient descent after 5 steps:", descent)
    numbers = {"trained_beside_descent_worst": max(ratios), "trained_beside_descent_median": median(ratios)}
    numbers |= {"descent": best, "meta_step_ms": median(row[-2] for row in rows)}
    return numbers, {"at_most": {"trained_beside_descent_worst": 0.5}}


def digits(options: Options) -> tuple[dict, dict]:
    """Twenty batches of 8 digits, then 230 of others: what share is named right."""
    pair_draw, test = mp.digits(), mp.digits(unseen=230, test=True)
    params, seconds, _ = train(DIGITS, pair_draw, 3e-3, options.digit_steps, 1, 0)

    @jax.jit
    def right(key: jax.Array, params: jax.Array) -> jax.Array:
        key_lesson, key_learner = jax.random.split(key)
        lesson = test(key_lesson)
        learner, _ = DIGITS.teach(params, DIGITS.begin(key_learner, lesson.x.shape[1]), lesson)
        said = jnp.argmax(DIGITS.predict(learner, lesson.unseen_x), axis=1)
        return jnp.mean(said == jnp.argmax(lesson.unseen_y, axis=1))

    keys = jax.random.split(jax.random.key(10_000), options.tasks)
    shares = np.array([right(key, params) for key in keys])
    print(f"digits: {100 * shares.mean():.1f} % of unseen images right after 160 examples, chance 10 %")
    return {"digits_right": float(shares.mean()), "digits_meta_step_ms": 1e3 * seconds}, {
        "at_least": {"digits_right": 0.3}
    }


def in_torch(agents: mp.Agents, params: jax.Array, lessons: mp.Lesson, learners: mp.Learner) -> Callable[[], Any]:
    """The same meta-step in PyTorch, all lessons at once: `agents` must be `REDUCED`."""
    import torch

    torch.set_num_threads(1)
    tree = {
        name: {k: torch.tensor(np.asarray(v), requires_grad=k not in mp.FIXED) for k, v in of.items()}
        for name, of in agents.unpack(params).items()
    }
    trained = [x for of in tree.values() for x in of.values() if x.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    x, y, unseen_x, unseen_y = (torch.tensor(np.asarray(part)) for part in lessons)
    start = [torch.tensor(np.asarray(part)) for part in (*learners.weights, *learners.biases)]
    memory = {name: torch.tensor(np.asarray(part)) for name, part in learners.memories.items()}
    count = SMALL["message"]

    def dense(rule: dict, part: str, x: Any) -> Any:
        x = torch.tanh(torch.addmm(rule[part + "1b"], x, rule[part + "1"]))
        return torch.tanh(torch.addmm(rule[part + "2b"], x, rule[part + "2"])) @ rule[part + "3"]

    def act(name: str, message: Any, *looks: Any) -> Any:
        own, rule = tree[name], tree[f"rule {name}"]
        c = memories[name]
        parts = [
            message.expand(*c.shape[:-1], message.shape[-1]),
            *(z[..., None].expand(*c.shape[:-1], 1) for z in looks),
        ]
        scaled = [(z + own["mean"][i]) * own["norm"][i] for i, z in enumerate(parts)]
        z, flat = torch.cat(scaled, -1).reshape(-1, sum(z.shape[-1] for z in scaled)), c.reshape(-1, c.shape[-1])
        u = torch.sigmoid(torch.addmm(rule["ub"], z, rule["ux"]) + flat @ rule["uc"])
        r = torch.sigmoid(torch.addmm(rule["rb"], z, rule["rx"]) + flat @ rule["rc"])
        new = u * flat + (1 - u) * torch.tanh(dense(rule, "f", z) + dense(rule, "g", r * flat) + rule["b"])
        memories[name] = new.reshape(c.shape)
        return memories[name][..., -count:]

    def changed(name: str, array: Any) -> Any:
        return array + (memories[name][..., 0].mean(1) - tree[name]["zero"]) * tree[name]["scale"]

    def forward(net: list, x: Any) -> tuple:
        first = x @ net[0]
        hidden = first + net[2][:, None]
        second = torch.tanh(hidden) @ net[1]
        return first, hidden, second, second + net[3][:, None]

    memories: dict[str, Any] = {}

    def loss() -> Any:
        net, hints = list(start), 0.0
        memories.update(memory)
        for t in range(x.shape[1]):
            first, hidden, second, out = forward(net, x[:, t])
            error = y[:, t] - out
            message = act("loss", (error**2 / 2)[..., None], out, y[:, t], error)
            for layer, (bias_in, weight_in) in ((1, (second, torch.tanh(hidden))), (0, (first, x[:, t]))):
                if layer == 0:
                    message = act("activation 0", message, hidden)
                message = act(f"biases {layer}", message, net[2 + layer][:, None].expand_as(bias_in), bias_in)
                weights = net[layer][:, None]
                message = act(
                    f"weights {layer}",
                    message[:, :, None],
                    weights[..., :].expand(-1, x.shape[2], -1, -1),
                    weight_in[..., None].expand(*weight_in.shape, weights.shape[-1]),
                )
                net[2 + layer] = changed(f"biases {layer}", net[2 + layer])
                net[layer] = changed(f"weights {layer}", net[layer])
                message = message.mean(3)
            hints = hints + ((y[:, t] - forward(net, x[:, t])[-1]) ** 2 / 2).mean()
        judged = ((unseen_y - forward(net, unseen_x)[-1]) ** 2 / 2).mean()
        return 0.7 * hints / x.shape[1] + 0.3 * judged

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        for array in trained:
            array.grad /= array.grad.norm() + 1e-8
        optimizer.step()
        return float(value.detach())

    return step


def speed_part(options: Options) -> tuple[dict, dict]:
    """A meta-step of the reduced case beside PyTorch; lessons one after another beside all at once."""
    draw, lessons = mp.sinusoids(), 4
    pair = mp.trainer(REDUCED, draw, 1e-3, lessons)
    key = jax.random.key(0)
    state = jax.jit(pair.init)(key)
    inner = 10
    programs = {"here": compile_ahead(lambda state: nm.rollout(pair.step, key, state, inner), state)}
    numbers = {"compile_s": programs["here"].compile_seconds}
    if importlib.util.find_spec("torch"):
        keys = jax.vmap(jax.random.split)(jax.random.split(jax.random.key(1), lessons))
        drawn = jax.vmap(draw)(keys[:, 0])
        learners = jax.vmap(lambda key: REDUCED.begin(key, drawn.x.shape[2]))(keys[:, 1])
        step = in_torch(REDUCED, state.params, drawn, learners)
        ours = jnp.mean(
            jax.vmap(lambda key: mp.meta_loss(REDUCED, draw, state.params, key))(
                jax.random.split(jax.random.key(1), lessons)
            )
        )
        numbers["loss_differs"] = abs(step() / float(ours) - 1)
        programs["PyTorch"] = Program(lambda: [step() for _ in range(inner)], (), 0.0)
    seconds = interleave(programs, options.rounds)
    rows = [[name, 1e3 * median(taken) / inner] for name, taken in seconds.items()]
    table(f"A meta-step of {lessons} lessons, {REDUCED.num_params} numbers", ("program", "ms"), rows)
    if "PyTorch" not in programs:
        return numbers, {}
    numbers["meta_step_beside_torch"] = speed(seconds, "here", "PyTorch")
    return numbers, {"at_least": {"meta_step_beside_torch": 1.5}, "at_most": {"loss_differs": 1e-4}}


def main(options: Options) -> None:
    parts = {"published": published, "trained": trained, "digits": digits, "speed": speed_part}
    numbers: dict[str, float] = {}
    bounds: dict[str, dict[str, float]] = {"at_least": {}, "at_most": {}}
    for part in options.parts:
        found, wanted = parts[part](options)
        numbers |= found
        for side, values in wanted.items():
            bounds[side] |= values
    finish(numbers, bounds["at_least"], bounds["at_most"])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
