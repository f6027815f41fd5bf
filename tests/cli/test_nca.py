import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.cli.main import main
from neuralmutator.runs.automata import load

TINY = ["--size", "8", "--padding", "5", "--channels", "6", "--hidden", "8", "--pool-size", "70", "--batch-size", "2"]


@pytest.mark.slow
def test_train_film_and_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "nca",
        "train",
        "growing",
        "newt",
        "--regime",
        "regenerating",
        *TINY,
        "--batch-size",
        "4",
        "--steps",
        "10",
    ]
    assert main([*arguments, "--quiet"]) == 0
    run = tmp_path / "runs" / "nca-regenerating-1"
    assert "10 training steps" in capsys.readouterr().out
    assert {"training.png", "growth.png", "pool.png", "config.json", "result.json"} <= {f.name for f in run.iterdir()}
    assert (
        main(["nca", "film", str(run), "--steps", "8", "--damage", "left", "--damage-at", "4", "--output", "a.gif"])
        == 0
    )
    assert (tmp_path / "a.gif").stat().st_size > 500
    assert main(["nca", "page", str(run), str(run), "-o", "page.html"]) == 0
    assert "2 automata" in capsys.readouterr().out
    assert main(["nca", "pack", str(run), "-o", "small.npz"]) == 0
    assert main(["nca", "film", "small.npz", "--steps", "4", "--output", "b.gif"]) == 0
    assert main(["nca", "page"]) == 0
    assert "19 automata" in capsys.readouterr().out
    longer = [*arguments[:-1], "20", "--quiet", "--resume", "--output", str(run)]
    assert main(longer) == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 20


def test_foreign_weights_become_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    automaton = nca.growing(5, 7)
    codes = automaton.unflatten(jnp.asarray(np.random.default_rng(0).integers(0, 256, automaton.num_params)))
    levels = {f"scale_{name}": 0.002 for name in codes} | {f"offset_{name}": 127.5 for name in codes}
    np.savez("weights.npz", **codes, **levels)
    assert main(["nca", "import", "weights.npz", "--name", "my gecko", "--target", "newt", "-o", "gecko.npz"]) == 0
    assert "my gecko, 5 channels, 152 parameters in 8 bits" in capsys.readouterr().out
    assert main(["nca", "pack", "gecko.npz", "--label", "yours", "-o", "b.npz"]) == 0
    first, second = load("gecko.npz"), load("b.npz")
    np.testing.assert_array_equal(first.params, second.params)
    assert (first.label, second.label) == ("my gecko", "yours") and first.target.shape == (72, 72, 4)
    assert main(["nca", "page", "gecko.npz", "b.npz", "--labels", "one", "<two>"]) == 0
    text = (tmp_path / "page.html").read_text()
    assert '"name": "one"' in text and "<two>" not in text and "two>" in text


def test_a_shader_and_another_surface(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["nca", "pack", "micro-dots", "-o", "dots.glsl"]) == 0
    text = (tmp_path / "dots.glsl").read_text()
    assert f"{len(text):,} characters" in capsys.readouterr().out and len(text) < 3000 and "void main()" in text
    assert main(["nca", "pack", "mesh-dots", "--surface", "icosphere:3", "-o", "small.npz"]) == 0
    small, whole = load("small.npz"), load("mesh-dots")
    assert small.surface.num_vertices == 92 and whole.surface.num_vertices == 2562
    np.testing.assert_array_equal(small.params, whole.params)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "growing", "nothing such"], "target must be"),
        (["train", "growing", "--regime", "immortal"], "regime"),
        (["train", "growing", "--resume"], "--resume needs --output"),
        (["train", "micro", "nothing such"], "image must be an image file or one of dots, stripes"),
        (["train", "texture", "dots", "--size", "7"], "size must be a whole number of at least 56, got 7"),
        (["train", "reaction", "dots", "--diffusion", "0.1", "2"], "diffusion must lie between 0 and 1, got 2.0"),
        (["film", "nowhere"], "not a run folder"),
        (["film", "nowhere", "--output", "film.avi"], ".mp4 or .gif"),
        (["page", "nowhere"], "not a run folder"),
        (["page", "growing", "--labels", "a", "b"], "labels must be one for each of 1 automata, got 2"),
        (["pack", "nowhere"], "not a run folder"),
        (["pack", "growing", "-o", "a.glsl"], "only automata of kind micro become a shader, got one of kind growing"),
        (["film", "micro-dots", "--surface", "icosphere:3"], "surface must not be given for kind micro"),
        (["import", "nowhere"], "weights must be a file, got nowhere"),
        (["pack", "growing", "-o", "a.txt"], "output must end in .npz, got a.txt"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["nca", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
