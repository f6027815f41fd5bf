import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from neuralmutator import nca, rollout
from neuralmutator.nca import textures
from neuralmutator.runs import execute
from neuralmutator.runs.automata import PAINTED, load, pack
from neuralmutator.runs.errors import InterruptedRunError, RunError
from neuralmutator.runs.film import FilmConfig, film
from neuralmutator.runs.page import page
from neuralmutator.runs.painting import build_run
from neuralmutator.runs.painting_config import MeshConfig, MicroConfig, ReactionConfig, TextureConfig

SHARED = {"size": 56, "image_size": 56, "steps": 4, "drops": (2, 3), "lengths": (2, 3), "batch_size": 2, "pool_size": 2}
SMALL = MicroConfig("stripes", **SHARED)


def train(config, folder, **options):
    return execute(lambda: build_run(config), folder, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("painting") / "run"
    return folder, train(SMALL, folder)


def test_a_run_leaves_what_it_measured(finished):
    folder, result = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(4)) and all(line["length"] in (2, 3) for line in lines)
    assert all(line["loss"] > 0.05 for line in lines)
    model = load(folder)
    assert (model.kind, model.settings, model.label) == ("micro", {"channels": 4}, "stripes")
    assert model.target.shape == (56, 56, 3) and "68 numbers" in model.about
    target = jnp.asarray(model.target)
    key_start, key_run = jax.random.split(jax.random.key(0))
    automaton = model.automaton()
    cells = automaton.start(key_start, (56, 56))
    cells, _ = jax.jit(lambda cells: rollout(automaton.step(model.params), key_run, cells, 1000))(cells)
    texture = textures.held_out(target)
    assert result["distance"] == pytest.approx(float(textures.exact_distance(texture, automaton.look(cells))), rel=0.02)
    shuffled = float(textures.exact_distance(texture, textures.shuffled(jax.random.key(0), target)))
    assert result["share_of_shuffled_pixels"] == pytest.approx(result["distance"] / shuffled, rel=1e-4)


def test_it_is_packed_in_a_byte_a_number(finished, tmp_path):
    model = load(finished[0])
    again = load(pack(model, tmp_path / "a.npz", label="my stripes"))
    assert again.weights.codes.dtype == np.int8 and again.weights.codes.shape == (68,)
    assert (again.kind, again.settings, again.label) == ("micro", {"channels": 4}, "my stripes")
    np.testing.assert_allclose(again.params, model.params, atol=float(jnp.abs(model.params).max()) / 254 + 1e-9)


def test_it_is_filmed(finished):
    model = load(finished[0])
    frames = film(model, FilmConfig(steps=3, damage="disc", damage_at=2, radius=4, size=24))
    assert frames.shape == (4, 24, 24, 3) and frames[0].std() > 30  # noise
    assert (frames[2][10:14, 10:14] != frames[3][10:14, 10:14]).any()
    with pytest.raises(ValueError, match="angle must be 0 for automata that do not grow, got 30"):
        film(model, FilmConfig(steps=3, angle=30.0))


MESH = MeshConfig(
    "dots",
    image_size=56,
    steps=4,
    drops=(2, 3),
    lengths=(2, 3),
    batch_size=1,
    pool_size=2,
    surface="icosphere:5",
    windows=3,
    seen=2,
    window_size=20,
    pixel=0.2,
    channels=4,
    hidden=6,
)


@pytest.mark.slow
def test_on_a_mesh(tmp_path):
    result = train(MESH, tmp_path / "run")
    assert result["num_params"] == 20 * 6 + 6 + 6 * 4 + 4
    model = load(tmp_path / "run")
    assert model.kind == "mesh" and model.surface.num_vertices == 252
    again = load(pack(model, tmp_path / "a.npz"))
    np.testing.assert_array_equal(again.surface.neighbours, model.surface.neighbours)
    frames = film(again, FilmConfig(steps=2, damage="left", damage_at=1, size=32))
    assert frames.shape == (3, 32, 32, 3) and (frames[0][0, 0] == 255).all() and (frames[1] != frames[2]).any()
    data = json.loads(page([again]).split("const MODELS = ")[1].split(";\n")[0])
    assert data[0]["surface"]["count"] == 252


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        TextureConfig("dots", **SHARED, channels=4, hidden=6),
        ReactionConfig("checks", **SHARED, channels=6, hidden=8),
        MESH,
    ],
)
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path, config):
    whole = train(config, tmp_path / "whole")

    def stopping(step, metrics):
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError):
        train(config, tmp_path / "run", sinks=[stopping])
    result = train(config, tmp_path / "run", resume=True)
    np.testing.assert_array_equal(load(tmp_path / "run").params, load(tmp_path / "whole").params)
    np.testing.assert_array_equal(result["distance"], whole["distance"])  # an untrained automaton on a mesh explodes


@pytest.mark.slow
def test_a_training_paints(tmp_path):
    """A µNCA of 68 numbers comes much nearer to stripes than their shuffled pixels are."""
    config = MicroConfig("stripes", size=56, image_size=64, steps=300, drops=(150, 240), batch_size=2, pool_size=16)
    assert train(config, tmp_path / "run")["share_of_shuffled_pixels"] < 0.5


def test_a_part_is_erased_where_damage_is_wanted():
    """Of two rollouts that begin alike, the last alone begins damaged."""
    ended = []
    for damaged in (0, 1):
        run = build_run(dataclasses.replace(SMALL, damaged=damaged))
        state = jax.jit(run.init)(jax.random.key(0))
        ended.append(np.asarray(jax.jit(run.step)(jax.random.key(1), state, run.data)[0].pool))
    same = [np.array_equal(whole, hurt) for whole, hurt in zip(*ended, strict=True)]
    assert sorted(same) == [False, True]


def test_what_is_bundled_is_of_every_kind():
    assert len([name for name in PAINTED if name.startswith("micro-")]) == 12
    for name in PAINTED:
        model = load(name)
        assert model.weights.codes.dtype == np.int8 and name.startswith(model.kind)
        assert (model.surface is not None) == (model.kind == "mesh") and model.label == name.split("-")[1]
        assert model.kind != "micro" or model.weights.codes.shape == (68,)


@pytest.mark.slow
def test_what_is_bundled_paints():
    """All µNCA, from noise, by one program: much nearer to their textures than shuffled pixels are."""
    automaton = nca.micro(4)

    @jax.jit
    def share(params, target):
        texture = textures.held_out(target)
        cells = automaton.start(jax.random.key(0), (64, 64))
        cells, _ = rollout(automaton.step(params), jax.random.key(1), cells, 600)
        shuffled = textures.shuffled(jax.random.key(2), target)
        return textures.exact_distance(texture, automaton.look(cells)) / textures.exact_distance(texture, shuffled)

    for name in PAINTED:
        if name.startswith("micro-"):
            model = load(name)
            assert float(share(model.params, jnp.asarray(model.target))) < 0.5, name


def test_a_file_of_ones_own(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8)).save(tmp_path / "grey.png")
    run = build_run(dataclasses.replace(SMALL, image=str(tmp_path / "grey.png"), image_size=64))
    state = jax.eval_shape(run.init, jax.random.key(0))
    assert state.pool.shape == (2, 56, 56, 4) and run.kind == "micro"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "nothing such"}, "image must be an image file or one of dots, stripes, checks, voronoi"),
        ({"damaged": 2}, "damaged must be less than batch_size, 2, got 2"),
        ({"channels": 5}, "channels must be one of 4, 6, 8, 12, got 5"),
        ({"size": 40}, r"size must be .* at least 56, got 40"),
        ({"image_size": 40}, r"image_size must be .* at least 56, got 40"),
        ({"drops": (3, 2)}, r"drops must be two growing numbers above 0, got \(3, 2\)"),
        ({"lengths": (0, 2)}, "lengths must be"),
        ({"batch_size": 3}, r"pool_size must be .* at least 3, got 2"),
        ({"renew": 1.5}, "renew must lie between 0 and 1"),
        ({"steps": 0}, "steps must be"),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(SMALL, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surface": "icosphere:0"}, r"frequency must be .* at least 1, got 0"),
        ({"surface": "icosphere"}, "surface must be icosphere:N, torus:M,N or a file, got 'icosphere'"),
        ({"surface": "nowhere.obj"}, "there is no file nowhere.obj"),
        ({"surface": "sphere"}, "must be a file that ends in .obj"),
        ({"window_size": 12}, r"window_size must be .* at least 20, got 12"),
        ({"seen": 4}, r"windows must be .* at least 4, got 3"),
        ({"pixel": 2.0}, "size and pixel must be smaller for this surface"),
    ],
)
def test_a_bad_mesh_leaves_no_folder(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(MESH, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_small_image_and_a_run_of_another_kind(tmp_path):
    Image.fromarray(np.zeros((20, 90, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small.png must be at least 56 pixels wide and high, got \(90, 20\)"):
        build_run(dataclasses.replace(SMALL, image=str(tmp_path / "small.png")))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"kind": "evolution"}')
    with pytest.raises(RunError, match="holds a run of kind 'evolution', which trains no automaton"):
        load(tmp_path / "run")
