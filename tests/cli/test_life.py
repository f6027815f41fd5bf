import pytest

from neuralmutator.cli.main import main


@pytest.mark.slow
def test_run_inspect_film_and_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["life", "run", "--language", "bff", "--programs", "256", "--epochs", "10", "--plant", "engine", "--quiet"]
    assert main([*argv, "--copies", "32", "--seed", "1", "--pairing", "grid"]) == 0
    run = tmp_path / "runs" / "life-bff-1"
    assert "10 epochs" in capsys.readouterr().out
    assert {"training.png", "soup.png", "soup.npz", "config.json", "result.json"} <= {f.name for f in run.iterdir()}
    assert main(["life", "inspect", str(run), "--number", "3"]) == 0
    said = capsys.readouterr().out
    assert "different programs of 256" in said and "replicator" in said
    assert main(["life", "film", str(run), "--every", "5", "-o", "a.gif"]) == 0
    assert (tmp_path / "a.gif").stat().st_size > 5000
    assert main(["plot", str(run), "--output", "b.png"]) == 0
    assert (tmp_path / "b.png").stat().st_size > 5000


def test_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["life", "page"]) == 0
    assert "soup.html: " in capsys.readouterr().out and (tmp_path / "soup.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--language", "latin"], "language must be one of"),
        (["run", "--programs", "255"], "programs must be an even number"),
        (["run", "--plant", "what?"], "no symbol of bff_noheads_4bit"),
        (["run", "--pairing", "far"], "pairing"),
        (["inspect", "nowhere"], "is not a run folder"),
        (["film", "nowhere"], "is not a run folder"),
        (["film", "nowhere", "-o", "film.txt"], "must end in .mp4 or .gif"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["life", *arguments]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1 and not list(tmp_path.iterdir())
