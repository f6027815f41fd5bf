import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca, rollout
from neuralmutator.runs.automata import Model, load, pack
from neuralmutator.runs.config import Config
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.nca_config import NcaConfig
from neuralmutator.runs.targets import load_target

SMALL = NcaConfig(size=8, padding=5, channels=6, hidden=8, regime="persistent")
SMALL_AUTOMATON = nca.growing(6, 8)
TARGET = load_target("newt", 8, 5)


def small(weights=None, **change):
    params = jax.random.normal(jax.random.key(0), (SMALL_AUTOMATON.num_params,))
    options = {"settings": {"channels": 6, "hidden": 8}, "label": "newt, persistent", "about": "stays"} | change
    return Model(options.pop("target", TARGET), params if weights is None else weights, **options)


def half_levels(seed=0):
    """Codes of which none is zero, as the article's authors published them."""
    codes = np.random.default_rng(seed).integers(-128, 128, SMALL_AUTOMATON.num_params).astype(np.int8)
    scales = {name: jnp.float32(s) for name, s in (("w1", 0.004), ("b1", 0.003), ("w2", 0.002), ("b2", 0.0007))}
    return nca.Quantized(jnp.asarray(codes), scales, dict.fromkeys(scales, jnp.float32(-0.5)))


def test_a_packed_automaton(tmp_path):
    model = small()
    path = pack(model, tmp_path / "sub" / "small.npz")
    again = load(path)
    assert [file.name for file in path.parent.iterdir()] == ["small.npz"]
    for field in ("kind", "settings", "label", "about"):
        assert getattr(again, field) == getattr(model, field)
    np.testing.assert_allclose(again.target, model.target, atol=0.5 / 255 + 1e-6)
    expected = nca.dequantize(SMALL_AUTOMATON, nca.quantize(SMALL_AUTOMATON, model.params))
    np.testing.assert_array_equal(again.params, expected)
    np.testing.assert_array_equal(load(pack(again, path)).params, expected)  # packing twice costs nothing more
    with pytest.raises(ValueError, match=r"output must end in .npz, got .*small.bin"):
        pack(model, tmp_path / "small.bin")


def test_packing_loses_nothing_of_codes_with_half_levels(tmp_path):
    model = small(half_levels(), label="gecko")
    again = load(pack(model, tmp_path / "a.npz", label="my gecko"))
    np.testing.assert_array_equal(again.weights.codes, model.weights.codes)
    assert again.weights.scales == model.weights.scales and again.weights.offsets == model.weights.offsets
    np.testing.assert_array_equal(again.params, model.params)
    assert again.label == "my gecko"
    rounded = nca.dequantize(SMALL_AUTOMATON, nca.quantize(SMALL_AUTOMATON, model.params))
    assert not np.array_equal(rounded, model.params)  # which is why it must not be done


def test_packing_exactly(tmp_path):
    model = small()
    exact, rounded = pack(model, tmp_path / "a.npz", exact=True), pack(model, tmp_path / "b.npz")
    np.testing.assert_array_equal(load(exact).params, model.params)
    assert not np.array_equal(load(rounded).params, model.params)
    assert json.loads(str(np.load(exact)["automaton"]))["scheme"] == "float32"
    assert json.loads(str(np.load(rounded)["automaton"]))["scheme"] == "int8"


def version_0_1(path, **change):
    """A file as version 0.1 packed it: a run's configuration, codes, scales."""
    quantized = nca.quantize(SMALL_AUTOMATON, small().params)
    config = dataclasses.asdict(SMALL) | change.pop("config", {})
    scales = {f"scale_{name}": np.asarray(scale) for name, scale in quantized.scales.items()}
    arrays = {"target": np.round(255 * TARGET).astype(np.uint8), "codes": np.asarray(quantized.codes)} | scales | change
    np.savez(path, config=np.array(json.dumps(config)), **arrays)
    return quantized


def test_files_of_version_0_1(tmp_path):
    quantized = version_0_1(tmp_path / "old.npz")
    model = load(tmp_path / "old.npz")
    np.testing.assert_array_equal(model.params, nca.dequantize(SMALL_AUTOMATON, quantized))
    assert (
        model.label == "newt, persistent"
        and model.settings == {"channels": 6, "hidden": 8, "fire_rate": 0.5}
        and model.about
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"regime": "<b>evil</b>"}}, "regime must be one of growing, .* got '<b>evil</b>'"),
        ({"codes": np.zeros(7, np.int8)}, r"codes must have shape \(206,\), got \(7,\)"),
        ({"codes": np.zeros(206)}, "codes must be int8, got float"),
        ({"scale_w1": np.float32("nan")}, "scale_w1 must be a finite number, got nan"),
        ({"target": np.zeros(3, np.uint8)}, r"target must have shape \(H, W, 4\) .* got \(3,\)"),
        ({"target": np.zeros((5000, 5000, 4), np.uint8)}, r"sides from 3 to 512, got \(5000, 5000, 4\)"),
        ({"config": {"hidden": 10**9}}, "codes must have shape"),
        ({"config": {"fire_rate": -1}}, "fire_rate must lie in"),
    ],
)
def test_a_damaged_file_gets_one_line(tmp_path, change, said):
    version_0_1(tmp_path / "bad.npz", **change)
    with pytest.raises(RunError, match=f"bad.npz is not a packed automaton: .*{said}") as caught:
        load(tmp_path / "bad.npz")
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme(tmp_path):
    path = pack(small(), tmp_path / "a.npz")
    with np.load(path) as found:
        arrays = dict(found)
    arrays["automaton"] = np.array(str(arrays["automaton"]).replace("int8", "int4"))
    np.savez(path, **arrays)
    with pytest.raises(RunError, match="scheme must be one of int8, float32, got 'int4'"):
        load(path)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "text.npz").write_text("no automaton")
    np.savez(tmp_path / "other.npz", codes=np.zeros(3))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(RunError, match=f"{name} is not a packed automaton"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "when", "loss"),
    [("growing", 90, -3), pytest.param("persistent", 400, -3, marks=pytest.mark.slow), ("regenerating", 400, -2.8)],
)
def test_what_is_bundled_does_what_it_is_called(tmp_path, name, when, loss):
    model = load(name)
    assert model.label == f"lizard, {name}" and pack(model, tmp_path / "again.npz").stat().st_size < 20_000
    target = jnp.asarray(model.target)
    automaton = nca.growing()

    def trial(key):
        if name == "regenerating":
            wound = nca.cut("right", 72, 72)
            return nca.recovery(automaton, key, model.params, target, wound, grow=200, heal=when - 200).after
        step = nca.step_with_loss(automaton, model.params, target)
        return rollout(step, key, nca.seed_grid((72, 72)), when)[1][-1]

    assert np.log10(jax.jit(trial)(jax.random.key(0))) <= loss


def test_a_folder_is_meant_before_what_is_bundled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("growing").label == "lizard, growing"
    folder = RunFolder.create("growing", "nca", SMALL)
    params = np.asarray(small().params)
    folder.save_arrays("automaton", params=params)
    folder.save_arrays("target", target=TARGET)
    model = load("growing")
    np.testing.assert_array_equal(model.params, params)
    assert model.label == "newt, persistent" and model.settings["fire_rate"] == SMALL.fire_rate
    folder.save_arrays("automaton", params=params[:7])
    with pytest.raises(RunError, match=r"growing holds no automaton: params must have shape .* got \(7,\)"):
        load("growing")


def test_a_folder_of_another_kind(tmp_path):
    RunFolder.create(tmp_path / "run", "evolution", Config(env="CartPole-v1"))
    with pytest.raises(RunError, match="kind 'evolution', which trains no automaton"):
        load(tmp_path / "run")
    with pytest.raises(RunError, match="is not a run folder"):
        load(tmp_path / "nowhere")
    RunFolder.create(tmp_path / "new", "nca", SMALL)
    with pytest.raises(RunError, match="has no automaton yet"):
        load(tmp_path / "new")
