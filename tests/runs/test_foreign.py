import base64
import json

import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.runs.automata import load, pack
from neuralmutator.runs.foreign import import_automaton, read_weights

CHANNELS, HIDDEN = 5, 7
AUTOMATON = nca.growing(CHANNELS, HIDDEN)


def weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"w1": (3 * CHANNELS, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, CHANNELS), "b2": (CHANNELS,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def flat(variables):
    return np.concatenate([variables[name].reshape(-1) for name in ("w1", "b1", "w2", "b2")])


def by_channel(w1):
    """Rows as a depthwise convolution gives them: row 3 c + f."""
    return np.stack([w1[f * CHANNELS + c] for c in range(CHANNELS) for f in range(3)])


def page_file(path, rows, scales=None):
    """As the article's web page: two layers, the bias a last row; bytes if there are scales."""
    layers = []
    for number, data in enumerate(rows):
        layer = {"in_ch": len(data) - 1, "out_ch": data.shape[1], "data_b64": base64.b64encode(data.tobytes()).decode()}
        if scales:
            layer |= {"weight_scale": scales[number][0], "bias_scale": scales[number][1], "type": "uint8"}
        layers.append(layer)
    path.write_text(json.dumps(layers))
    return path


def test_bytes_of_the_articles_page_lose_nothing(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        rng.integers(0, 256, (3 * CHANNELS + 1, HIDDEN)).astype(np.uint8),
        rng.integers(0, 256, (HIDDEN + 1, CHANNELS)).astype(np.uint8),
    ]
    scales = [(1.1909914016723633, 0.37608829140663147), (1.082298755645752, 0.163871631026268)]
    path = page_file(tmp_path / "gecko.json", rows, scales)
    model = import_automaton(path, "gecko", np.zeros((9, 9, 4), np.float32))
    again = load(pack(model, tmp_path / "gecko.npz"))
    decoded = [
        (part / 255 - 0.5) * scale
        for data, pair in zip(rows, scales, strict=True)
        for part, scale in zip((data[:-1], data[-1]), pair, strict=True)
    ]  # as the shader of the article's page does
    expected = np.concatenate([part.reshape(-1) for part in decoded])
    np.testing.assert_allclose(again.params, expected, rtol=1e-6)
    np.testing.assert_array_equal(again.params, model.params)
    codes = np.concatenate([data.reshape(-1) for data in rows])
    np.testing.assert_array_equal(np.asarray(again.weights.codes, np.int64) + 128, codes)
    assert again.label == "gecko" and (again.channels, again.settings["hidden"]) == (CHANNELS, HIDDEN)


def test_floats_of_the_articles_page(tmp_path):
    w = weights()
    path = page_file(tmp_path / "a.json", [np.vstack([w["w1"], w["b1"]]), np.vstack([w["w2"], w["b2"]])])
    found, channels, hidden = read_weights(path)
    np.testing.assert_array_equal(found, flat(w))
    assert (channels, hidden) == (CHANNELS, HIDDEN)


def test_a_graph_of_tensorflow_js(tmp_path):
    w = weights()

    def constant(array):
        content = base64.b64encode(array.tobytes()).decode()
        dims = [{"size": str(n)} for n in array.shape]
        tensor = {"dtype": "DT_FLOAT", "tensorShape": {"dim": dims}, "tensorContent": content}
        return {"name": "c", "op": "Const", "attr": {"value": {"tensor": tensor}, "dtype": {"type": "DT_FLOAT"}}}

    scalar = {"dtype": "DT_FLOAT", "tensorShape": {}, "floatVal": [0.1]}
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": {"dtype": {"type": "DT_FLOAT"}}},
        {"name": "Greater/y", "op": "Const", "attr": {"value": {"tensor": scalar}}},
        constant(np.ones((3, 3, CHANNELS, 1), np.float32)),
        constant(w["w2"][None, None]),
        constant(by_channel(w["w1"])[None, None]),
        constant(w["b1"]),
        constant(w["b2"]),
    ]
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"format": "graph-model", "modelTopology": {"node": nodes}}))
    np.testing.assert_array_equal(read_weights(path)[0], flat(w))


def test_matrices_by_name(tmp_path):
    w = weights()
    np.savez(tmp_path / "plain.npz", **w)
    (tmp_path / "plain.json").write_text(json.dumps({name: array.tolist() for name, array in w.items()}))
    convolutions = {"w1": by_channel(w["w1"]).T[:, :, None, None], "b1": w["b1"], "w2": w["w2"].T[:, :, None, None]}
    np.savez(tmp_path / "torch.npz", **convolutions)
    for name in ("plain.npz", "plain.json"):
        np.testing.assert_array_equal(read_weights(tmp_path / name)[0], flat(w))
    without = flat(w | {"b2": np.zeros(CHANNELS, np.float32)})
    np.testing.assert_array_equal(read_weights(tmp_path / "torch.npz", "channels")[0], without)


@pytest.mark.parametrize("kind", ["npz", "json"])
def test_codes_by_name(tmp_path, kind):
    rng = np.random.default_rng(2)
    codes = {name: rng.integers(0, 256, array.shape) for name, array in weights().items()}
    levels = {"w1": (0.5, 127.5), "b1": (0.25, 128.0), "w2": (0.125, 0.0), "b2": (2.0, 127.5)}
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        named = {f"scale_{n}": s for n, (s, _) in levels.items()} | {f"offset_{n}": o for n, (_, o) in levels.items()}
        np.savez(path, **codes, **named)
    else:
        path.write_text(
            json.dumps({n: {"codes": codes[n].tolist(), "scale": s, "offset": o} for n, (s, o) in levels.items()})
        )
    model = import_automaton(path, "a", np.zeros((9, 9, 4), np.float32))
    expected = flat({name: (codes[name] - offset) * scale for name, (scale, offset) in levels.items()})
    assert isinstance(model.weights, nca.Quantized)
    np.testing.assert_array_equal(model.params, expected.astype(np.float32))


def test_without_a_target_it_is_what_grows(tmp_path):
    w = weights()
    w["w2"], w["b2"] = 0.01 * w["w2"], jnp.zeros(CHANNELS).at[nca.ALPHA].set(0.1)
    np.savez(tmp_path / "a.npz", **w)
    model = import_automaton(tmp_path / "a.npz", "a")
    assert model.target.shape == (72, 72, 4) and (model.target[..., 3] > 0.1).sum() > 9
    assert model.target.min() >= 0 and model.target.max() <= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"w1": None}, "w1 missing"),
        ({"w1": np.zeros((8, HIDDEN))}, "w1 must have 15 rows, three for each of 5 channels, got 8"),
        ({"w2": np.zeros((3, 3))}, r"with 7 hidden units on one side, got shape \(3, 3\)"),
        ({"b2": np.zeros(4)}, "b2 must have 5 numbers, got 4"),
    ],
)
def test_parts_that_do_not_fit(tmp_path, change, said):
    np.savez(tmp_path / "a.npz", **{name: array for name, array in (weights() | change).items() if array is not None})
    with pytest.raises(ValueError, match=f"a.npz holds no weights of an automaton: .*{said}") as caught:
        read_weights(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"w1": "x"}', '[{"in_ch": 1}, {}]', "[" * 100_000])
def test_other_files(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a.json holds no weights of an automaton") as caught:
        read_weights(tmp_path / "a.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"weights must be a file, got .*nowhere"):
        read_weights(tmp_path / "nowhere")


def test_numbers_that_are_not_finite(tmp_path):
    np.savez(tmp_path / "a.npz", **(weights() | {"b2": np.full(CHANNELS, np.nan)}))
    with pytest.raises(ValueError, match="params must be finite"):
        import_automaton(tmp_path / "a.npz", "a", np.zeros((9, 9, 4), np.float32))
