import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca, rollout
from neuralmutator.core import each
from neuralmutator.runs.automata import Model, load, pack
from neuralmutator.runs.config import Config
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.nca import NcaConfig
from neuralmutator.runs.targets import load_target

SMALL = NcaConfig(size=8, padding=5, channels=6, hidden=8, regime="persistent")


@pytest.fixture
def model():
    params = jax.random.normal(jax.random.key(0), (nca.growing(6, 8).num_params,))
    return Model(SMALL, load_target("newt", 8, 5), params)


def test_a_packed_automaton(model, tmp_path):
    path = pack(model, tmp_path / "sub" / "small.npz")
    again = load(path)
    automaton = nca.growing(6, 8)
    assert again.config == model.config and [file.name for file in path.parent.iterdir()] == ["small.npz"]
    np.testing.assert_allclose(again.target, model.target, atol=0.5 / 255 + 1e-6)
    expected = nca.dequantize(automaton, nca.quantize(automaton, model.params))
    np.testing.assert_array_equal(again.params, expected)
    np.testing.assert_array_equal(load(pack(again, path)).params, expected)  # packing twice costs nothing more
    with pytest.raises(ValueError, match=r"output must end in .npz, got .*small.bin"):
        pack(model, tmp_path / "small.bin")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "text.npz").write_text("no automaton")
    np.savez(tmp_path / "other.npz", codes=np.zeros(3))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(RunError, match=f"{name} is not a packed automaton"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "when", "loss"), [("growing", 90, -3), ("persistent", 400, -3), ("regenerating", 400, -2.6)]
)
def test_what_is_bundled_does_what_it_is_called(tmp_path, name, when, loss):
    model = load(name)
    assert model.config.regime == name and pack(model, tmp_path / "again.npz").stat().st_size < 20_000
    target = jnp.asarray(model.target)
    automaton = nca.growing()

    def trial(key):
        if name == "regenerating":
            wound = nca.cut("left", 72, 72)
            return nca.recovery(automaton, key, model.params, target, wound, grow=200, heal=when - 200).after
        step = nca.watched(automaton, model.params, target)
        return rollout(step, key, nca.seed((72, 72)), when)[1][-1]

    found = np.log10(each(jax.jit(trial), jax.random.split(jax.random.key(0), 3)))
    assert np.median(found) <= loss


def test_a_folder_is_meant_before_what_is_bundled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("growing").config.target == "lizard"
    folder = RunFolder.create("growing", "nca", SMALL)
    folder.save_arrays("automaton", params=np.ones(3))
    folder.save_arrays("target", target=np.ones((2, 2, 4)))
    assert load("growing").config == SMALL and isinstance(load("growing"), Model)


def test_a_folder_of_another_kind(tmp_path):
    RunFolder.create(tmp_path / "run", "evolution", Config(env="CartPole-v1"))
    with pytest.raises(RunError, match="kind 'evolution', not 'nca'"):
        load(tmp_path / "run")
    with pytest.raises(RunError, match="is not a run folder"):
        load(tmp_path / "nowhere")
    RunFolder.create(tmp_path / "new", "nca", SMALL)
    with pytest.raises(RunError, match="has no automaton yet"):
        load(tmp_path / "new")
