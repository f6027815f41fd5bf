"""Supervised prediction beside evolved control: a sentence and a map become a path, and evolution learns to follow it.

The idea that is left of SuReAL (Blukis et al. 2019) without its simulator, drone and crowd: a network learns from
examples where somebody who obeys an instruction goes, and a controller that sees only its surroundings walks there.
SuReAL learns the second by reinforcement; here it is evolved. Without the predicted map, it knows the instruction but
not where anything is.

python examples/follow_instructions.py
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import neuralmutator as nm

SIDE, OBJECTS, MOVES, SEEDS = 9, 5, 32, 5
COLOURS, SHAPES = ("red", "green", "blue"), ("square", "circle", "triangle")
KINDS = [(colour, shape) for colour in range(3) for shape in range(3)]
LOOKS = np.zeros((9, 6), np.float32)  # of a kind: its colour, its shape
for kind, (colour, shape) in enumerate(KINDS):
    LOOKS[kind, [colour, 3 + shape]] = 1
SENTENCES = np.array([(goal, side, mark) for goal in range(9) for side in (-1, 1) for mark in range(9) if goal != mark])
HELD_OUT = np.isin(np.arange(len(SENTENCES)), np.random.default_rng(0).permutation(len(SENTENCES))[:36])
STEPS = jnp.array([(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)])  # up, down, left, right, stop


CELLS = jnp.stack(jnp.mgrid[:SIDE, :SIDE], axis=-1).reshape(-1, 2)


def say(goal, side, mark):
    names = [" ".join((COLOURS[c], SHAPES[s])) for c, s in KINDS]
    return f"go to the {names[goal]}, passing {'left' if side < 0 else 'right'} of the {names[mark]}"


class Scene(NamedTuple):
    """A map, an instruction, and where it leads."""

    objects: jax.Array  # f32[9, 9, 6]
    words: jax.Array  # f32[14] looks of goal and landmark, left, right
    places: jax.Array  # i32[3, 2] start, the cell beside the landmark, goal
    paths: jax.Array  # f32[9, 9, 3] cells on the way to that cell, on the way from it, the goal
    sentence: jax.Array  # i32[3]


def leg(start, end):
    """Cells between two, bool[9, 9]: first along the column, then along the row."""
    rows, columns = jnp.mgrid[:SIDE, :SIDE]
    between = lambda x, a, b: (x >= jnp.minimum(a, b)) & (x <= jnp.maximum(a, b))  # noqa: E731
    along_column = (columns == start[1]) & between(rows, start[0], end[0])
    return along_column | ((rows == end[0]) & between(columns, start[1], end[1]))


def scene(sentences, key):
    """Objects of five different kinds at random, two of them in a random sentence."""
    keys = jax.random.split(key, 4)
    sentence = jax.random.choice(keys[0], sentences)
    goal, side, mark = sentence
    order = jax.random.uniform(keys[1], (9,)).at[goal].set(-2).at[mark].set(-1)
    kinds = jnp.argsort(order)[:OBJECTS]
    cells = jax.random.permutation(keys[2], SIDE * (SIDE - 2))[:OBJECTS]
    at = jnp.stack([cells // (SIDE - 2), 1 + cells % (SIDE - 2)], axis=1)
    objects = jnp.zeros((SIDE, SIDE, 6)).at[at[:, 0], at[:, 1]].set(jnp.asarray(LOOKS)[kinds])
    beside = at[1] + jnp.array([0, 1]) * side
    onward = leg(beside, at[0])
    ways = jax.vmap(lambda start: leg(start, beside))(CELLS)
    clean = jnp.sum(ways & onward, axis=(1, 2)) == 1  # starts from where the way does not cross itself
    start = jax.random.categorical(keys[3], jnp.where(clean, 0.0, -jnp.inf))
    goal_cell = jnp.zeros((SIDE, SIDE), bool).at[at[0, 0], at[0, 1]].set(True)
    paths = jnp.stack([ways[start], onward, goal_cell], axis=-1).astype(jnp.float32)
    places = jnp.stack([CELLS[start], beside, at[0]])
    words = jnp.concatenate([jnp.asarray(LOOKS)[goal], jnp.asarray(LOOKS)[mark], jnp.array([side < 0, side > 0])])
    return Scene(objects, words.astype(jnp.float32), places, paths, sentence)


# What is learnt by supervision: where somebody who obeys goes.


def init_predictor(key, maps=4, width=64):
    shapes = {"words": (14, 9 * 6 * maps), "in": (4 * (maps + 1), width), "in_b": (width,)}
    shapes |= {"mid": (width, width), "mid_b": (width,), "out": (width, 3), "out_b": (3,)}
    keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
    return {n: jax.random.normal(keys[n], s) * ((2 / s[0]) ** 0.5 if len(s) > 1 else 0) for n, s in shapes.items()}


def predict(params, scene):
    """Logits f32[9, 9, 3] of the paths.

    The words become kernels that look for what they name, as in SuReAL's LingUNet. Every cell then sees whether
    something was found in its row or column, and before it, and says whether one comes by.
    """
    padded = jnp.pad(scene.objects, ((1, 1), (1, 1), (0, 0)))
    around = [padded[i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3)]
    found = jnp.concatenate(around, axis=-1) @ (scene.words @ params["words"]).reshape(9 * 6, -1)
    start = jnp.zeros((SIDE, SIDE, 1)).at[scene.places[0, 0], scene.places[0, 1]].set(1)
    maps = jnp.concatenate([jax.nn.softmax(3 * found, axis=(0, 1)), start], axis=-1)
    lines = [jnp.concatenate([line, jnp.cumsum(line, axis=0)], axis=-1) for line in (maps.sum(1), maps.sum(0))]
    x = lines[0][:, None] @ params["in"][: lines[0].shape[-1]] + lines[1] @ params["in"][lines[0].shape[-1] :]
    x = jax.nn.relu(x + params["in_b"])
    x = jax.nn.relu(x @ params["mid"] + params["mid_b"])
    return x @ params["out"] + params["out_b"]


def train_predictor(sentences, key, updates=2500, batch=32):
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, updates))

    def loss(params, scenes):
        logits = jax.vmap(predict, (None, 0))(params, scenes)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, scenes.paths))

    def step(key, state):
        params, memory = state
        scenes = jax.vmap(partial(scene, sentences))(jax.random.split(key, batch))
        value, slope = jax.value_and_grad(loss)(params, scenes)
        change, memory = optimizer.update(slope, memory)
        return (optax.apply_updates(params, change), memory), value

    params = init_predictor(key)
    (params, _), losses = nm.rollout(step, key, (params, optimizer.init(params)), updates)
    return params, losses


# What is evolved: a controller that looks at the cells it may step on, and its own, and takes the best of them.

policy = nm.networks.mlp(obs=2 * 10 + 14 + 3, act=1, hidden=(8,))


def walk(params, scene, maps):
    """Places i32[moves + 1, 2] of a controller that is shown maps f32[9, 9, 3], and whether it stopped in the end."""
    seen = jnp.pad(jnp.concatenate([maps, scene.objects], axis=-1), ((1, 1), (1, 1), (0, 0)))

    def move(state, _):
        at, trace, stopped = state
        trace = (0.9 * trace).at[at[0] + 1, at[1] + 1].set(1.0)
        near = at + 1 + STEPS
        cells = jnp.concatenate([seen[near[:, 0], near[:, 1]], trace[near[:, 0], near[:, 1], None]], axis=-1)
        same = jnp.concatenate([cells[4], scene.words])
        own = jnp.concatenate([cells, STEPS, (STEPS[:, :1] == 0) & (STEPS[:, 1:] == 0)], axis=-1)
        inputs = jnp.concatenate([own, jnp.broadcast_to(same, (5, same.size))], axis=-1)
        action = jnp.argmax(jax.vmap(policy.apply, (None, 0))(params, inputs)[:, 0])
        stopped = stopped | (action == 4)
        at = jnp.where(stopped, at, jnp.clip(at + STEPS[action], 0, SIDE - 1))
        return (at, trace, stopped), at

    start = scene.places[0], jnp.zeros((SIDE + 2, SIDE + 2)), jnp.array(False)
    (_, _, stopped), places = jax.lax.scan(move, start, None, MOVES)
    return jnp.concatenate([scene.places[:1], places]), stopped


def judge(scene, places, stopped):
    """Whether it passed the landmark on the right side and stopped at the goal; and how well it kept to the path."""
    at = lambda place: jnp.all(places == place, axis=-1)  # noqa: E731
    success = jnp.any(at(scene.places[1])) & at(scene.places[2])[-1] & stopped
    path = jnp.max(scene.paths, axis=-1)
    walked = jnp.zeros((SIDE, SIDE)).at[places[:, 0], places[:, 1]].set(1)
    kept = (jnp.sum(walked * path) - 0.5 * jnp.sum(walked * (1 - path))) / jnp.sum(path)
    return success, kept


def attempt(key, sentences, predictor, controller, with_map):
    """A walk in a new scene: the scene, the places, whether it succeeded, how well it kept to the path."""
    new = scene(sentences, key)
    maps = jax.nn.sigmoid(predict(predictor, new)) if with_map else jnp.zeros((SIDE, SIDE, 3))
    places, stopped = walk(controller, new, maps)
    return new, places, *judge(new, places, stopped)


def evolve_controller(predictor, sentences, with_map, key, generations=250, episodes=24):
    def fitness(key, genome, episodes=episodes):
        walks = jax.vmap(lambda key: attempt(key, sentences, predictor, genome.policy, with_map))
        _, _, success, kept = walks(jax.random.split(key, episodes))
        return jnp.mean(success + kept)

    decay = optax.linear_schedule(1.0, 0.1, generations)
    evolution = nm.evolution(policy, nm.mutators.gaussian(0.05), fitness, population_size=64, decay=decay)
    state, history = nm.run(evolution, key, generations)
    again = jax.lax.map(lambda genome: fitness(key, genome, 200), state.population)  # the luckiest is not the best
    return state.population.policy[jnp.argmax(again)], history.metrics["fitness_best"]


def draw(predictor, controllers, sentences):
    """Six held-out instructions: what was predicted, and where the controllers went with it and without."""
    figure, axes = plt.subplots(2, 3, figsize=(12, 8.6), layout="constrained")
    for key, axis in zip(jax.random.split(jax.random.key(3), axes.size), axes.flat, strict=True):
        new, places, *_ = attempt(key, sentences, predictor, controllers[True], True)
        _, lost, *_ = attempt(key, sentences, predictor, controllers[False], False)
        maps = jax.nn.sigmoid(predict(predictor, new))
        axis.imshow(np.max(maps, axis=-1), cmap="Greys", vmin=0, vmax=2)
        for row, column in np.argwhere(np.asarray(new.objects).any(-1)):
            look = np.asarray(new.objects[row, column])
            axis.scatter(column, row, 180, COLOURS[look[:3].argmax()], marker="so^"[look[3:].argmax()], zorder=3)
        axis.fill([], [], color="0.6", label="predicted path")
        axis.plot(lost[:, 1] - 0.1, lost[:, 0] - 0.1, ":", color="tab:orange", lw=2, label="without the map")
        axis.plot(places[:, 1], places[:, 0], color="black", lw=2, label="with the map")
        axis.plot(*new.places[0, ::-1], "k*", ms=14, label="start")
        axis.set(title=say(*np.asarray(new.sentence)).replace(", ", ",\n"), xticks=[], yticks=[])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig("follow_instructions.png", dpi=80)


def main():
    training, held_out = jnp.asarray(SENTENCES[~HELD_OUT]), jnp.asarray(SENTENCES[HELD_OUT])
    keys = jax.random.split(jax.random.key(0), SEEDS)
    predictors, losses = jax.jit(lambda keys: jax.lax.map(partial(train_predictor, training), keys))(keys)
    print(f"loss of a predictor, first and last: {losses[:, 0].mean():.3f}  {losses[:, -100:].mean():.4f}", flush=True)
    controllers = {}
    for with_map in (True, False):

        @jax.jit
        def seed(key, predictor, with_map=with_map):
            controller, fitness = evolve_controller(predictor, training, with_map, jax.random.fold_in(key, 1))
            walks = jax.vmap(lambda key: attempt(key, held_out, predictor, controller, with_map)[2])
            return controller, fitness, jnp.mean(walks(jax.random.split(jax.random.fold_in(key, 2), 1000)))

        found, _, success = jax.jit(lambda *args, seed=seed: jax.lax.map(lambda x: seed(*x), args))(keys, predictors)
        controllers[with_map] = found[0]
        print(f"{'with' if with_map else 'without'} the map, success on instructions that were never given:")
        print("  ".join(f"{100 * share:.1f} %" for share in success), flush=True)
    draw(jax.tree.map(lambda x: x[0], predictors), controllers, held_out)


if __name__ == "__main__":
    main()
