import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neuralmutator as nm
from neuralmutator import rollout
from neuralmutator.metalearning import message_passing as mp

SMALL = {"message": 3, "hidden": 2, "widths": (6, 5)}
KINDS = {
    "squared": mp.agents((2, 4, 3), "tanh", **SMALL),
    "shared": mp.agents((2, 4, 3, 3), "relu", shared=True, **SMALL),
    "cross-entropy": mp.agents((2, 4, 3), "sigmoid", "cross-entropy", shared=True, **SMALL),
}
SIZES = {"squared": (2, 4, 3), "shared": (2, 4, 3, 3), "cross-entropy": (2, 4, 3)}


def random_lesson(seed, steps=2, batch=3, classes=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(steps + 1, batch, 2)).astype(np.float32)
    y = rng.normal(size=(steps + 1, batch, 3)).astype(np.float32)
    if classes:
        y = np.eye(3, dtype=np.float32)[y.argmax(-1)]
    return mp.Lesson(x[:-1], y[:-1], x[-1], y[-1])


def random_params(agents, seed=0):
    """Numbers that leave nothing at 0 or 1."""
    rng = np.random.default_rng(seed)
    params = np.asarray(agents.init(jax.random.key(seed)))
    return (params + 0.2 * rng.normal(size=params.shape)).astype(np.float32)


class Reader:
    """The published flat order, read anew by hand: float64."""

    def __init__(self, params):
        self.left = np.asarray(params, np.float64)

    def take(self, *shape):
        size = int(np.prod(shape))
        part, self.left = self.left[:size], self.left[size:]
        return part.reshape(shape)

    def gru(self, x, c, w=SMALL["widths"]):
        named = [self.take(*s) for s in ((x, c), (c, c), (c,), (x, c), (c, c), (c,), (c,))]
        nets = []
        for n in (x, c):
            nets.append([self.take(*s) for s in ((n, w[0]), (w[0],), w, (w[1],), (w[1], c))])
        return named, nets


def by_hand(sizes, activation, loss, shared, params, weights, biases, lesson):
    """Learning one agent at a time, in float64, from the published equations; the weights and biases after it."""
    m, h = SMALL["message"], SMALL["hidden"]
    reader, agents, layers = Reader(params), {}, len(sizes) - 1
    for n in range(layers):
        for kind in "Wb":
            agents[kind, n] = [reader.take(3), reader.take(3)]
            if not shared:
                agents[kind, n].append(reader.gru(m + 2, 1 + h + m))
            agents[kind, n] += [reader.take(), reader.take()]
        if n < layers - 1:
            agents["a", n] = [reader.take(2), reader.take(2)]
            agents["a", n].append(agents["a", 0][2] if shared and n else reader.gru(m + 1, h + m))
    if loss == "cross-entropy":
        agents["s", 0] = [reader.take(5), reader.take(5), reader.gru(m + 4, h + m)]
    agents["l", 0] = [reader.take(4), reader.take(4), reader.gru(4, h + m)]
    if shared:
        for kind in "Wb":
            common = reader.gru(m + 2, 1 + h + m)
            for n in range(layers):
                agents[kind, n].insert(2, common)
    assert reader.left.size == 0

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def think(agent, message, looks, carry):
        norm, mean, ((ux, uc, ub, rx, rc, rb, b), (f, g)) = agents[agent][:3]
        x = np.concatenate([(message + mean[0]) * norm[0], (np.array(looks) + mean[1:]) * norm[1:]])

        def net(layer, z):
            return np.tanh(np.tanh(z @ layer[0] + layer[1]) @ layer[2] + layer[3]) @ layer[4]

        u, r = sigmoid(x @ ux + carry @ uc + ub), sigmoid(x @ rx + carry @ rc + rb)
        return u * carry + (1 - u) * np.tanh(net(f, x) + net(g, r * carry) + b)

    weights, biases = [np.array(w, np.float64) for w in weights], [np.array(b, np.float64) for b in biases]
    carries = {}
    for x_batch, y_batch in zip(lesson.x, lesson.y, strict=True):
        changes = {}
        for example, (x, y) in enumerate(zip(x_batch.astype(float), y_batch.astype(float), strict=True)):

            def act(agent, place, message, looks, example=example, changes=changes):
                at = (*agent, example, place)
                size = h + m + (agent[0] in "Wb")
                carries[at] = think(agent, message, looks, carries.get(at, np.zeros(size)))
                if agent[0] in "Wb":
                    changes.setdefault((*agent, place), []).append(carries[at][0])
                return carries[at][-m:]

            inputs, before = [], []
            for n in range(layers):
                inputs.append(x)
                before.append(x @ weights[n])
                x = before[-1] + biases[n]
                if n < layers - 1:
                    x = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "sigmoid": sigmoid}[activation](x)
            z, messages = x, []
            for j in range(sizes[-1]):
                if loss == "squared":
                    messages.append(act(("l", 0), j, [(y[j] - z[j]) ** 2 / 2], [z[j], y[j], y[j] - z[j]]))
                else:
                    e = np.exp(z - z.max())
                    p = e[j] / e.sum()
                    message = act(("l", 0), j, [-y[j] * np.log(p)], [p, y[j], np.log(p)])
                    messages.append(act(("s", 0), j, message, [z[j], z[j] - z.max(), e[j], e.sum()]))
            for n in reversed(range(layers)):
                if n < layers - 1:
                    s = before[n] + biases[n]
                    messages = [act(("a", n), j, messages[j], [s[j]]) for j in range(sizes[n + 1])]
                messages = [act(("b", n), j, messages[j], [biases[n][j], before[n][j]]) for j in range(sizes[n + 1])]
                sent = [
                    [act(("W", n), (i, j), messages[j], [weights[n][i, j], inputs[n][i]]) for j in range(sizes[n + 1])]
                    for i in range(sizes[n])
                ]
                messages = np.mean(sent, axis=1)
        for (kind, n, place), said in changes.items():
            array = weights[n] if kind == "W" else biases[n]
            array[place] += (np.mean(said) - agents[kind, n][4]) * agents[kind, n][3]
    return weights, biases


def test_the_paper_s_agents_have_as_many_numbers_as_published():
    assert mp.agents().num_params == 115_081
    mnist = mp.agents((144, 50, 10), "sigmoid", "cross-entropy", shared=True, message=4, hidden=7)
    assert mnist.num_params == 46_829


@pytest.mark.parametrize("kind", KINDS)
def test_learning_is_that_of_the_published_equations(kind):
    agents, lesson = KINDS[kind], random_lesson(1, classes=kind == "cross-entropy")
    params = random_params(agents)
    learner = agents.begin(jax.random.key(2), 3)
    biases = tuple(0.1 * jnp.arange(1.0, 1 + b.size) for b in learner.biases)
    learner = learner._replace(weights=tuple(10 * w for w in learner.weights), biases=biases)
    settings = {"squared": ("tanh", "squared", False), "shared": ("relu", "squared", True)}
    settings["cross-entropy"] = ("sigmoid", "cross-entropy", True)
    wanted = by_hand(SIZES[kind], *settings[kind], params, learner.weights, learner.biases, lesson)
    after, losses = jax.jit(agents.teach)(params, learner, lesson)
    begun = learner.weights + biases
    for found, right, was in zip(after.weights + after.biases, wanted[0] + wanted[1], begun, strict=True):
        np.testing.assert_allclose(found, right, atol=2e-6)
        assert np.abs(right - was).max() > 1e-3
    bend = {"squared": np.tanh, "shared": lambda z: np.maximum(z, 0), "cross-entropy": lambda z: 1 / (1 + np.exp(-z))}
    z = lesson.x[-1].astype(np.float64)
    for w, b in zip(wanted[0][:-1], wanted[1][:-1], strict=True):
        z = bend[kind](z @ w + b)
    z = z @ wanted[0][-1] + wanted[1][-1]
    if kind == "cross-entropy":
        right = np.mean(np.log(np.exp(z).sum(1)) - (lesson.y[-1] * z).sum(1))
    else:
        right = np.mean((lesson.y[-1] - z) ** 2) / 2
    np.testing.assert_allclose(losses[-1], right, rtol=1e-4)


def test_weights_in_the_published_format_are_read_as_they_were_written(tmp_path):
    agents = KINDS["squared"]
    params = random_params(agents)
    np.save(tmp_path / "weights.npy", params)
    np.testing.assert_array_equal(mp.read_published(tmp_path / "weights.npy", agents), params)
    np.testing.assert_array_equal(mp.read_published(str(tmp_path / "weights.npy"), agents), params)
    np.testing.assert_array_equal(agents.pack(agents.unpack(jnp.asarray(params))), params)
    assert sum(agents.sizes) == agents.num_params and len(agents.trained) == len(agents.sizes)


def test_calibration_gives_agents_inputs_of_mean_0_and_std_1():
    agents, lesson = KINDS["squared"], random_lesson(3, steps=1, batch=50)
    learner = agents.begin(jax.random.key(0), 50)
    tree = agents.unpack(jax.jit(agents.calibrate)(agents.init(jax.random.key(1)), learner, lesson))
    seen = {"weights 0": lesson.x[0], "biases 0": lesson.x[0] @ learner.weights[0]}
    for name, x in seen.items():
        np.testing.assert_allclose(tree[name]["mean"][2], -np.mean(x), atol=1e-6)
        np.testing.assert_allclose(tree[name]["norm"][2], 1 / np.std(x), rtol=1e-4)
    assert tree["biases 0"]["norm"][1] == 1  # biases are all 0
    np.testing.assert_allclose(tree["weights 0"]["norm"][1], 1 / np.std(learner.weights[0]), rtol=1e-4)
    after = jax.jit(agents.learn)(agents.pack(tree), learner, lesson.x[0], lesson.y[0])
    for new, old in zip(after.weights, learner.weights, strict=True):
        assert abs(np.mean(new - old)) < 1e-6 < np.std(new - old)  # changes of mean 0: nothing drifts


def test_lessons_are_sines_and_keep_unseen_examples_apart():
    lesson = mp.sinusoids(steps=3, shots=4, unseen=50)(jax.random.key(0))
    assert lesson.x.shape == lesson.y.shape == (3, 4, 1) and lesson.unseen_x.shape == (50, 1)
    x = np.concatenate([np.ravel(lesson.x), np.ravel(lesson.unseen_x)])
    y = np.concatenate([np.ravel(lesson.y), np.ravel(lesson.unseen_y)])
    basis = np.stack([np.sin(x), np.cos(x)], 1)
    factors, *_ = np.linalg.lstsq(basis, y, rcond=None)
    np.testing.assert_allclose(basis @ factors, y, atol=1e-5)
    assert 0.1 <= np.hypot(*factors) < 0.5 and factors[1] >= -1e-6 and np.abs(x).max() <= 5

    table = np.arange(40.0)[:, None]
    lesson = mp.samples(table, table, steps=3, shots=8, unseen=16)(jax.random.key(1))
    np.testing.assert_array_equal(np.sort(np.concatenate([lesson.x.ravel(), lesson.unseen_x.ravel()])), table[:, 0])
    np.testing.assert_array_equal(lesson.x, lesson.y)


def test_digits_of_the_test_are_others():
    known, new = (mp.digits(steps=1, shots=4, unseen=300, test=test)(jax.random.key(0)) for test in (False, True))
    assert known.x.shape == (1, 4, 64) and known.y.shape == (1, 4, 10)
    np.testing.assert_array_equal(known.unseen_y.sum(1), 1)
    both = np.concatenate([known.unseen_x, new.unseen_x])
    assert len(np.unique(both, axis=0)) == 600


def test_descent_is_plain_gradient_descent():
    agents, draw, key = mp.agents((1, 1), **SMALL), mp.sinusoids(2, 5, 20), jax.random.key(4)
    curve = mp.descent_curve(agents, draw, optax.sgd(0.1), key, std=3.0)
    key_lesson, key_learner = jax.random.split(key)
    lesson = draw(key_lesson)
    w, b = 3 * float(agents.begin(key_learner, 5).weights[0][0, 0]), 0.0
    losses = []
    for x, y in [*zip(lesson.x, lesson.y, strict=True), (None, None)]:
        losses.append(np.mean((w * lesson.unseen_x + b - lesson.unseen_y) ** 2) / 2)
        if x is not None:
            error = w * x + b - y
            w, b = w - 0.1 * float((error * x).mean()), b - 0.1 * float(error.mean())
    np.testing.assert_allclose(curve, losses, rtol=1e-5)


@pytest.mark.slow
def test_a_meta_step_is_adam_on_unit_gradients():
    agents, draw = mp.agents((1, 1), **SMALL), mp.sinusoids(2, 3, 4)
    pair = mp.trainer(agents, draw, 1e-2, lessons=2, hint=0.6)
    before = jax.jit(pair.init)(jax.random.key(0))
    after, info = jax.jit(pair.step)(jax.random.key(1), before)
    one = jax.jit(jax.value_and_grad(lambda params, key: mp.meta_loss(agents, draw, params, key, 0.6)))
    found = [one(before.params, key) for key in jax.random.split(jax.random.key(1), 2)]
    np.testing.assert_allclose(info.loss, np.mean([loss for loss, _ in found]), rtol=1e-5)
    slope = np.mean([slope for _, slope in found], axis=0, dtype=np.float64)
    wanted, at = np.array(before.params, np.float64), 0
    for size, trained in zip(agents.sizes, agents.trained, strict=True):
        part = slope[at : at + size]
        part = part / (np.linalg.norm(part) + 1e-8) * trained
        wanted[at : at + size] -= 1e-2 * part / (np.abs(part) + 1e-8)  # Adam's first step
        at += size
    moved = np.asarray(after.params) != np.asarray(before.params)
    assert not info.skipped and not moved[~np.repeat(agents.trained, agents.sizes)].any()
    np.testing.assert_allclose(after.params, wanted, atol=2e-4)


@pytest.mark.slow
def test_a_meta_loss_weighs_hints_and_unseen_examples():
    agents, draw, key = mp.agents((1, 3, 1), **SMALL), mp.sinusoids(3, 4, 5), jax.random.key(5)
    params = jax.jit(lambda key: mp.calibrated(agents, draw, key))(jax.random.key(0))
    curve = jax.jit(lambda params, key: mp.learning_curve(agents, draw, params, key))(params, key)
    key_lesson, key_learner = jax.random.split(key)
    lesson, learner, learn = draw(key_lesson), agents.begin(key_learner, 4), jax.jit(agents.learn)
    hints = []
    for x, y in zip(lesson.x, lesson.y, strict=True):
        learner = learn(params, learner, x, y)
        hints.append(np.mean((np.asarray(agents.predict(learner, x)) - y) ** 2) / 2)
    last = np.mean((np.asarray(agents.predict(learner, lesson.unseen_x)) - lesson.unseen_y) ** 2) / 2
    np.testing.assert_allclose(curve[-1], last, rtol=1e-4)
    loss = jax.jit(lambda key: mp.meta_loss(agents, draw, params, key))
    np.testing.assert_allclose(loss(key), 0.7 * np.mean(hints) + 0.3 * last, rtol=1e-4)

    genome = nm.Genome(params, *(jnp.zeros(0),) * 2, jnp.zeros(0, jnp.int32), jnp.float32(0))
    mean = np.mean([loss(k) for k in jax.random.split(key, 3)])
    np.testing.assert_allclose(jax.jit(mp.learning_fitness(agents, draw, lessons=3))(key, genome), -mean, rtol=1e-4)


def test_a_pool_has_so_many_learners():
    agents = mp.agents((1, 2, 1), **SMALL)
    lesson, params = mp.sinusoids(1, 3, 4)(jax.random.key(0)), agents.init(jax.random.key(1))
    loss = jax.jit(lambda key: mp.meta_loss(agents, lambda key: lesson, params, key, pool=2))
    assert len({float(loss(jax.random.key(n))) for n in range(8)}) == 2


@pytest.mark.slow
def test_rules_are_a_network_that_evolution_takes():
    agents, draw = mp.agents((1, 2, 1), shared=True, **SMALL), mp.sinusoids(2, 3, 4)
    network = mp.as_network(agents, draw, jax.random.key(0))
    lesson, params = draw(jax.random.key(1)), network.init(jax.random.key(2))
    np.testing.assert_array_equal(params, mp.calibrated(agents, draw, jax.random.key(2)))
    learner, said = network.apply(params, (network.initial_state, (lesson.x[0], lesson.y[0])))
    np.testing.assert_array_equal(said, agents.predict(network.initial_state, lesson.x[0]))
    right = agents.learn(params, network.initial_state, lesson.x[0], lesson.y[0])
    jax.tree.map(np.testing.assert_array_equal, learner, right)
    fitness = mp.learning_fitness(agents, draw, 2)
    evolution = nm.evolution(network, nm.mutators.gaussian(0.05), fitness, population_size=8)
    state, history = jax.jit(lambda key: nm.run(evolution, key, generations=2))(jax.random.key(3))
    assert state.population.policy.shape == (8, agents.num_params)
    assert np.isfinite(history.metrics["fitness_best"]).all()


def test_a_spread_start_spreads_the_first_layer():
    start = mp.spread_start((1, 4000, 3, 1), slope=2.0, reach=3.0, std=0.1)
    weights, biases = start(jax.random.key(0))
    for array, std in ((weights[0], 2), (biases[0], 3), (weights[1], 0.1)):
        np.testing.assert_allclose(np.std(array), std, rtol=0.05)
    assert not biases[1].any() and not biases[2].any()
    learner = mp.agents((1, 4000, 3, 1), start=start, **SMALL).begin(jax.random.key(0), 2)
    np.testing.assert_array_equal(learner.biases[0], biases[0])


@pytest.mark.slow
def test_rules_learn_to_teach():
    """Fresh rules leave a learner as it was; after three hundred meta-steps, lessons help it."""
    sizes = (1, 10, 1)
    agents = mp.agents(sizes, "tanh", message=4, hidden=3, widths=(16, 8), start=mp.spread_start(sizes))
    draw, key = mp.sinusoids(), jax.random.key(0)
    pair = mp.trainer(agents, draw, 3e-3)
    before = jax.jit(pair.init)(key)
    after, info = jax.jit(lambda state: rollout(pair.step, key, state, 300))(before)
    keys = jax.random.split(jax.random.key(1), 100)
    curve = jax.jit(lambda p: jax.lax.map(lambda key: mp.learning_curve(agents, draw, p, key), keys).mean(0))
    fresh, taught = curve(before.params), curve(after.params)
    assert fresh[-1] > 0.9 * fresh[0]
    assert taught[-1] < 0.7 * taught[0]
    assert not info.skipped.any()


LESSON = random_lesson(0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mp.agents((3,)), "sizes must hold at least an input and an output, got (3,)"),
        (lambda: mp.agents((3, 0)), "sizes must be a whole number of at least 1, got 0"),
        (lambda: mp.agents(activation="selu"), "activation must be one of relu, sigmoid, tanh, got 'selu'"),
        (lambda: mp.agents(loss="l1"), "loss must be one of squared, cross-entropy, got 'l1'"),
        (lambda: mp.agents(loss="cross-entropy"), "sizes must end with at least 2 classes for a cross-entropy"),
        (lambda: mp.agents(message=0), "message must be a whole number of at least 1, got 0"),
        (lambda: mp.agents(widths=(8,)), "widths must be two numbers, got (8,)"),
        (lambda: mp.agents(std=0), "std must be a finite number above 0, got 0"),
        (lambda: mp.sinusoids(0), "steps must be a whole number of at least 1, got 0"),
        (lambda: mp.samples(np.ones((9, 2)), np.ones((9, 1)), 1, 5, 5), "x must hold at least 10 examples for a less"),
        (lambda: mp.samples(np.ones(9), np.ones((9, 1))), "x and y must have shapes (n, in) and (n, out), got (9,)"),
        (lambda: mp.trainer(KINDS["squared"], None, hint=2), "hint must lie between 0 and 1, got 2"),
        (lambda: mp.trainer(KINDS["squared"], None, lessons=0), "lessons must be a whole number of at least 1, got 0"),
        (lambda: mp.trainer(KINDS["squared"], None, -1.0), "learning_rate must be a finite number above 0, got -1.0"),
        (lambda: mp.trainer(KINDS["squared"], None, pool=0), "pool must be a whole number of at least 1, got 0"),
        (lambda: mp.learning_fitness(KINDS["squared"], None, 0), "lessons must be a whole number of at least 1, got 0"),
        (lambda: mp.read_published(np.ones(5), KINDS["squared"]), "source must hold "),
        (lambda: mp.read_published(np.full(KINDS["squared"].num_params, np.nan), KINDS["squared"]), "finite numbers"),
        (lambda: KINDS["squared"].unpack(jnp.ones(3)), "params must have shape ("),
        (lambda: KINDS["squared"].begin(jax.random.key(0), 0), "batch must be a whole number of at least 1, got 0"),
        (
            lambda: KINDS["squared"].learn(
                KINDS["squared"].init(jax.random.key(0)),
                KINDS["squared"].begin(jax.random.key(0), 4),
                LESSON.x[0],
                LESSON.y[0],
            ),
            "learner must have begun with batches of 3, not 4",
        ),
        (
            lambda: KINDS["squared"].teach(None, None, LESSON._replace(y=LESSON.y[..., :2])),
            "lesson must have x of shape (T, B, 2) and y of shape (T, B, 3), got (2, 3, 2) and (2, 3, 2)",
        ),
        (
            lambda: mp.spread_start((1, 1)),
            "sizes must hold an input, a hidden layer and an output at least, got (1, 1)",
        ),
        (lambda: mp.spread_start((1, 2, 1), std=-1), "std must be a finite number of at least 0, got -1"),
        (lambda: mp.as_network(KINDS["squared"], mp.sinusoids(), 3), "key must come from jax.random.key"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
