import pytest

from neuralmutator.cli.main import main

TINY = ["--size", "8", "--padding", "5", "--channels", "6", "--hidden", "8", "--pool-size", "70", "--batch-size", "2"]


def test_train_film_and_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "nca",
        "train",
        "--target",
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
    assert "3 automata" in capsys.readouterr().out
    longer = [*arguments[:-1], "20", "--quiet", "--resume", "--output", str(run)]
    assert main(longer) == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--target", "nothing such"], "target must be"),
        (["train", "--regime", "immortal"], "regime"),
        (["train", "--resume"], "--resume needs --output"),
        (["film", "nowhere"], "not a run folder"),
        (["film", "nowhere", "--output", "film.avi"], ".mp4 or .gif"),
        (["page", "nowhere"], "not a run folder"),
        (["pack", "nowhere"], "not a run folder"),
        (["pack", "growing", "-o", "a.txt"], "output must end in .npz, got a.txt"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["nca", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
