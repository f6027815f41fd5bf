import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca, rollout
from neuralmutator.core import each
from neuralmutator.runs.config import Config
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.nca import FilmConfig, Model, NcaConfig, film, load, pack, train
from neuralmutator.runs.runner import InterruptedRunError

SMALL = NcaConfig(size=8, padding=5, channels=6, hidden=8, steps=20, pool_size=12, batch_size=2, regime="persistent")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nca") / "run"
    return folder, train(SMALL, folder)


def test_a_run_leaves_what_it_measured(finished):
    folder, result = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20))
    assert all(64 <= line["length"] < 96 for line in lines)
    losses = [line["loss"] for line in lines]
    assert result["log10_loss_of_last_100"] == pytest.approx(np.log10(np.mean(losses)), rel=1e-6)
    config, target, params = load(folder)
    assert config == SMALL and target.shape == (18, 18, 4) and params.shape == (result["num_params"],)
    assert RunFolder(folder).load_arrays("pool", ("grids",))["grids"].shape == (12, 18, 18, 4)


def test_a_stopped_run_goes_on_with_the_same_bits(finished, tmp_path, monkeypatch):
    def stopping(folder, rows, whole=RunFolder.append_metrics):
        whole(folder, rows)
        if rows[-1]["step"] == 19:  # the first ten are done
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append_metrics", stopping)
        with pytest.raises(InterruptedRunError):
            train(SMALL, tmp_path / "run")
    assert not np.array_equal(load(tmp_path / "run")[2], load(finished[0])[2])
    result = train(SMALL, tmp_path / "run", resume=True)
    np.testing.assert_array_equal(load(tmp_path / "run")[2], load(finished[0])[2])
    assert result["log10_loss_of_last_100"] == finished[1]["log10_loss_of_last_100"]


def test_resuming_takes_the_same_options(finished):
    with pytest.raises(RunError, match="begun with another hidden"):
        train(dataclasses.replace(SMALL, hidden=9), finished[0], resume=True)
    with pytest.raises(RunError, match=r"steps must be at least 20 .* got 10"):
        train(dataclasses.replace(SMALL, steps=10), finished[0], resume=True)


def test_a_folder_of_another_kind(tmp_path):
    RunFolder.create(tmp_path / "run", Config(env="CartPole-v1"))
    with pytest.raises(RunError, match="not the configuration of a cellular automaton"):
        load(tmp_path / "run")
    with pytest.raises(RunError, match="is not a run folder"):
        load(tmp_path / "nowhere")
    RunFolder.create(tmp_path / "new", SMALL)
    with pytest.raises(RunError, match="has no automaton yet"):
        load(tmp_path / "new")


def test_a_packed_automaton(finished, tmp_path):
    model = load(finished[0])
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
    folder = RunFolder.create("growing", SMALL)
    folder.save_arrays("automaton", params=np.ones(3))
    folder.save_arrays("target", target=np.ones((2, 2, 4)))
    assert load("growing").config == SMALL and isinstance(load("growing"), Model)


def test_a_film_is_the_automaton_with_its_damage():
    automaton = nca.growing(6, 8)
    params = 0.2 * jax.random.normal(jax.random.key(0), (automaton.num_params,))
    frames = film(
        SMALL, params, (18, 18), FilmConfig(steps=6, damage="disc", damage_at=4, x=12, y=9, radius=3.5, every=2)
    )
    assert frames.shape == (4, 18, 18, 3) and frames.dtype == np.uint8
    grid, expected = nca.seed((18, 18), 6), []
    down, across = np.mgrid[:18, :18]
    mask = ((across - 12) ** 2 + (down - 9) ** 2 > 3.5**2)[..., None]
    for t in range(7):
        if t % 2 == 0:
            expected.append(np.round(255 * np.asarray(nca.to_rgb(grid))))
        grid = grid * mask if t == 4 else grid
        grid = automaton.update(jax.random.fold_in(jax.random.key(0), t), params, jnp.asarray(grid))
    assert np.abs(np.stack(expected) - frames).max() <= 1
    assert np.abs(frames.astype(int) - 255).max(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regime": "immortal"}, "regime must be one of"),
        ({"steps": 0}, "steps must be .* got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"target": "nothing such"}, "target must be"),
        ({"pool_size": 1}, "pool_size must be"),
        ({"channels": 3}, "channels must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(SMALL, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be .* got 0"),
        ({"every": 7, "steps": 6}, "every must be at most 6"),
        ({"damage": "disc", "x": 18, "damage_at": 2}, "x must lie between 0 and 17, within the grid, got 18"),
        ({"damage": "disc", "radius": 0.0, "damage_at": 2}, "radius must be"),
        ({"damage": "nose", "damage_at": 2}, "damage must be one of"),
        ({"damage": "left", "damage_at": 6, "steps": 6}, "damage_at must be less than 6"),
    ],
)
def test_a_bad_film(options, message):
    with pytest.raises(ValueError, match=message):
        film(SMALL, jnp.zeros(10), (18, 18), FilmConfig(**options))
