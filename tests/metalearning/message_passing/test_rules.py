import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


LESSON = random_lesson(0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
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
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
